"""Fixtures that every test may use; what stands behind them is in `servers.py`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import servers


@pytest.fixture(scope="session")
def require() -> Callable[..., None]:
    """`require("carbon-cache")`: skips the test by that name where it is not installed, fails with REQUIRE_SERVERS=1."""
    return servers.require


@pytest.fixture(scope="session")
def free_port() -> Callable[..., int]:
    """`free_port()`: a loopback port that nobody uses now."""
    return servers.free_port


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., servers.Server]]:
    """`start(argv, ready=lambda: ..., env={...})`: a server that ends with the test."""
    running: list[servers.Server] = []

    def begin(argv: Sequence[str], ready: Callable[[], Any] | None = None, **how: Any) -> servers.Server:
        server = servers.start(argv, how.pop("directory", tmp_path / f"server{len(running)}"), ready, **how)
        running.append(server)
        return server

    yield begin
    for server in reversed(running):
        server.stop()


@pytest.fixture
def carbon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[servers.Carbon]:
    """A running carbon-cache of the test's own."""
    servers.require("carbon-cache", servers.SYSTEM_PYTHON)
    running = servers.Carbon(tmp_path_factory.mktemp("carbon"))
    yield running
    running.stop()


@pytest.fixture
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., servers.Prometheus]]:
    """`prometheus(["127.0.0.1:8326"])`: a running Prometheus that scrapes these targets each second."""
    servers.require("prometheus")
    running: list[servers.Prometheus] = []

    def begin(targets: Sequence[str] = (), interval: str = "1s") -> servers.Prometheus:
        server = servers.Prometheus(tmp_path_factory.mktemp("prometheus"), targets, interval)
        running.append(server)
        return server

    yield begin
    for server in running:
        server.stop()
