"""What translated code calls: strings that are bytes, files, division, rounding, sorting; against Python 2.7 where it is installed."""

from __future__ import annotations

import importlib
import math
import operator
import pickle
import random
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_translated_programs import SRC, python2, run

import adamas.translate.python2 as py2
from adamas.errors import TranslationError
from adamas.translate import translate, vocabulary
from adamas.translate.python2.file import File, StringIO
from adamas.translate.python2.text import BYTEWISE, Binary, raw, text

HERE = Path(__file__).parent
DATA = st.binary(max_size=12) | st.text(max_size=6).map(str.encode)


@given(DATA)
def test_bytes_survive(data: bytes) -> None:
    assert raw(text(data)) == data
    assert isinstance(text(data), str)
    assert type(text(data)) is str or b"\0" in data or not _is_utf8(data)


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


@given(st.binary(max_size=12), st.integers(-13, 13), st.integers(-13, 13), st.binary(max_size=3))
def test_what_is_binary_is_measured_in_bytes(data: bytes, start: int, stop: int, other: bytes) -> None:
    value = Binary(data)
    assert len(value) == len(data)
    assert raw(value[start:stop]) == data[start:stop]
    assert [raw(c) for c in value] == [bytes((b,)) for b in data]
    if -len(data) <= start < len(data):
        assert raw(value[start]) == data[start : start + 1 or None]
        assert py2.ord_(value[start]) == data[start]
    assert raw(value + text(other)) == data + other
    assert raw("ab" + value) == b"ab" + data
    assert raw(value * 2) == data * 2
    assert value.find(text(other)) == data.find(other)
    assert (text(other) in value) == (other in data)
    assert value.startswith((text(other), "q")) == data.startswith((other, b"q"))
    assert hash(value) == hash(str(value)) and value == str(value)
    assert pickle.loads(pickle.dumps(value)).data == data


@given(st.binary(min_size=1, max_size=12), st.binary(min_size=1, max_size=2))
def test_what_is_binary_is_cut_in_bytes(data: bytes, other: bytes) -> None:
    value = Binary(data)
    assert [raw(p) for p in value.split(text(other))] == data.split(other)
    assert tuple(raw(p) for p in value.partition(text(other))) == data.partition(other)
    assert raw(value.replace(text(other), "-")) == data.replace(other, b"-")
    assert [raw(p) for p in value.splitlines()] == data.splitlines()
    for name in ("strip", "lower", "upper", "title"):
        assert raw(getattr(value, name)()) == getattr(data, name)()


def test_every_method_of_bytes_that_a_str_has_goes_by_bytes() -> None:
    assert {"split", "find", "count", "rjust", "isdigit", "swapcase"} <= BYTEWISE
    for name in BYTEWISE:
        assert getattr(Binary, name) is not getattr(str, name)


@given(st.integers(-1000, 1000), st.integers(-1000, 1000), st.floats(-100, 100))
def test_integers_are_floored_and_nothing_else(a: int, b: int, c: float) -> None:
    if b:
        assert a / py2.divisor(b) == a // b and type(a / py2.divisor(b)) is int
        assert c / py2.divisor(b) == c / b
        x: Any = a
        x /= py2.divisor(b)
        assert x == a // b
        assert (2**70 + a) / py2.divisor(b) == (2**70 + a) // b
    else:
        with pytest.raises(ZeroDivisionError):
            a / py2.divisor(b)
    if c:
        assert a / py2.divisor(c) == a / c
    assert (a + 1j) / py2.divisor(3) == (a + 1j) / 3


@settings(deadline=None)
@given(st.floats(-1e6, 1e6) | st.integers(-2000, 2000).map(lambda n: n / 8), st.integers(-3, 4))
def test_halves_are_rounded_away_from_zero(value: float, digits: int) -> None:
    found = py2.round_(value, digits)
    assert type(found) is float
    assert abs(found - value) <= 0.5 * 10**-digits * (1 + 1e-9)
    if digits == 0 and value * 2 == int(value * 2):
        assert found == math.copysign(math.floor(abs(value) + 0.5), value)


def test_rounding_of_what_is_no_number() -> None:
    assert math.isnan(py2.round_(math.nan)) and py2.round_(math.inf, 2) == math.inf
    assert py2.round_(5e-324, 400) == 5e-324
    assert math.copysign(1, py2.round_(-0.4)) == -1


@given(st.lists(st.integers(0, 9)))
def test_sorting_with_a_comparing_function(items: list[int]) -> None:
    assert py2.sorted_(items, lambda a, b: b - a) == sorted(items, reverse=True)
    assert py2.sorted_(items, cmp=py2.cmp, key=operator.neg) == sorted(items, key=operator.neg)
    copy = [*items]
    assert py2.sort(copy, py2.cmp) is None and copy == sorted(items)


class Own:
    """An object with methods of the old names."""

    def has_key(self, key: str) -> str:
        return key + "!"

    def next(self) -> str:
        return "next page"

    def iteritems(self) -> Iterator[int]:
        return iter([1])

    def keys(self) -> dict[str, int]:
        return {"a": 1}

    def encode(self, how: str) -> str:
        return how

    def isAlive(self) -> bool:
        return True


def test_an_object_with_the_old_method_keeps_it() -> None:
    own = Own()
    assert (py2.has_key(own, "k"), py2.next(own), list(py2.iteritems(own))) == ("k!", "next page", [1])
    assert py2.listed(own.keys()) == {"a": 1} and py2.encode(own, "x") == "x" and py2.isAlive(own)
    assert py2.listed({"a": 1}.keys()) == ["a"]
    assert (
        list(py2.itervalues({"a": 1})) == [1]
        and list(py2.iterkeys({"a": 1})) == ["a"]
        and {"a", "b"} & py2.viewkeys({"a": 1}) == {"a"}
    )


def test_exceptions_are_raised_as_they_were() -> None:
    assert str(py2.exception(ValueError, "x")) == "x"
    assert py2.exception(OSError, (2, "gone")).args == (2, "gone")
    made = KeyError("k")
    assert py2.exception(KeyError, made) is made and py2.exception(made) is made
    assert type(py2.exception((ValueError, KeyError))) is ValueError
    assert py2.message(ValueError("a", "b")) == "" and py2.message(ValueError("a")) == "a"
    assert py2.arguments([1, 2]) == [1, 2]
    try:
        raise ValueError
    except ValueError as error:
        traceback = error.__traceback__
    assert py2.exception(KeyError, "x", traceback).__traceback__ is traceback


def test_files_are_strings(tmp_path: Path) -> None:
    path = tmp_path / "f"
    with File(str(path), "w") as file:
        file.write("a\r\n\u00e9\n")
        file.writelines(["x", "\udcff"])
    assert path.read_bytes() == b"a\r\n\xc3\xa9\nx\xff"
    assert File(str(path)).readlines() == ["a\r\n", "\u00e9\n", "x\udcff"]
    assert File(str(path), "rU").readline() == "a\n"
    with File(str(path), "r+b") as file:
        assert file.read(3) == "a\r\n" and next(file) == "\u00e9\n" and file.tell() == 6 and file.name == str(path)
        assert isinstance(file, py2.File) and isinstance(sys.stdout, py2.File)
    assert file.closed
    unbuffered = File(str(path), "a", 0)
    unbuffered.write("!")
    assert path.read_bytes().endswith(b"!")
    unbuffered.close()
    memory = StringIO("ab\n")
    memory.seek(0, 2)
    memory.write("c")
    assert memory.getvalue() == "ab\nc" and memory.len == 4
    with pytest.raises(IOError):
        File(str(tmp_path / "none"))


@pytest.mark.parametrize("name", sorted(set(vocabulary.STAND_INS.values())))
def test_a_module_stands_in_for_the_library(name: str) -> None:
    module = importlib.import_module(f"adamas.translate.python2.{name}")
    names: dict[str, object] = {}
    exec(f"from {module.__name__} import *", names)
    assert len(names) > 1
    assert all(getattr(module, n) is not None or n for n in getattr(module, "__all__", ()))


def test_what_is_set_on_a_stand_in_is_set_on_the_module() -> None:
    names: dict[str, Any] = {}
    exec(translate("import sys, string\nsys.adamas_marker = 7\nprint >>None\nx = string.digits, sys.exc_type\n", "x.py"), names)
    assert sys.__dict__.pop("adamas_marker") == 7
    assert names["x"] == ("0123456789", None)


def test_every_name_that_translation_writes_is_there() -> None:
    written = {
        *vocabulary.OWN.values(),
        *vocabulary.METHODS,
        "print_",
        "print_to",
        "code",
        "code_of",
        "exception",
        "repr_",
        "text",
        "text_of",
    }
    written |= {"listed", "divisor", "arguments", "message", "sort", "sorted_", "Class", "builtins"}
    assert [name for name in sorted(written) if not hasattr(py2, name)] == []


def test_execfile_and_exec_translate(tmp_path: Path) -> None:
    path = tmp_path / "settings.py"
    path.write_text("RATIO = 7 / 2\nNAMES = {}.keys() + ['a']\n")
    names: dict[str, Any] = {}
    exec(
        translate(
            f"print 'x',\nexecfile({str(path)!r})\nexec 'b = 9 / 2'\nexec open({str(path)!r}) in globals()\nx = eval('1')\n",
            "x.py",
        ),
        names,
    )
    assert (names["RATIO"], names["NAMES"], names["b"]) == (3, ["a"], 4)


VALUES = [
    "0",
    "1",
    "7",
    "-3",
    "2.5",
    "-0.5",
    "10",
    "1e3",
    "'a'",
    "'caf\\xe9'",
    "u'e'",
    "''",
    "[]",
    "[1, 2]",
    "(1,)",
    "None",
    "True",
    "{'k': 1}",
]
FORMS = [
    "{a} / {b}", "{a} // {b}", "{a} % {b}", "{a} + {b}", "{a} * {b}", "{a} == {b}", "{a} <> {b}", "round({a}, 1)", "round({a})", "str({a})",
    "int({a})", "len({a})", "len({a} + {b})", "{a}[0]", "{a}[-1:]", "map(None, {a}, {b})", "zip({a}, {b})", "filter(None, {a})",
    "max([{a}])", "sum({a})", "sorted({a})", "list({a})", "[c for c in {a}]", "{a}.encode('hex')", "{a}.upper()", "{a}.find({b})", "{a}.split({b})",
    "({a} or {b}) and {a}", "{a} if {b} else {a}", "isinstance({a}, (basestring, int))", "abs({a})", "oct({a})", "divmod({a}, {b})", "hash({a}) == hash({a})",
    "cmp({a}, None)", "cmp({a}, {b}) == -cmp({b}, {a})", "`{a}` == `{a}`", "reduce(lambda x, y: x + y, {a})", "cmp({a}, {a})", "bool({a})", "range({a})[:3]", "unicode({a})", "ord({a})", "chr({a})", "{a}.keys()", "dict({a})", "'%s' % ({a},)",
]  # fmt: skip


@pytest.mark.skipif(not python2(), reason="no python2.7 here")
def test_many_expressions_give_what_python_2_gave(tmp_path: Path) -> None:
    """Whatever Python 2.7 can work out of these, translated code works out too."""
    chosen = random.Random(7)
    lines = [
        "# coding: utf-8",
        "def shown(v):",
        "    if isinstance(v, bool): return str(v)",
        "    if isinstance(v, unicode): return v.encode('utf-8')",
    ]
    lines += ["    if isinstance(v, (list, tuple)): return '[%s]' % ', '.join(map(shown, v))"]
    lines += ["    if isinstance(v, dict): return shown(sorted(v.items()))", "    if isinstance(v, float): return '%r' % v"]
    lines += ["    if isinstance(v, long): return str(int(v))", "    return str(v)"]
    forms = []
    for form in FORMS:
        forms += [form.format(a=f"({chosen.choice(VALUES)})", b=f"({chosen.choice(VALUES)})") for _ in range(25)]
    for number, form in enumerate(dict.fromkeys(forms)):
        lines += ["try:", f"    print {number}, shown({form})", "except Exception: print 'failed'"]
    source = "\n".join(lines) + "\n"
    (tmp_path / "old.py").write_text(source)
    (tmp_path / "new.py").write_text(translate(source, "old.py"))
    old = run([python2(), "old.py"], tmp_path).split("\n")
    new = run([sys.executable, "new.py"], tmp_path, PYTHONPATH=str(SRC)).split("\n")
    assert len(old) == len(new)
    wrong = [(o, n, f) for o, n, f in zip(old, new, dict.fromkeys(forms)) if o != n and not o.endswith("failed")]
    assert not wrong, "\n".join(map(str, wrong))
    assert sum(not o.endswith("failed") for o in old) > 300


@pytest.mark.skipif(not python2(), reason="no python2.7 here")
def test_the_library_of_python_2_is_translated(tmp_path: Path) -> None:
    """Real old code, though not collectors: every file either compiles, with its lines, or says why not."""
    where = subprocess.run(
        [python2(), "-c", "import os; print os.path.dirname(os.__file__)"], capture_output=True, check=True, text=True
    )
    folder = Path(where.stdout.strip())
    files = sorted(p for p in folder.glob("*.py"))[::6]
    refused = 0
    for path in files:
        source = path.read_bytes()
        try:
            result = translate(source, str(path), legacy=True)
        except TranslationError as error:
            refused += 1
            assert all(m.file == str(path) and m.line > 0 for m in error.mistakes)
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of "\d" and its like
            compile(result, str(path), "exec", dont_inherit=True)
        assert result.count("\n") == source.replace(b"\r\n", b"\n").count(b"\n"), path
        assert translate(result, str(path), legacy=True) == result, path
    assert len(files) > 25 and refused < len(files) / 10


def test_a_pipe_without_data_says_so() -> None:
    names: dict[str, Any] = {}
    source = """
import fcntl, os, subprocess
p = subprocess.Popen(['sleep', '5'], stdout=subprocess.PIPE)
fcntl.fcntl(p.stdout, fcntl.F_SETFL, os.O_NONBLOCK)
try:
    p.stdout.read()
except IOError, e:
    number = e[0]
p.kill()
p.wait()
p.stdout.close()
"""
    exec(translate(source, "x.py"), names)
    assert names["number"] == 11
