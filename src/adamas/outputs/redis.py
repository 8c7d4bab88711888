"""Samples in a stream of Redis (5.0 or later), an entry for each message, added with XADD in one pipeline.

A send is over when Redis answered every command. What that means on its disk is Redis' own setting: with `appendfsync always`
what was delivered survives the server's death; with the default a second of it may not. An entry whose answer was lost is added
again, so that consumers may see it twice. Streams of a Redis Cluster are not supported: the stream must be on the server that the
address names; one that is a replica is left for the next address.

Tested against redis-server 7.0, with a password, TLS, and killed in the middle.
Sources: https://redis.io/docs/latest/develop/reference/protocol-spec/, https://redis.io/docs/latest/commands/xadd/.
"""

from __future__ import annotations

import select
from itertools import islice

from adamas import Retry, Secret, option
from adamas.messages import Message, Messages, sharing
from adamas.transport.stream import Stream

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

PIPELINE = 1000
"""Commands that are sent before their answers are read."""
MOST_LINE = 65536
OURS = ("NOAUTH", "WRONGPASS", "NOPERM", "WRONGTYPE", "MOVED", "ASK", "CROSSSLOT")
"""Errors that say that something is set up wrongly, not that the samples are bad."""
LATER = ("READONLY", "OOM", "LOADING", "BUSY", "MASTERDOWN", "NOREPLICAS", "MISCONF", "CLUSTERDOWN", "TRYAGAIN", "UNKILLABLE")
WORDS = {
    "MOVED": "; a Redis Cluster is not supported",
    "ASK": "; a Redis Cluster is not supported",
    "CROSSSLOT": "; a Redis Cluster is not supported",
    "WRONGTYPE": "; see stream",
    "NOAUTH": "; see username and password",
    "WRONGPASS": "; see username and password",
    "NOPERM": "; see username",
}


class Redis(Messages, Stream):
    """Adds every message to a stream: one entry for each point, unless `messages` says otherwise.

    An entry has one field, whose value is the message's body. The stream is kept at about `maxlen` entries: the oldest go.
    """

    name = "redis"
    default_naming = "path"
    confirms_later = False
    port = 6379
    route = "stream"

    address: list[str] = option(["127.0.0.1:6379"], "Where Redis listens: host:port, or several of them (see `routing`)")
    username: str = option("", "The name to log in with, where Redis has an ACL")
    password: Secret = option("", "The password")
    database: int = option(0, "The number of the database", minimum=0)
    stream: str = option("metrics", "The stream's key; $host and $name stand for this host and the point's name")
    field: str = option("body", "The field of an entry that has the message")
    maxlen: int = option(1_000_000, "About how many entries a stream keeps; 0: all of them", minimum=0)
    messages: str = sharing("point")

    def __init__(self, values: dict[str, object] | None = None, instance: str = "") -> None:
        super().__init__(values, instance)
        self._answers: BinaryIO | None = None

    def check(self) -> list[str]:
        """A name to log in with has a password."""
        wrong = super().check()
        if self.username and not self.password:
            wrong.append("username: needs a password")
        if not self.stream or not self.field:
            wrong.append("stream, field: expected a name")
        return wrong

    def open(self) -> None:
        """Connect, if there is no connection, or Redis has closed it meanwhile."""
        if self.socket is not None and select.select([self.socket], [], [], 0)[0]:
            self._hang_up()  # nothing was asked, so this is its end
        super().open()

    def greet(self) -> None:
        """Log in and choose the database."""
        assert self.socket is not None
        self._answers = self.socket.makefile("rb")
        commands = []
        if self.password:
            commands.append(command("AUTH", *[part for part in (self.username, self.password) if part]))
        if self.database:
            commands.append(command("SELECT", str(self.database)))
        try:
            for one in commands:
                self.socket.sendall(one)
                if error := self._answer():
                    raise Retry(error + WORDS.get(error.partition(" ")[0], ""))
        except BaseException:
            self.close()
            raise

    def send(self, payload: bytes) -> None:
        """Add every message and read what became of it."""
        assert self.socket is not None
        refused: list[Message] = []
        words = ""
        for piece in self._pieces(payload):
            self.socket.sendall(b"".join([self._add(message) for message in piece]))
            for message in piece:
                if error := self._answer():
                    self._judge(error)
                    refused.append(message)
                    words = error
        self.refuse(refused, words)

    def _pieces(self, payload: bytes) -> Iterator[list[Message]]:
        messages = self.split(payload)
        while piece := list(islice(messages, PIPELINE)):
            yield piece

    def _add(self, message: Message) -> bytes:
        key = message.address or self.destination()
        trim = ("MAXLEN", "~", str(self.maxlen)) if self.maxlen else ()
        return command("XADD", key, *trim, "*", self.field, message.body)

    def _judge(self, error: str) -> None:
        """Retry where the fault is not the message's."""
        kind = error.partition(" ")[0]
        if kind in LATER or kind in OURS or "unknown command" in error:
            raise Retry(error + WORDS.get(kind, ""))

    def _answer(self) -> str:
        """The error that the next answer is, "" where it is none."""
        assert self._answers is not None
        line = self._answers.readline(MOST_LINE)
        if not line.endswith(b"\r\n"):
            raise ConnectionResetError("Redis closed the connection")
        kind, rest = line[:1], line[1:-2]
        if kind == b"-":
            return rest.decode(errors="replace")
        if kind == b"$" and rest != b"-1":
            self._answers.read(int(rest) + 2)
        elif kind not in (b"+", b":", b"$"):
            raise Retry(f"not an answer of Redis': {line[:50]!r}")
        return ""

    def _hang_up(self) -> None:
        if self._answers is not None:
            self._answers.close()
            self._answers = None
        super()._hang_up()


def command(*words: str | bytes) -> bytes:
    """A command as Redis reads it: an array of texts that say their length."""
    parts = [word if isinstance(word, bytes) else word.encode(errors="surrogateescape") for word in words]
    return b"*%d\r\n%s" % (len(parts), b"".join([b"$%d\r\n%s\r\n" % (len(part), part) for part in parts]))
