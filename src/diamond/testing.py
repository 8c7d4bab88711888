"""The kit that collectors' tests were written with: `CollectorTestCase`, `get_collector_config`, `run_only` and the mocks.

Old tests import it as `test` (and `mock`, which is in the standard library now). Python has a package of that name, so nothing
is installed under it: `install_aliases()` gives this process the names, and `python -m diamond.testing FOLDER...` runs
the tests below some folders with them.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import io
import os
import pickle
import sys
import unittest
import unittest.mock
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import Any
from unittest.mock import ANY, DEFAULT, MagicMock, Mock, call, mock_open, patch, sentinel

import configobj

from diamond.loading import allow_neighbours, compile_file

__all__ = [
    "ANY",
    "DEFAULT",
    "CollectorTestCase",
    "MagicMock",
    "Mock",
    "call",
    "get_collector_config",
    "install_aliases",
    "mock_open",
    "patch",
    "run_only",
    "sentinel",
    "unittest",
]


def run_only(func: Callable[..., Any], predicate: Callable[[], bool]) -> Callable[..., Any] | None:
    """The test where the predicate holds, else None, which no runner takes for a test."""
    return func if predicate() else None


def get_collector_config(key: str, value: Any) -> Any:
    """A configuration in which this collector has these options, and the host is named by uname_short."""
    config = configobj.ConfigObj()
    config["server"] = {"collectors_config_path": ""}
    config["collectors"] = {"default": {"hostname_method": "uname_short"}, key: value}
    return config


class CollectorTestCase(unittest.TestCase):
    """Fixtures from the folder `fixtures` beside the test, and assertions about what a mock of `publish` was called with."""

    def setDocExample(self, collector: str, metrics: Mapping[str, Any], defaultpath: str | None = None) -> bool:
        """Put the metrics in place of __EXAMPLESHERE__ in docs/collectors-COLLECTOR.md; False where there is no such file."""
        path = os.path.join("docs", f"collectors-{collector}.md")
        if not metrics or not os.access(path, os.R_OK | os.W_OK):
            return False
        head = f"servers.hostname.{defaultpath}." if defaultpath else "servers.hostname."
        lines = [f"{head}{name} {metrics[name]}\n".replace("..", ".") for name in sorted(metrics)]
        with open(path, encoding="utf-8") as file:
            content = [("".join(lines) if line.strip() == "__EXAMPLESHERE__" else line) for line in file]
        with open(path, "w", encoding="utf-8") as file:
            file.writelines(content)
        return True

    def getFixtureDirPath(self) -> str:
        """The folder of the fixtures."""
        return os.path.join(os.path.dirname(inspect.getfile(self.__class__)), "fixtures")

    def getFixturePath(self, fixture_name: str) -> str:
        """Where a fixture is."""
        path = os.path.join(self.getFixtureDirPath(), fixture_name)
        if not os.access(path, os.R_OK):
            print("Missing Fixture " + path)
        return path

    def getFixture(self, fixture_name: str) -> io.StringIO:
        """A fixture's text as a file."""
        with open(self.getFixturePath(fixture_name), encoding="utf-8", errors="surrogateescape") as file:
            return io.StringIO(file.read())

    def getFixtures(self) -> list[str]:
        """The paths of all fixtures."""
        return [os.path.join(here, name) for here, _, names in os.walk(self.getFixtureDirPath()) for name in sorted(names)]

    def getPickledResults(self, results_name: str) -> Any:
        """What a fixture holds as a pickle; text of Python 2 in it is Latin-1."""
        with open(self.getFixturePath(results_name), "rb") as file:
            return pickle.load(file, encoding="latin-1")

    def setPickledResults(self, results_name: str, data: Any) -> None:
        """Write a fixture as a pickle."""
        with open(self.getFixturePath(results_name), "wb") as file:
            pickle.dump(data, file)

    def assertPublished(self, mock: Any, key: str, value: Any, expected_value: int = 1) -> None:
        """`publish` was called so many times for this name, with this value or (value, places)."""
        calls = self._calls(mock, lambda one: one[0][0] == key)
        self._compare(key, calls, expected_value, lambda one: one[0][1], value)

    def assertUnpublished(self, mock: Any, key: str, value: Any, expected_value: int = 0) -> None:
        """`publish` was not called for this name."""
        self.assertPublished(mock, key, value, expected_value)

    def assertPublishedMany(self, mock: Any, dict: Mapping[str, Any], expected_value: int = 1) -> None:
        """As `assertPublished` for each name; the mock forgets its calls then."""
        for key, value in dict.items():
            self.assertPublished(mock, key, value, expected_value)
        for one in mock if isinstance(mock, list) else [mock]:
            one.reset_mock()

    def assertUnpublishedMany(self, mock: Any, dict: Mapping[str, Any], expected_value: int = 0) -> None:
        """`publish` was called for none of these names."""
        self.assertPublishedMany(mock, dict, expected_value)

    def assertPublishedMetric(self, mock: Any, key: str, value: Any, expected_value: int = 1) -> None:
        """`publish_metric` got so many metrics with this in their path, with this value or (value, places)."""
        calls = self._calls(mock, lambda one: key in one[0][0].path)
        self._compare(key, calls, expected_value, lambda one: one[0][0].value, value)

    def assertUnpublishedMetric(self, mock: Any, key: str, value: Any, expected_value: int = 0) -> None:
        """`publish_metric` got no metric with this in its path."""
        self.assertPublishedMetric(mock, key, value, expected_value)

    def assertPublishedMetricMany(self, mock: Any, dict: Mapping[str, Any], expected_value: int = 1) -> None:
        """As `assertPublishedMetric` for each; the mock forgets its calls then."""
        for key, value in dict.items():
            self.assertPublishedMetric(mock, key, value, expected_value)
        mock.reset_mock()

    def assertUnpublishedMetricMany(self, mock: Any, dict: Mapping[str, Any], expected_value: int = 0) -> None:
        """`publish_metric` got none of these."""
        self.assertPublishedMetricMany(mock, dict, expected_value)

    @staticmethod
    def _calls(mock: Any, wanted: Callable[[Any], bool]) -> list[Any]:
        """The calls that fit: of the first mock that has some, where several are given."""
        for one in mock if isinstance(mock, list) else [mock]:
            found = [made for made in one.call_args_list if wanted(made)]
            if found:
                return found
        return []

    def _compare(self, key: str, calls: Sequence[Any], times: int, value_of: Callable[[Any], Any], expected: Any) -> None:
        self.assertEqual(len(calls), times, f"{key}: actual number of calls {len(calls)}, expected {times}")
        if not times:
            return
        places: int | None = 0
        if isinstance(expected, tuple):
            expected, places = expected
        actual = value_of(calls[0])
        message = f"{key}: actual {actual!r}, expected {expected!r}"
        if places is None:
            self.assertEqual(actual, expected, message)
        else:
            self.assertAlmostEqual(float(actual), float(expected), places=places, msg=message)


def install_aliases() -> None:
    """Make `import test` and `import mock` mean this kit and the standard library's mocks, in this process."""
    sys.modules["test"] = sys.modules[__name__]
    if importlib.util.find_spec("mock") is None:
        sys.modules["mock"] = unittest.mock


def load_test(path: str) -> ModuleType:
    """The module of a test file, translated where it is Python 2; the folders around it can be imported from."""
    folder = os.path.dirname(os.path.abspath(path))
    allow_neighbours([folder, os.path.dirname(folder)])
    name = os.path.basename(path).removesuffix(".py")
    module = ModuleType(name)
    module.__file__ = os.path.abspath(path)
    sys.modules[name] = module
    exec(compile_file(path), module.__dict__)
    return module


def main(folders: Sequence[str]) -> int:
    """Run the tests (test*.py) below the folders; 1 where one fails or none is there."""
    install_aliases()
    suite = unittest.TestSuite()
    for folder in folders:
        for here, below, names in os.walk(folder):
            below.sort()
            for name in sorted(names):
                if name.startswith("test") and name.endswith(".py"):
                    suite.addTests(unittest.defaultTestLoader.loadTestsFromModule(load_test(os.path.join(here, name))))
    result = unittest.TextTestRunner().run(suite)
    return 0 if result.wasSuccessful() and result.testsRun else 1


if __name__ == "__main__":
    # By its own name, so that the tests and this runner share one kit.
    sys.exit(importlib.import_module("diamond.testing").main(sys.argv[1:]))
