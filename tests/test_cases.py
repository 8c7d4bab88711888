"""Every recorded case of every collector gives what was expected, in all four spellings.

`python tests/test_cases.py CASE...` writes a case's expected.json from what it gives now: read it before you commit it.
"""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from cases import run_case

from adamas.collector import Collector

ROOT = Path(__file__).parent / "collectors"
CASES = sorted(p.parent for p in ROOT.glob("*/*/case.json"))


def collector_class(name: str) -> type[Collector]:
    """The collector of that name."""
    module = importlib.import_module(f"adamas.collectors.{name}")
    return next(c for c in vars(module).values() if isinstance(c, type) and issubclass(c, Collector) and c.name == name)


@pytest.mark.parametrize("case", CASES, ids=lambda c: f"{c.parent.name}/{c.name}")
def test_case(case: Path) -> None:
    expected = json.loads((case / "expected.json").read_text())
    assert run_case(collector_class(case.parent.name), case) == expected


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        folder = Path(argument).resolve()
        given = run_case(collector_class(folder.parent.name), folder)
        (folder / "expected.json").write_text(json.dumps(given, indent=1, sort_keys=True) + "\n")
        print(f"{folder}: {', '.join(f'{k} {len(v)}' for k, v in given.items())}")
