"""Names as hostile as labels can be: one line a point, that a Graphite server reads back, and no two series under one name."""

from __future__ import annotations

import itertools

from hypothesis import given, note, settings
from hypothesis import strategies as st

from adamas.lines import LineEncoder
from adamas.metric import Batch, Gauge, Raw, Series, Shape, Source
from adamas.naming import Naming, clean_diamond, clean_node
from adamas.outputs.graphite import Graphite

PIECES = [
    "\n",
    "\r",
    "\r\n",
    "\0",
    " ",
    "\t",
    "\u2028",
    "\u2029",
    "\x85",
    "\xa0",
    "\u202e",
    "\u200f",
    "\ufeff",
    "\x1c",
    "\x7f",
    "..",
    ".",
]
PIECES += [
    "/",
    "\\",
    "'",
    '"',
    ";",
    "%",
    "%s",
    "%(a)d",
    "{",
    "}",
    "~",
    "*",
    "_",
    "_2",
    "ä",
    "\U0001f600",
    "\udcff",
    "\ud800",
    "עברית",
    "a",
    "b",
    "A",
]
WORDS = st.lists(st.sampled_from(PIECES), max_size=6).map("".join)
LONG = st.builds(
    lambda piece, times: piece * times, st.sampled_from(["x", "ä", "x.", "\n", "/", "\U0001f600", "\udcff"]), st.just(10_000)
)
VALUES = st.one_of(WORDS, st.text(max_size=20), LONG)
NUMBERS = st.one_of(st.integers(-(2**70), 2**70), st.floats(allow_nan=False, allow_infinity=False))
GAUGE = Gauge("{one}.value", "A number", diamond=Raw(precision=6))
FILE = 255 - len(".wsp")
"""The most bytes that a file system has for the last node of a name."""


def batch(values: list[str], numbers: list[float], succeeds: bool, segment: str = "some") -> Batch:
    source = Source("some", "some", segment, succeeds)
    return Batch(1_700_000_000.9, Shape(tuple([Series(source, GAUGE, (v,)) for v in values]), None), tuple(numbers), (), 1.0, 0)


def read_back(text: bytes) -> list[tuple[str, float, int]]:
    """What carbon's receiver makes of it: lines end with a newline, a line is three words, as Python splits them."""
    *lines, rest = text.split(b"\n")
    assert rest == b""
    read = []
    for line in lines:
        assert b"\r" not in line
        name, value, stamp = line.decode("utf-8").split()
        read.append((name, float(value), int(stamp)))
    return read


def close(a: float, b: float) -> bool:
    return abs(a - b) <= max(1e-6, abs(b) * 1e-11)


@settings(max_examples=400, deadline=None)
@given(
    st.lists(st.tuples(VALUES, NUMBERS), min_size=1, max_size=8, unique_by=lambda pair: pair[0]),
    st.sampled_from(["path", "diamond"]),
    st.booleans(),
    st.booleans(),
)
def test_each_point_is_one_line_that_reads_back(
    pairs: list[tuple[str, float]], spelling: str, succeeds: bool, to_graphite: bool
) -> None:
    values, numbers = [v for v, _ in pairs], [n for _, n in pairs]
    naming = Naming(spelling, ("servers", "h"))
    if to_graphite:
        output = Graphite({})
        output.spell(naming)
        encoder = output.lines
    else:
        encoder = LineEncoder(naming)
    given = batch(values, numbers, succeeds)
    text = encoder.encode([given])
    read = read_back(text)
    note(repr(text[:2000]))
    assert len(read) == encoder.points(given) == len(pairs) - len(encoder.unfit)
    assert len({name for name, _, _ in read}) == len(read), "two series under one name"
    for name, _, stamp in read:
        nodes = name.split(".")
        assert nodes[:3] == ["servers", "h", "some"]
        assert all(nodes), "an empty node"
        assert not {"/", "\0"} & set(name)
        assert stamp == 1_700_000_000
        if to_graphite:
            assert all(len(node.encode()) <= FILE for node in nodes)
    if not encoder.unfit:
        assert all(close(value, number) for (_, value, _), number in zip(read, numbers, strict=True))
    clean = clean_diamond if spelling == "diamond" and succeeds else clean_node
    alike = len(values) - len({clean(value) for value in values})
    assert bool(naming.collisions) == bool(alike), naming.collisions
    assert encoder.encode([given]) == text, "the same shape again"


@given(st.text(), st.text(), st.sampled_from(["path", "diamond"]))
def test_a_hostile_host_or_instance_breaks_no_line(host: str, segment: str, spelling: str) -> None:
    encoder = LineEncoder(Naming(spelling, ("servers", host)))
    ((_, value, stamp),) = read_back(encoder.encode([batch(["a"], [5], False, segment)]))
    assert (value, stamp) == (5, 1_700_000_000)


@given(st.lists(VALUES, min_size=1, max_size=5, unique=True), st.sampled_from(["prometheus", "otel"]))
def test_labels_can_always_be_written(values: list[str], spelling: str) -> None:
    naming = Naming(spelling)
    points = [point for series in batch(values, [0] * len(values), False).shape.series for point in naming.spell(series)]
    written = {(point.name, point.labels) for point in points}
    assert len(written) == len(values)
    for name, labels in written:
        assert str((name, labels)).isprintable()
        "".join([name, *itertools.chain(*labels)]).encode()
