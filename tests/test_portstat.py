"""Sockets by port: what the kernel dumps over netlink is what /proc/net shows, and what neither can give is said."""

from __future__ import annotations

import re
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from cases import parse_options, spelled

from adamas.collectors.portstat import PortStat
from adamas.errors import NoData
from adamas.host import Host
from adamas.pipeline import Intake
from adamas.recording import Recorder, Replay


class WithoutNetlink(Host):
    def netlink(self, family: int, kind: int, request: bytes, timeout: float = 2.0) -> list[bytes]:
        raise NoData("not here")


def give(host: Host, **ports: Any) -> dict[str, int]:
    intake = Intake(PortStat(host, parse_options(PortStat, {"port": ports})))
    batch = intake.publish(*intake.gather(), 1.0, 1.0)
    return {name.removeprefix("servers.host.port."): int(value) for name, value in spelled(batch, "path").items()}


@pytest.fixture
def busy() -> Iterator[tuple[int, int, int]]:
    """Ports: TCP over IPv4 with 30 connections, TCP over IPv6 that also takes IPv4, UDP."""
    opened: list[socket.socket] = []
    four, six = socket.socket(socket.AF_INET), socket.socket(socket.AF_INET6)
    opened += [four, six]
    for sock, address in ((four, "127.0.0.1"), (six, "::")):
        sock.bind((address, 0))
        sock.listen(64)
    for server, address, count in ((four, "127.0.0.1", 30), (six, "::1", 3), (six, "127.0.0.1", 2)):
        for _ in range(count):
            opened += [socket.create_connection((address, server.getsockname()[1])), server.accept()[0]]
    # One whose peer has said all it has to say.
    opened[2].shutdown(socket.SHUT_WR)
    datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    datagrams.bind(("127.0.0.1", 0))
    opened.append(datagrams)
    time.sleep(0.05)
    yield four.getsockname()[1], six.getsockname()[1], datagrams.getsockname()[1]
    for sock in opened:
        sock.close()


def test_both_sources_agree(busy: tuple[int, int, int]) -> None:
    four, six, datagrams = busy
    ports = {"four": {"number": four}, "six": {"number": str(six)}, "datagrams": datagrams}
    given = give(Host(), **ports)
    assert given == give(WithoutNetlink(), **ports)
    assert {name: count for name, count in given.items() if count and not name.startswith("datagrams")} == {
        "four.listen": 1,
        "four.established": 29,
        "four.close_wait": 1,
        "six.listen": 1,
        "six.established": 5,
    }
    assert given["datagrams.none"] == 1


def test_many_ports(busy: tuple[int, int, int]) -> None:
    four, six, _ = busy
    # Below what the kernel gives to connections: those of others come and go between the two readings.
    others = {f"p{n}": 1024 + 39 * n for n in range(1, 800) if 1024 + 39 * n not in busy}
    given = give(Host(), four=four, six=six, **others)
    assert (given["four.established"], given["six.established"]) == (29, 5)
    assert given == give(WithoutNetlink(), four=four, six=six, **others)
    with pytest.raises(ValueError, match="at most 1000 ports"):
        give(Host(), **{f"p{n}": n + 1 for n in range(1001)})


def test_a_dump_can_be_recorded(busy: tuple[int, int, int], tmp_path: Path) -> None:
    recorder = Recorder()
    given = give(recorder, four=busy[0])
    recorder.save(str(tmp_path))
    assert give(Replay(str(tmp_path)), four=busy[0]) == given
    with pytest.raises(NoData):
        give(Replay(str(tmp_path)), other=busy[0] - 1)


def test_what_the_kernel_refuses_is_said() -> None:
    with pytest.raises(NoData, match="netlink"):
        Host().netlink(4, 20, bytes([5, 6]) + bytes(54))  # AppleTalk has no sockets of TCP
    with pytest.raises(OSError, match="netlink"):
        Host().netlink(4, 20, bytes([2, 6]) + bytes(54) + b"\x08\x00\x01\x00\xff\xff\xff\xff")  # a filter that is none
    with pytest.raises(NoData, match="a tree"):
        Host("/somewhere").netlink(4, 20, b"")


@pytest.mark.parametrize(
    ("about", "shown"),
    [
        (0, "0"),
        (65536, "65536"),
        ("http", "'http'"),
        ({}, "None"),
        (True, "True"),
        ({"number": "8x"}, "'8x'"),
        (-1, "-1"),
        ("²", "'²'"),
    ],
)
def test_a_port_that_is_none(about: Any, shown: str) -> None:
    with pytest.raises(
        ValueError, match=re.escape(f"port.web: expected a port from 1 to 65535, such as {{number = 80}}, not {shown}")
    ):
        give(Host(), web=about)


def test_a_key_that_a_port_has_not() -> None:
    with pytest.raises(ValueError, match=r"port\.web: expected only `number`, not proto"):
        give(Host(), web={"number": 80, "proto": "tcp"})


@pytest.mark.parametrize(
    "text", ["a\nb c\n", "header\n<html>\n", "h\n 0: 0100007F:XYZ 00:0 0A x\n", "h\n 0: 0100007F:0016 0:0 ZZ x\n"]
)
def test_a_foreign_table(text: str, tmp_path: Path) -> None:
    (tmp_path / "proc/net").mkdir(parents=True)
    (tmp_path / "proc/net/tcp").write_text(text)
    with pytest.raises(ValueError, match="/proc/net/tcp is not a table of sockets"):
        give(Host(str(tmp_path)), ssh=22)


def test_no_table_at_all(tmp_path: Path) -> None:
    with pytest.raises(NoData, match="neither"):
        give(Host(str(tmp_path)), ssh=22)
