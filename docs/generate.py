"""Writes the reference under docs/ from what the code declares: `make docs`. A test fails where docs/ differ from it."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from adamas.collector import Collector
from adamas.config import TABLES
from adamas.describe import LEGEND, TYPES, about, default, example, facts, help_of, kind, names, own_options, source
from adamas.option import Option, options_of
from adamas.output import Output
from adamas.registry import KINDS, Registry

if TYPE_CHECKING:
    from adamas.describe import Kind

DOCS = Path(__file__).parent
WRITTEN = ("README.md", "options.md")


def markdown(cls: Kind) -> str:
    """The page of one collector or output."""
    out = [f"# {cls.name}", "", _prose(about(cls)), "", _prose(source(cls)), ""]
    out += [f"- **{word}**: {_prose(what)}" for word, what in facts(cls)]
    if issubclass(cls, Collector):
        out += ["", "## Metrics", ""]
        if cls.declarations:
            out += _metric_tables(cls)
        else:
            out.append("Known only when it runs: see above.")
    out += ["", "## Options", ""]
    own = own_options(cls)
    if own:
        out += [*_option_table(own), ""]
    out.append(f"{'And those' if own else 'None but those'} of [every {kind(cls)}](../options.md#every-{kind(cls)}).")
    out += ["", "## Example", "", "```toml", example(cls).rstrip(), "```"]
    return _page(out)


def _metric_tables(cls: type[Collector]) -> list[str]:
    rows = []
    spelled = []
    for name, declaration in cls.declarations.items():
        rows.append((f"`{name}`", declaration.kind, declaration.unit, _prose(declaration.help)))
        spelled.append((f"`{name}`", *[_code(said) for said in names(cls, declaration).values()]))
    return [
        *_table(("Metric", "Kind", "Unit", "What it is"), rows),
        "",
        *_table(("Metric", "path", "diamond", "prometheus", "otel"), spelled),
        "",
        LEGEND,
    ]


def _code(spelled: str) -> str:
    name, _, value = spelled.partition(" (")
    if not name:
        return "-"
    return f"`{name}`" + (f" {value.removesuffix(')')}" if value else "")


def _option_table(declared: Iterable[Option]) -> list[str]:
    rows = []
    for one in declared:
        shown = default(one)
        rows.append(
            (f"`{one.name}`", TYPES[one.type], shown if one.required or not shown else f"`{shown}`", _prose(help_of(one)))
        )
    return _table(("Option", "Type", "Default", "What it does"), rows)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = [head, ["---"] * len(head), *rows]
    return ["| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in line) + " |" for line in lines]


def _prose(text: str) -> str:
    """Text as Markdown: what would be markup is escaped, but not between backquotes."""
    parts = text.split("`")
    for position in range(0, len(parts), 2):
        for mark in "\\*<":
            parts[position] = parts[position].replace(mark, "\\" + mark)
    return "`".join(parts)


def _page(lines: Iterable[str]) -> str:
    joined = "\n".join(lines)
    while "\n\n\n" in joined:
        joined = joined.replace("\n\n\n", "\n\n")
    return joined.rstrip() + "\n"


def options_page() -> str:
    """The agent's own tables, and what every collector and every output takes."""
    out = [
        "# Options",
        "",
        "The agent's own tables, and what every collector and every output takes beside its own options. Times and sizes are",
        'numbers (seconds, bytes), or text with a unit: `"500ms"`, `"10s"`, `"5m"`, `"2h"`, `"30d"`; `"64KiB"`, `"256MiB"`,',
        '`"1GiB"`. `${env:NAME}` and `${file:PATH}` stand for the value of a variable and the content of a file, anywhere.',
    ]
    for name, table in TABLES.items():
        out += ["", f"## {name}", "", _prose(table.__doc__ or ""), "", *_option_table(options_of(table).values())]
    for title, base in (("Every collector", Collector), ("Every output", Output)):
        out += ["", f"## {title}", "", *_option_table(options_of(base).values())]
    out += [
        "",
        "In a table under `[collectors]` or `[outputs]`, `type` is the collector or output (default: the table's name), and",
    ]
    out += ["`enabled = false` leaves it out."]
    return _page(out)


def index_page(classes: Sequence[Kind], guides: Mapping[str, str]) -> str:
    """What docs/ holds; `guides` are the titles of the pages that people write, by path."""
    out = ["# Reference", ""]
    out += ["Written from the declarations in the code by `make docs`; `adamas describe NAME` says the same on a terminal.", ""]
    out += [f"- [{title}]({path})" for path, title in sorted({**guides, "options.md": "Options"}.items())]
    for title, which, what in (("Collectors", "collector", "What it measures"), ("Outputs", "output", "What it does")):
        rows = [
            (f"[{cls.name}]({which}s/{cls.name}.md)", _prose(about(cls).partition("\n\n")[0]))
            for cls in classes
            if kind(cls) == which
        ]
        out += ["", f"## {title}", "", *_table(("Name", what), rows)]
    return _page(out)


def declared() -> list[Kind]:
    """Every collector and output of the package, by name."""
    registry = Registry()
    found = [registry.find(kind, name) for kind in KINDS for name in registry.builtin(kind)]
    return [one.cls for one in found if one is not None]


def pages() -> dict[str, str]:
    """Every generated page, by its path under docs/."""
    classes = declared()
    guides = {p.name: p.read_text().partition("\n")[0].removeprefix("# ") for p in DOCS.glob("*.md") if p.name not in WRITTEN}
    made = {f"{kind(cls)}s/{cls.name}.md": markdown(cls) for cls in classes}
    return {**made, "options.md": options_page(), "README.md": index_page(classes, guides)}


def stale(wanted: Mapping[str, str]) -> list[str]:
    """Pages of what is gone."""
    there = [f"{folder}/{page.name}" for folder in ("collectors", "outputs") for page in (DOCS / folder).glob("*.md")]
    return [path for path in there if path not in wanted]


def main() -> int:
    """Write what differs, and remove what is stale."""
    wanted = pages()
    for path, content in wanted.items():
        target = DOCS / path
        target.parent.mkdir(exist_ok=True)
        if not target.exists() or target.read_text() != content:
            target.write_text(content)
            print(f"docs/{path}")
    for path in stale(wanted):
        (DOCS / path).unlink()
        print(f"docs/{path} removed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
