"""Requests as Zabbix' page has them, and what its answers mean. A real server has its test among the long ones."""

from __future__ import annotations

import json
import math
import re
import socket
import struct
import sys
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import servers

sys.path.insert(0, str(Path(__file__).parent))

from roundtrip import Trip, batches

from adamas.outputs.zabbix import Zabbix


class Player:
    """Plays a server: the answers are those that Zabbix 6.0.14 gave, with its numbers counted here.

    unknown: keys without an item; instead: what it answers in place of that, one after another (empty: hangs up).
    """

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self.listener.getsockname()[1]}"
        self.unknown: set[str] = set()
        self.instead: list[bytes] = []
        self.values: list[dict[str, Any]] = []
        self.flags: set[int] = set()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            with connection:
                self._take(connection)

    def _take(self, connection: socket.socket) -> None:
        with connection.makefile("rb") as stream:
            magic, flags, size, whole = struct.unpack("<4sBII", stream.read(13))
            data = stream.read(size)
        assert magic == b"ZBXD"
        self.flags.add(flags)
        if flags & 2:
            data = zlib.decompress(data)
            assert len(data) == whole
        request = json.loads(data)
        assert request.keys() == {"request", "data"}
        assert request["request"] == "sender data"
        if self.instead:
            answer = self.instead.pop(0)
        else:
            good = [value for value in request["data"] if value["key"] not in self.unknown]
            self.values += good
            total = len(request["data"])
            info = f"processed: {len(good)}; failed: {total - len(good)}; total: {total}; seconds spent: 0.000358"
            answer = b'{"response":"success","info":"' + info.encode() + b'"}'
        if answer:
            body = zlib.compress(answer) if flags & 2 else answer
            connection.sendall(struct.pack("<4sBII", b"ZBXD", flags, len(body), len(answer) if flags & 2 else 0) + body)


@pytest.fixture
def player() -> Iterator[Player]:
    """A server that is played."""
    running = Player()
    yield running
    running.listener.close()


@pytest.mark.parametrize("options", [{}, {"compression": "none", "host": "other", "key": "adamas[{name}]"}, {"naming": "otel"}])
def test_every_sample_is_sent_with_host_key_and_time(player: Player, tmp_path: Path, options: dict[str, str]) -> None:
    trip = Trip(tmp_path, "zabbix", {"address": player.address, **options})
    sent = batches()
    ledger = trip.go(sent)
    expected = {(key, int(stamp)): value for (key, _), values in trip.points(sent).items() for stamp, value in values.items()}
    assert ledger["delivered"] == len(expected) == len(player.values) >= 9950
    assert player.flags == ({1} if "compression" in options else {3})
    for value in player.values:
        assert value.keys() == {"host", "key", "value", "clock", "ns"}
        assert value["host"] == options.get("host", "h")
        assert value["ns"] == 0
        assert math.isclose(float(value["value"]), expected.pop((value["key"], value["clock"])), rel_tol=1e-11)
    assert not expected


def test_values_without_an_item_are_counted_and_kept(player: Player, tmp_path: Path) -> None:
    player.unknown = {"mixed.0.plain", "mixed.1.plain"}
    trip = Trip(tmp_path, "zabbix", {"address": player.address})
    ledger = trip.go(batches(1))
    assert ledger["delivered"] == 948
    assert ledger["dropped"] == {"rejected": 2}
    letter = json.loads((tmp_path / "letters.jsonl").read_text().splitlines()[0])
    assert "2 of 950 values" in json.dumps(letter)
    assert "mixed.0.plain" in json.dumps(letter)  # it can be read


@pytest.mark.parametrize(
    "answer", [b"", b"not JSON", b"[]", b'{"response":"failed","info":"Zabbix server is not running"}', b'{"response":"success"}']
)
def test_an_answer_that_says_nothing_good_is_no_delivery(player: Player, tmp_path: Path, answer: bytes) -> None:
    player.instead = [answer]
    trip = Trip(tmp_path, "zabbix", {"address": player.address})
    ledger = trip.go(batches(1))
    assert trip.sender.reconnects == 1
    assert ledger["delivered"] == len(player.values) == 950
    assert not ledger["dropped"]


def test_a_stranger_at_the_address_is_recognized(tmp_path: Path) -> None:
    listener = socket.create_server(("127.0.0.1", 0))

    def greet() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            time.sleep(0.5)

    threading.Thread(target=greet, daemon=True).start()
    trip = Trip(tmp_path, "zabbix", {"address": f"127.0.0.1:{listener.getsockname()[1]}"})
    trip.sender.start()
    trip.sender.offer(batches(1)[0])
    trip.sender.ring()
    servers.wait_until(lambda: "not an answer of Zabbix'" in trip.sender.error)
    trip.sender.stop(time.monotonic() + 1)
    trip.sender.join(time.monotonic() + 1)
    listener.close()


@pytest.fixture
def fitted(tmp_path: Path) -> Callable[..., set[str]]:
    """`fitted(options)`: the keys of all samples."""

    def keys(options: dict[str, str]) -> set[str]:
        trip = Trip(tmp_path, "zabbix", {"address": "127.0.0.1:1", **options})
        return {name for name, _ in trip.points(batches(2))}

    return keys


def test_keys_are_valid(fitted: Callable[..., set[str]]) -> None:
    """By the rules of Zabbix' page on item keys: a name, and parameters that are plain or quoted."""
    name, plain, quoted = r"[0-9A-Za-z_.\-]+", r"[^,\]\"\[ ][^,\]]*", r'"(?:[^"\\]|\\")*"'
    key = rf"{name}(\[(?:{plain}|{quoted})?(?:,(?:{plain}|{quoted})?)*\])?"
    for options in ({}, {"key": "a.{name}"}, {"key": "adamas[x,{name}]"}, {"naming": "prometheus"}, {"naming": "otel"}):
        keys = fitted(options)
        assert len(keys) == 1000
        assert not [k for k in keys if not re.fullmatch(key, k)]
    assert 'mixed.level[0,"quo\\"te"]' in keys


@pytest.mark.parametrize(
    "options",
    [
        {"key": "name"},
        {"key": "{name}{name}"},
        {"key": "a[{name}"},
        {"key": "a[{name}]", "naming": "otel"},
        {"key": "sp ace.{name}"},
    ],
)
def test_a_key_that_cannot_be_one_is_a_mistake(options: dict[str, str]) -> None:
    (wrong,) = Zabbix(options).check()
    assert "key" in wrong
