"""types: the names of the builtin types."""

from __future__ import annotations

import types

from adamas.translate.python2.file import File
from adamas.translate.python2.module import stand_in

_NAMES = {
    "BooleanType": bool,
    "ClassType": type,
    "ComplexType": complex,
    "DictType": dict,
    "DictionaryType": dict,
    "EllipsisType": type(...),
    "FileType": File,
    "FloatType": float,
    "InstanceType": object,
    "IntType": int,
    "ListType": list,
    "LongType": int,
    "NoneType": type(None),
    "NotImplementedType": type(NotImplemented),
    "ObjectType": object,
    "SliceType": slice,
    "StringType": str,
    "StringTypes": (str,),
    "TupleType": tuple,
    "TypeType": type,
    "UnboundMethodType": types.FunctionType,
    "UnicodeType": str,
    "XRangeType": range,
}
globals().update(_NAMES)

stand_in(__name__, types, *_NAMES)
