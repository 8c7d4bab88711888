"""What Python 2 calls by another name, or has and Python 3 has not."""

from __future__ import annotations

import builtins
import sys


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


NAMES = {
    "basestring": "str",
    "long": "int",
    "raw_input": "input",
    "StandardError": "Exception",
    "unichr": "chr",
    "xrange": "range",
}
"""Builtins that have another name now."""

OWN = {
    "apply": "apply",
    "buffer": "buffer",
    "bytearray": "bytearray_",
    "chr": "chr_",
    "cmp": "cmp",
    "file": "File",
    "filter": "filter_",
    "input": "input_",
    "intern": "intern",
    "map": "map_",
    "oct": "oct_",
    "open": "File",
    "ord": "ord_",
    "reduce": "reduce",
    "reload": "reload",
    "round": "round_",
    "zip": "zip_",
}
"""Builtins that the run time provides as Python 2 had them, and their names there."""

TYPES = frozenset(("unicode", "str", "bytes"))
"""All of them are text: `str` as a type, a function of the run time when called."""

ONLY_2 = frozenset((*NAMES, "apply", "cmp", "execfile", "file", "intern", "reduce", "reload", "unicode", "buffer", "coerce"))
"""Builtins that only Python 2 has."""

BUILTINS = frozenset((*dir(builtins), *ONLY_2, "__file__", "_py2"))
"""Every name that is there without being bound."""

REFUSED = {
    "coerce": "coerce() has no equivalent",
}

METHODS = {
    "getchildren": (0, 0),
    "getiterator": (0, 1),
    "has_key": (1, 1),
    "isAlive": (0, 0),
    "iteritems": (0, 0),
    "iterkeys": (0, 0),
    "itervalues": (0, 0),
    "next": (0, 0),
    "viewitems": (0, 0),
    "viewkeys": (0, 0),
    "viewvalues": (0, 0),
    "encode": (0, 2),
    "decode": (0, 2),
    "translate": (1, 2),
}
"""Methods that the run time calls or replaces (a function of the same name), and how many arguments such a call has."""

ONLY_2_METHODS = frozenset(("has_key", "iteritems", "iterkeys", "itervalues", "viewitems", "viewkeys", "viewvalues"))

ATTRIBUTES = {
    "func_closure": "__closure__",
    "func_code": "__code__",
    "func_defaults": "__defaults__",
    "func_dict": "__dict__",
    "func_doc": "__doc__",
    "func_globals": "__globals__",
    "func_name": "__name__",
    "im_func": "__func__",
    "im_self": "__self__",
}

SPECIAL = frozenset(
    ("__cmp__", "__nonzero__", "__div__", "__rdiv__", "__idiv__", "__getslice__", "__setslice__", "__delslice__", "next")
)
"""Methods by which Python 2 found what Python 3 looks for elsewhere: their class gets the run time's `Class` as a base."""

RENAMED = {
    "BaseHTTPServer": "http.server",
    "CGIHTTPServer": "http.server",
    "Cookie": "http.cookies",
    "DocXMLRPCServer": "xmlrpc.server",
    "Queue": "queue",
    "SimpleHTTPServer": "http.server",
    "SimpleXMLRPCServer": "xmlrpc.server",
    "SocketServer": "socketserver",
    "UserDict": "collections",
    "UserList": "collections",
    "UserString": "collections",
    "__builtin__": "builtins",
    "anydbm": "dbm",
    "cookielib": "http.cookiejar",
    "copy_reg": "copyreg",
    "dbhash": "dbm",
    "dummy_thread": "_thread",
    "dumbdbm": "dbm.dumb",
    "email.MIMEBase": "email.mime.base",
    "email.MIMEMultipart": "email.mime.multipart",
    "email.MIMEText": "email.mime.text",
    "email.Utils": "email.utils",
    "exceptions": "builtins",
    "gdbm": "dbm.gnu",
    "htmlentitydefs": "html.entities",
    "repr": "reprlib",
    "robotparser": "urllib.robotparser",
    "thread": "_thread",
    "whichdb": "dbm",
    "xml.etree.cElementTree": "xml.etree.ElementTree",
    "xmlrpclib": "xmlrpc.client",
}
"""Modules that are the same under another name."""

STAND_INS = {
    name: name
    for name in _words(
        "base64 binascii bz2 cgi collections commands fcntl gzip hashlib hmac httplib itertools json math md5 operator os "
        "pickle pipes platform sets sha socket ssl statvfs string struct subprocess sys telnetlib tempfile "
        "threading time types urllib urllib2 urlparse zlib"
    )
} | {
    "ConfigParser": "configparser",
    "HTMLParser": "htmlparser",
    "StringIO": "stringio",
    "cPickle": "pickle",
    "cStringIO": "stringio",
}
"""Modules that `adamas.translate.python2` has in the form of Python 2."""

GONE = _words(
    "Bastion CDROM DLFCN MimeWriter audiodev bsddb compiler dircache dl fpformat hotshot htmllib ihooks imputil mhlib "
    "mimetools multifile mutex new popen2 posixfile rexec rfc822 sgmllib sunaudio toaiff user"
)
"""Modules without a successor."""

ONLY_2_MODULES = _words(
    "ConfigParser HTMLParser StringIO cPickle cStringIO commands httplib md5 sets sha statvfs urllib2 urlparse"
)
"""Those of STAND_INS that only Python 2 has."""

NEW = _words(
    "asyncio builtins future html http queue six socketserver tomllib tracemalloc urllib.error urllib.parse "
    "urllib.request xmlrpc zoneinfo"
)
"""Modules by whose import a file shows that it knows Python 3."""

ONLY_3 = NEW | _words(
    "concurrent configparser contextvars copyreg dataclasses enum faulthandler graphlib ipaddress lzma pathlib "
    "reprlib secrets selectors statistics tkinter typing venv winreg zipapp"
)
"""Top-level modules that Python 2 did not have, so that a file of that name was not hidden by them."""

MEMBERS = {
    "collections": frozenset(("Callable", "Hashable", "Iterable", "Iterator", "Mapping", "MutableMapping", "Sequence", "Set")),
    "itertools": frozenset(("ifilter", "ifilterfalse", "imap", "izip", "izip_longest")),
    "os": frozenset(("errno", "getcwdu", "popen2", "popen3", "popen4", "tmpnam", "tempnam")),
    "string": _words(
        "atof atoi atol capitalize count find index join joinfields letters ljust lower lowercase lstrip maketrans "
        "replace rfind rjust rstrip split splitfields strip swapcase translate upper uppercase zfill"
    ),
    "sys": frozenset(("exc_clear", "exc_type", "exc_value", "maxint", "setdefaultencoding")),
    "time": frozenset(("clock",)),
    "types": _words(
        "BooleanType ClassType ComplexType DictType DictionaryType FileType FloatType InstanceType IntType ListType "
        "LongType ObjectType StringType StringTypes TupleType TypeType UnicodeType UnboundMethodType XRangeType"
    ),
    "urllib": frozenset(
        ("pathname2url", "quote", "quote_plus", "unquote", "unquote_plus", "urlencode", "urlopen", "urlretrieve")
    ),
}
"""What modules of both lost: a file that uses one of these is Python 2."""


def standard(name: str) -> bool:
    """Whether Python 2 had a module of this name in its library, so that a file beside the importing one does not hide it."""
    top = name.partition(".")[0]
    known = top in RENAMED or top in STAND_INS or top in GONE or top in sys.stdlib_module_names
    return known and top not in ONLY_3
