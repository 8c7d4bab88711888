"""What a collector or an output is, told from its declarations alone: `adamas describe NAME`.

Pure: classes in, text out. Everything stands in the class (docstring, options, metrics, needs), so the terminal cannot say
what the code does not do. The pages under docs/ are made of the same facts, by docs/generate.py.
"""

from __future__ import annotations

import inspect
import sys
import textwrap
import tomllib

from adamas.collector import Collector
from adamas.metric import DELTA, NAMINGS, RATE, Declaration, Series, Source, Spelled, Template
from adamas.naming import Naming
from adamas.option import Duration, Option, Size, options_of, toml
from adamas.output import Output

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import TypeAlias

    Kind: TypeAlias = "type[Collector] | type[Output]"

WIDTH = 100
PREFIX = ("servers", "HOST")
TYPES = {
    "bool": "true or false",
    "int": "whole number",
    "float": "number",
    "str": "text",
    "list[str]": "list of texts",
    "dict[str, str]": "table of texts",
    "dict[str, Any]": "table",
    "Duration": "time",
    "Size": "size",
    "Secret": "secret",
}
LEGEND = (
    "`{label}` in a dotted name, and `<label>` in another, stand for the value of that label; `{a,b}` after a name are the "
    "labels that go beside it. The value is as collected, a counter's its total, unless words after the name say otherwise."
)


# What the declarations say


def kind(cls: Kind) -> str:
    """Whether it is a collector or an output."""
    return "collector" if issubclass(cls, Collector) else "output"


def about(cls: Kind) -> str:
    """The class's docstring."""
    return inspect.cleandoc(cls.__dict__.get("__doc__") or "")


def source(cls: Kind) -> str:
    """The module's docstring: where the figures come from, or what is spoken."""
    return inspect.cleandoc(sys.modules[cls.__module__].__doc__ or "")


def common_options(cls: Kind) -> dict[str, Option]:
    """The options of every collector, or of every output."""
    return options_of(Collector if issubclass(cls, Collector) else Output)


def own_options(cls: Kind) -> list[Option]:
    """The options that the class declares itself, or whose default it changes."""
    common = common_options(cls)
    return [declared for name, declared in cls.options.items() if declared is not common.get(name)]


def default(declared: Option) -> str:
    """An option's default as TOML writes it; nothing where there is none."""
    if declared.required:
        return "required"
    return "" if declared.default is None else declared.show()


def limits(declared: Option) -> str:
    """What limits an option's value, in words."""
    said = []
    if declared.choices:
        said.append("one of " + ", ".join(f'`"{choice}"`' for choice in declared.choices))
    for word, bound in (("at least", declared.minimum), ("at most", declared.maximum)):
        if bound is not None:
            shown = {"Duration": Duration, "Size": Size}.get(declared.type, float)(bound)
            said.append(f"{word} {toml(shown) if isinstance(shown, (Duration, Size)) else f'{bound:g}'}")
    if declared.family:
        said.append(f"each entry may also be an option `{declared.family}NAME`")
    if declared.pattern:
        said.append("regular expressions" if declared.type.startswith("list") else "a regular expression")
    return "; ".join(said)


def help_of(declared: Option) -> str:
    """An option's help, with its limits."""
    return "; ".join(part for part in (declared.help, limits(declared)) if part)


def names(cls: type[Collector], declaration: Declaration) -> dict[str, str]:
    """A metric's name in each naming with its labels left open, and what becomes of its value; "" where it is not in it."""
    return {naming: _open_name(cls, declaration, naming) for naming in NAMINGS}


def _open_name(cls: type[Collector], declaration: Declaration, naming: str) -> str:
    # The naming itself spells a series whose label values are tokens that no cleaning touches; what comes out is the
    # name that a real series gets, and the tokens show where its label values go.
    fields = declaration.template.fields
    tokens = {field: f"qz{number}zq" for number, field in enumerate((*fields, "unit"))}
    opened = _Opened(declaration, tokens["unit"])
    source = Source(cls.name, cls.name, cls.path or cls.name, bool(cls.diamond), diamond_path=cls.diamond_path)
    series = Series(source, opened, tuple(tokens[f] for f in fields))
    dotted = naming in ("path", "diamond")
    points = Naming(naming, PREFIX if dotted else ()).spell(series)
    if not points:
        return ""
    point = points[0]
    name = point.name
    for field, token in tokens.items():
        name = name.replace(token, f"{{{field}}}" if dotted else f"<{field}>")
    if point.labels:
        name += "{" + ",".join(label for label, _ in point.labels) + "}"
    how = declaration.spelled.get(naming)
    value = {RATE: "per second", DELTA: "increase per run"}.get(point.conversion, "")
    if point.scale != 1:
        value = f"{value} x {point.scale:g}".strip()
    if how is not None and how.units:
        value = f"{value} in the units of {how.units}".strip()
    return f"{name} ({value})" if value else name


class _Opened(Declaration):
    """A copy of a declaration that spells every label value as it is: nothing mapped, a unit like any other text."""

    __slots__ = ("kind",)

    def __init__(self, declaration: Declaration, unit: str) -> None:
        self.kind = declaration.kind
        super().__init__(declaration.template.text, declaration.help, unit=declaration.unit, precision=declaration.precision)
        self.name = declaration.name
        self.spelled = {naming: how and self._opened(how, unit) for naming, how in declaration.spelled.items()}

    @staticmethod
    def _opened(how: Spelled, unit: str) -> Spelled:
        text = None if how.name is None else how.name.text.replace("{unit}", unit) if how.units else how.name.text
        opened = Spelled(conversion=how.conversion, scale=how.scale, drop=how.drop, rename=how.rename)
        opened.name = None if text is None else Template(text)
        return opened


def example(cls: Kind) -> str:
    """Its table in an adamas.toml, every option of its own at its default."""
    lines = [f"[{kind(cls)}s.{cls.name}]"]
    for declared in own_options(cls):
        value = declared.show() if declared.default is not None else None
        if value is None and declared.required:
            value = {"bool": "false", "int": "0", "float": "0.0", "list[str]": "[]", "Duration": '"10s"', "Size": '"1MiB"'}.get(
                declared.type, "{}" if declared.type.startswith("dict") else '""'
            )
        if value is not None:
            lines.append(f"{declared.name} = {value}")
    text = "\n".join(lines) + "\n"
    tomllib.loads(text)  # what the pages show must at least be TOML
    return text


def facts(cls: Kind) -> list[tuple[str, str]]:
    """What else there is to know, as pairs of a word and what it is."""
    found = []
    if isinstance(cls, type) and issubclass(cls, Collector):
        if cls.needs:
            found.append(("Needs", ", ".join(cls.needs)))
        if cls.path and cls.path != cls.name:
            found.append(("Dotted names", f"under `{cls.path}`"))
        if cls.diamond:
            found.append(("In a diamond.conf", f"`{cls.diamond}`"))
        if cls.remote:
            found.append(("Runs", "in a thread of its own: it waits for a peer"))
        return found
    found.append(("Naming", f"`{cls.default_naming}`, unless `naming` says otherwise"))
    if cls.diamond:
        found.append(("In a diamond.conf", f"`{cls.diamond}`"))
    arrival = "confirmed by each send" if cls.answered else "nobody confirms it: delivered means sent"
    if cls.confirms_later:
        arrival = "asked for after some sends; what is not confirmed is sent again"
    found.append(("Arrival", arrival))
    if cls.modules:
        found.append(("Needs", f"the extra `{cls.extra}`: `pip install 'adamas[{cls.extra}]'`"))
    if not cls.slotted:
        found.append(("Early samples", "also those that come between the windows at start"))
    return found


# For the terminal


def describe(cls: Kind) -> str:
    """All about it for a person at a terminal."""
    out = [f"{cls.name} ({kind(cls)})", "", *_wrap(about(cls))]
    if source(cls):
        out += ["", *_wrap(source(cls))]
    width = max((len(word) for word, _ in facts(cls)), default=0) + 1
    out += ["", *[line for word, what in facts(cls) for line in _hang(f"{word + ':':{width}} ", what.replace("`", ""))]]
    if issubclass(cls, Collector):
        out += ["", "METRICS", *_metric_lines(cls)]
    common = common_options(cls)
    own = own_options(cls)
    if own:
        out += ["", "OPTIONS", *_option_lines(own)]
    rest = [declared for name, declared in cls.options.items() if declared is common.get(name)]
    out += ["", f"OPTIONS OF EVERY {kind(cls).upper()}", *_option_lines(rest)]
    out += ["", "EXAMPLE (adamas.toml)", *textwrap.indent(example(cls), "  ").splitlines()]
    return "\n".join(out).rstrip() + "\n"


def _metric_lines(cls: type[Collector]) -> list[str]:
    if not cls.declarations:
        return ["  Known only when it runs: see above."]
    out = []
    for name, declaration in cls.declarations.items():
        unit = f", {declaration.unit}" if declaration.unit else ""
        out += _hang(f"  {name} ({declaration.kind}{unit})  ", declaration.help, 6)
        out += [f"      {naming:10}  {spelled}" for naming, spelled in names(cls, declaration).items() if spelled]
    return [*out, "", *_wrap(LEGEND.replace("`", ""), "  ")]


def _option_lines(declared: Sequence[Option]) -> list[str]:
    out = []
    for one in declared:
        shown = default(one)
        head = f"  {one.name} ({TYPES[one.type]}{', ' + shown if shown else ''})  "
        out += _hang(head, help_of(one).replace("`", ""), 6)
    return out


def _wrap(paragraphs: str, indent: str = "") -> list[str]:
    out = []
    for paragraph in paragraphs.split("\n\n"):
        out += [*textwrap.wrap(paragraph, WIDTH, initial_indent=indent, subsequent_indent=indent), ""]
    return out[:-1]


def _hang(head: str, body: str, indent: int | None = None) -> list[str]:
    rest = " " * (len(head) if indent is None else indent)
    return textwrap.wrap(body, WIDTH, initial_indent=head, subsequent_indent=rest, break_on_hyphens=False) or [head.rstrip()]
