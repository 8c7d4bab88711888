"""Tables of protocol counters, interfaces and sockets that are cut short or foreign: an error says what is wrong and where."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from adamas.collector import Collector
from adamas.collectors._mib import Fields, columns, two_lines
from adamas.collectors.ip import IP
from adamas.collectors.network import Network
from adamas.collectors.sockstat import Sockstat
from adamas.collectors.tcp import TCP
from adamas.collectors.udp import UDP
from adamas.errors import NoData
from adamas.pipeline import Intake
from adamas.recording import Replay

SNMP = "Ip: Forwarding InReceives\nIp: 1 10\nTcp: CurrEstab InSegs\nTcp: 2 20\nUdp: InDatagrams\nUdp: 3\n"
DEV = "Inter-|   Receive  |  Transmit\n face |bytes packets|bytes packets\n  eth0: 1 2 3 4\n"


def collector(cls: type[Collector], folder: Path, files: dict[str, str], **options: Any) -> Collector:
    for name, text in files.items():
        file = folder / "proc" / "net" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return cls(Replay(str(folder)), options)


def test_two_lines() -> None:
    assert two_lines(SNMP, "Tcp") == (["CurrEstab", "InSegs"], ["2", "20"])
    assert two_lines("Tcp: A\nTcp: 1", "Tcp") == (["A"], ["1"])
    assert two_lines("TcpExt: A\nTcpExt: 1\n", "Tcp") == two_lines("TcpExt: A\nTcpExt: 1\n", "Ext") == ([], [])
    assert columns("A 1\nB \t2\n") == (["A", "B"], ["1", "2"])


@pytest.mark.parametrize(
    ("cls", "files", "words"),
    [
        (TCP, {"snmp": "Tcp: A B\nTcp: 1\n"}, "2 names from A to B, but 1 values"),
        (TCP, {"snmp": "Tcp: A B\n"}, "Tcp has a line of names, but none of values"),
        (TCP, {"snmp": SNMP, "netstat": "TcpExt: A\nTcpExt: one\n"}, "'one'"),
        (UDP, {"snmp": SNMP, "snmp6": "Udp6InDatagrams 1\nUdp6No"}, "2 names from Udp6InDatagrams to Udp6No, but 1 values"),
        (IP, {"snmp": "Ip: A B\nIp: 1 2 3\n"}, "2 names from A to B, but 3 values"),
        (Network, {"dev": ""}, "/proc/net/dev has no line with the names of its columns"),
        (Network, {"dev": "one\ntwo\nthree\n"}, "/proc/net/dev has no line with the names of its columns"),
        (Network, {"dev": DEV + "  eth1: 1 2 3"}, "/proc/net/dev: eth1 has 3 columns, and the header 4"),
        (Sockstat, {"sockstat": "sockets: used 5\nTCP: inuse 4 orphan"}, "hold something else than a number after each name"),
        (Sockstat, {"sockstat": "sockets: used five\n"}, "hold something else than a number after each name"),
        (Sockstat, {"sockstat": "17 4\n"}, "hold something else than a number after each name"),
    ],
)
def test_a_foreign_file(cls: type[Collector], files: dict[str, str], words: str, tmp_path: Path) -> None:
    made = collector(cls, tmp_path, files)
    with pytest.raises(ValueError) as caught:
        list(made.collect())
    assert words in str(caught.value)


@pytest.mark.parametrize("cls", [TCP, UDP, IP, Network, Sockstat])
def test_nothing_there(cls: type[Collector], tmp_path: Path) -> None:
    with pytest.raises(NoData):
        list(collector(cls, tmp_path, {}).collect())


@pytest.mark.parametrize("cls", [TCP, UDP, IP])
def test_a_table_is_missing(cls: type[Collector], tmp_path: Path) -> None:
    with pytest.raises(NoData):
        list(collector(cls, tmp_path, {"snmp": "Other: A\nOther: 1\n", "snmp6": "Ip6InReceives 1\n"}).collect())


@pytest.mark.parametrize(
    ("cls", "files"),
    [(TCP, {"snmp": SNMP}), (Sockstat, {"sockstat": "sockets: used 5\nTCP: inuse 4 tw 1\n"})],
)
def test_series_that_did_not_fit_get_their_place_later(cls: type[Collector], files: dict[str, str], tmp_path: Path) -> None:
    made = collector(cls, tmp_path, files, series_limit=1)
    intake = Intake(made)
    batch = intake.publish(*intake.gather(), 1.0, 1.0)
    assert batch is not None and len(batch.shape.series) == 1
    assert intake.removed["surplus"] >= 1
    made.catalog.limit = 100
    batch = intake.publish(*intake.gather(), 2.0, 2.0)
    assert batch is not None and len(batch.shape.series) >= 3


def test_names_are_learned_once() -> None:
    asked = []
    made = TCP(Replay("/nonexistent"))

    def choose(names: list[str]) -> list[Any]:
        asked.append(names)
        return [(made.counter, (), {"A": "A"})]

    fields = Fields(choose)
    for names, value in ((["A", "B"], 1), (["A", "B"], 2), (["A", "B", "C"], 3)):
        rows = list(fields.rows(names, [str(value)] * len(names)))
        assert [(s.labels, v) for series, values in rows for s, v in zip(series, values)] == [(("A",), value)]
    assert len(asked) == 2


def test_interfaces_that_went_are_forgotten(tmp_path: Path) -> None:
    made = collector(Network, tmp_path, {"dev": DEV})
    assert isinstance(made, Network)
    for number in range(200):
        made.host = Replay(str(tmp_path))
        (tmp_path / "proc/net/dev").write_text(DEV + f"  veth{number}: 1 2 3 4\n")
        list(made.collect())
    assert len(made._devices) < 20
