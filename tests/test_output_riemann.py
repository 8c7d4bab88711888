"""Messages as Riemann's own definition has them, and what its answers mean."""

from __future__ import annotations

import json
import re
import socket
import struct
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from roundtrip import Trip, batches

DEFINITION = """
message Event {
  optional int64 time = 1;
  optional string state = 2;
  optional string service = 3;
  optional string host = 4;
  optional string description = 5;
  repeated string tags = 7;
  optional float ttl = 8;
  repeated Attribute attributes = 9;

  optional int64 time_micros = 10;
  optional sint64 metric_sint64 = 13;
  optional double metric_d = 14;
  optional float metric_f = 15;
}
message Msg {
  optional bool ok = 2;
  optional string error = 3;
  repeated Event events = 6;
}
message Attribute {
  required string key = 1;
  optional string value = 2;
}
"""
"""Riemann's proto.proto, without the messages that are for queries."""


def message_class(definition: str) -> Any:
    """Google's own class for `Msg`."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    kinds = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="riemann.proto", package="riemann", syntax="proto2")
    for name, body in re.findall(r"message (\w+) \{(.*?)\n\}", definition, re.S):
        message = file.message_type.add(name=name)
        for label, kind, field, number in re.findall(r"(\w+) (\w+) (\w+) = (\d+);", body):
            made = message.field.add(name=field, number=int(number), label=kinds.Label.Value(f"LABEL_{label.upper()}"))
            if kind[0].isupper():
                made.type, made.type_name = kinds.TYPE_MESSAGE, f".riemann.{kind}"
            else:
                made.type = kinds.Type.Value(f"TYPE_{kind.upper()}")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("riemann.Msg"))


Msg = message_class(DEFINITION)


class Player:
    """Plays Riemann: keeps the events of each message and answers it; `instead`: what it answers first (None: hangs up)."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self.listener.getsockname()[1]}"
        self.instead: list[bytes | None] = []
        self.events: list[Any] = []
        self.connections = 0
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.connections += 1
            with connection, connection.makefile("rb") as stream:
                while head := stream.read(4):
                    message = Msg.FromString(stream.read(struct.unpack("!I", head)[0]))
                    assert not message.HasField("ok")
                    answer = self.instead.pop(0) if self.instead else Msg(ok=True).SerializeToString()
                    if answer is None:
                        break
                    if answer == Msg(ok=True).SerializeToString():
                        self.events += message.events
                    connection.sendall(struct.pack("!I", len(answer)) + answer)


@pytest.fixture
def player() -> Iterator[Player]:
    """A Riemann that is played."""
    running = Player()
    yield running
    running.listener.close()


@pytest.mark.parametrize("naming", ["path", "prometheus"])
def test_every_sample_is_an_event(player: Player, tmp_path: Path, naming: str) -> None:
    labels = {"host": "h", "env": "prod"}
    trip = Trip(tmp_path, "riemann", {"address": player.address, "naming": naming, "ttl": "90s", "tags": ["a", "b"]}, labels)
    sent = batches()
    ledger = trip.go(sent)
    expected = {(name, int(stamp)): value for (name, _), values in trip.points(sent).items() for stamp, value in values.items()}
    count = len(expected)
    assert ledger["delivered"] == count == len(player.events) == (9950 if naming == "path" else 10_000)
    assert len({name for name, _ in expected}) == 1000
    kinds = {"metric_sint64": 0, "metric_d": 0}
    for event in player.events:
        assert event.host == "h"
        assert list(event.tags) == ["a", "b"]
        assert event.ttl == 90
        attributes = {a.key: a.value for a in event.attributes}
        assert attributes.pop("env") == "prod"
        assert attributes.keys() <= {"kind", "item", "collision"}
        assert bool(attributes) == (naming == "prometheus")
        assert not event.HasField("time_micros")
        value = expected.pop((event.service, event.time))
        (kind,) = [k for k in ("metric_sint64", "metric_d", "metric_f") if event.HasField(k)]
        kinds[kind] += 1
        assert getattr(event, kind) == value  # exactly
    assert not expected
    print(f"{count} events, {kinds}, {player.connections} connections")
    assert min(kinds.values()) > 3000
    if naming == "path":
        assert {"mixed.0.plain", "mixed.0.größe"} <= {event.service for event in player.events}
    else:
        services = {event.service for event in player.events}
        assert 'mixed_level_bytes{env="prod",item="quo\\"te",kind="0"}' in services


def test_a_part_of_a_second_is_kept(player: Player, tmp_path: Path) -> None:
    trip = Trip(tmp_path, "riemann", {"address": player.address})
    trip.go(batches(1, step=0.25, end=1_700_000_000.25))
    assert {(event.time, event.time_micros) for event in player.events} == {(1_700_000_000, 1_700_000_000_250_000)}


def test_what_riemann_refuses_is_given_up_and_kept(player: Player, tmp_path: Path) -> None:
    player.instead = [Msg(ok=False, error="java.lang.ClassCastException").SerializeToString()]
    trip = Trip(tmp_path, "riemann", {"address": player.address})
    ledger = trip.go(batches(1))
    assert ledger["dropped"] == {"rejected": 950}
    assert "ClassCastException" in json.dumps(json.loads((tmp_path / "letters.jsonl").read_text().splitlines()[0]))


@pytest.mark.parametrize("answer", [None, b"\xff\xff", b"\x10"])
def test_no_answer_is_no_delivery(player: Player, tmp_path: Path, answer: bytes | None) -> None:
    player.instead = [answer]
    trip = Trip(tmp_path, "riemann", {"address": player.address})
    ledger = trip.go(batches(1))
    assert trip.sender.reconnects == 1
    assert player.connections == 2
    assert ledger["delivered"] == len(player.events) == 950
    assert not ledger["dropped"]
