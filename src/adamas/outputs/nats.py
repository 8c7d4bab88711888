"""Samples as messages on a subject of NATS, in a stream of JetStream, or to whoever listens.

With JetStream a send is over when the server said of every message that its stream has it; what it did not is sent again. A
message has an id made of its subject and its text, so that the stream stores once what comes again within its duplicate window (2
minutes unless it says otherwise); points that go again in other company come twice. Without JetStream a send is over when the
server has everything: it hands it to who listens now, and forgets it.

A subject is made of tokens with dots between; what a token cannot have (white space, * and >) becomes _, and names that would
meet are kept apart. The connection is only tended while something is sent; one that the server gave up meanwhile is made anew.

Tested against nats-server 2.9, with a password, TLS, and killed in the middle.
Sources: https://docs.nats.io/nats-concepts/jetstream/streams, https://docs.nats.io/reference/reference-protocols/nats_api_reference,
https://docs.nats.io/nats-concepts/subjects, https://nats-io.github.io/nats.py/.
"""

from __future__ import annotations

import json
import re
from importlib import import_module
from itertools import count

from adamas import Duration, Retry, Secret, Size, log, option
from adamas.messages import Message, Messages, misplaced

TYPE_CHECKING = False
if TYPE_CHECKING:
    import asyncio
    from collections.abc import Coroutine
    from typing import Any

WINDOW = 2000
"""Messages that wait for their acknowledgement at a time."""
HEADERS = 256
"""Bytes that a message's headers have at most; the server counts them as payload."""
PARTING = 1.0
"""Seconds that saying goodbye may take."""
TOO_LARGE = 10054
"""JetStream's code for a message larger than its stream takes; its other errors may be over later."""
NO_STREAM = "no stream takes the subject; make one, or set create = true"


class Nats(Messages):
    """Publishes messages, each with as many points as fit unless `messages` says otherwise, and waits until a stream has them."""

    name = "nats"
    default_naming = "path"
    modules = ("nats",)
    extra = "nats"
    route = "subject"
    hostile = re.compile(r"[\s*>\x00-\x1f\x7f]|^\$|^(?=\.)|(?<=\.)(?=\.)|(?<=\.)$")
    longest = 1024

    address: list[str] = option(["127.0.0.1:4222"], "Where the servers listen: host, or host:port; any that answers")
    username: str = option("", "The name to log in with")
    password: Secret = option("", "The password")
    token: Secret = option("", "The token to log in with")
    tls: bool = option(False, "Encrypt the connection")
    subject: str = option("metrics.$host", "The subject; $host and $name stand for this host and the point's name")
    jetstream: bool = option(True, "Wait until a stream has every message; else it goes to who listens now")
    create: bool = option(False, "Make the stream where it is not there")
    stream: str = option("METRICS", "What the stream is called that `create` makes")
    max_bytes: Size = option("1GiB", "The most bytes that such a stream keeps; 0: no limit")
    max_age: Duration = option("7d", "How long such a stream keeps messages; 0: for ever")
    replicas: int = option(1, "On how many servers such a stream is", minimum=1, maximum=5)

    def __init__(self, values: dict[str, object] | None = None, instance: str = "") -> None:
        super().__init__(values, instance)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._client: Any = None
        self._inbox = ""
        self._numbers = count()
        self._waiting: dict[str, Message] = {}
        self._failed: list[tuple[int, str, Message]] = []
        self._moved: Any = None
        self._trouble = ""

    def check(self) -> list[str]:
        """Each address must be one, the subject none to subscribe to, and a stream that is made begins with a word."""
        wrong = [*super().check(), *misplaced(self.address, 4222)]
        if not self.subject or self.hostile.search(self.fill(self.subject, "x")):
            wrong.append(f"subject: expected one to publish to, not {self.subject!r}")
        if self.create and not self._subjects():
            wrong.append("create: the subject needs a first part that is always the same, such as metrics.$host")
        if self.create and not self.jetstream:
            wrong.append("create: only JetStream has streams")
        if bool(self.username) != bool(self.password):
            wrong.append("username, password: one needs the other")
        if self.token and self.username:
            wrong.append("token: log in with it, or with username and password")
        return wrong

    def _subjects(self) -> str:
        """The subjects of a stream that is made; "" where that would be all there are."""
        fixed, field, _ = self.subject.partition("$")
        if not field:
            return self.subject
        tokens = fixed.rpartition(".")[0]
        return f"{tokens}.>" if tokens else ""

    def open(self) -> None:
        """Connect and log in, if there is no connection, or it is over; OSError or Retry where that cannot be."""
        if self._client is not None:
            try:
                self._run(self._flush())
                return
            except (OSError, Retry):
                self.close()
        import asyncio

        self._loop = asyncio.new_event_loop()
        try:
            self._run(asyncio.wait_for(self._connect(), self.timeout * 2))
        except TimeoutError:
            self.close()
            raise Retry(self._trouble or "the server took too long") from None
        except BaseException:
            self.close()
            raise

    def _run(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Let the loop run until that is done."""
        assert self._loop is not None
        errors: Any = import_module("nats.errors")
        try:
            return self._loop.run_until_complete(work)
        except errors.NoServersError:
            raise Retry(self._trouble or "no server answers") from None
        except errors.Error as error:
            raise Retry(_words(error)) from None

    async def _connect(self) -> None:
        import asyncio

        self._trouble = ""
        self._moved = asyncio.Event()
        self._client = import_module("nats.aio.client").Client()
        context = self.context() if self.tls else None

        def encrypted() -> None:
            # The server decides; without this a password would go out in plain text where it has no TLS.
            if context is not None and not context.session_stats()["connect_good"]:
                raise ConnectionError("the server has no TLS")

        def username() -> str:
            encrypted()
            return self.username

        def password() -> str:
            return str(self.password)

        def token() -> str:
            encrypted()
            return str(self.token)

        more: dict[str, Any] = {"tls": context, "tls_hostname": self.server_name or None} if context else {}
        if self.username:
            more |= {"user": username, "password": password}
        if self.token:
            more["token"] = token
        await self._client.connect(
            [f"nats://{address}" for address in self.address],
            name=f"adamas {self.host()}",
            error_cb=self._is_troubled,
            closed_cb=self._is_closed,
            allow_reconnect=False,
            max_reconnect_attempts=1,
            reconnect_time_wait=0,
            connect_timeout=self.timeout,
            **more,
        )
        encrypted()
        self._trouble = ""
        if self.jetstream:
            self._inbox = self._client.new_inbox()
            await self._client.subscribe(f"{self._inbox}.*", cb=self._answered)
            if self.create:
                await self._make_stream()

    async def _make_stream(self) -> None:
        api: Any = import_module("nats.js.api")
        errors: Any = import_module("nats.js.errors")
        manager = self._client.jetstream(timeout=self.timeout)
        try:
            await manager.stream_info(self.stream)
        except errors.NotFoundError:
            made = api.StreamConfig(
                name=self.stream,
                subjects=[self._subjects()],
                max_bytes=int(self.max_bytes) or -1,
                max_age=float(self.max_age),
                num_replicas=self.replicas,
            )
            await manager.add_stream(made)
            log.info(self.instance, f"made the stream {self.stream} for {self._subjects()}")

    def send(self, payload: bytes) -> None:
        """Publish everything and wait until the server has it."""
        self._failed = []
        self._run(self._publish(payload))
        later = [words for code, words, _ in self._failed if code != TOO_LARGE]
        if later:
            raise Retry(later[0])
        self.refuse([message for _, _, message in self._failed], self._failed[0][1] if self._failed else "")

    async def _publish(self, payload: bytes) -> None:
        subject = self.destination()
        most = self._client.max_payload - HEADERS
        self._waiting = {}
        for message in self.split(payload):
            where = message.address or subject
            if len(message.body) > most:
                self._failed.append((TOO_LARGE, f"larger than the {most} bytes that the server takes", message))
            elif not self.jetstream:
                await self._client.publish(where, message.body)
            else:
                number = str(next(self._numbers))
                self._waiting[number] = message
                await self._client.publish(where, message.body, f"{self._inbox}.{number}", self._headers(where, message.body))
                while len(self._waiting) >= WINDOW:
                    await self._progress()
        if not self.jetstream:
            await self._flush()
        while self._waiting:
            await self._progress()
        if self._trouble:
            raise Retry(self._trouble)

    def _headers(self, subject: str, body: bytes) -> dict[str, str] | None:
        """The message's id, unless the same text may be another point."""
        if self.format == "value":
            return None
        from hashlib import blake2b

        return {"Nats-Msg-Id": blake2b(b"%s\0%s" % (subject.encode(), body), digest_size=16).hexdigest()}

    async def _flush(self) -> None:
        """Wait until the server has everything; Retry where the connection is over, or it does not say so."""
        import asyncio

        self._moved.clear()
        answered = asyncio.ensure_future(self._client.flush(max(1, int(self.timeout))))
        moved = asyncio.ensure_future(self._moved.wait())
        try:
            await asyncio.wait((answered, moved), return_when=asyncio.FIRST_COMPLETED)
            if not self._trouble:
                await answered
        finally:
            for task in (answered, moved):
                task.cancel()
            await asyncio.gather(answered, moved, return_exceptions=True)
        if self._trouble:
            raise Retry(self._trouble)

    async def _progress(self) -> None:
        """Wait until something came; Retry where nothing does, or the server complained."""
        import asyncio

        self._moved.clear()
        if not self._trouble:
            try:
                await asyncio.wait_for(self._moved.wait(), self.timeout)
            except TimeoutError:
                raise Retry(f"no acknowledgement within {self.timeout:g} s") from None
        if self._trouble:
            raise Retry(self._trouble)

    async def _answered(self, answer: Any) -> None:
        """What became of a message."""
        message = self._waiting.pop(answer.subject.rpartition(".")[2], None)
        if message is None:
            return
        if answer.headers and answer.headers.get("Status") == "503":
            self._failed.append((503, NO_STREAM, message))
        elif error := json.loads(answer.data).get("error"):
            self._failed.append((error.get("err_code", error.get("code", 0)), error.get("description", "an error"), message))
        self._moved.set()

    async def _is_troubled(self, error: Exception) -> None:
        """What the client says of the connection, and the server of what we do."""
        self._trouble = _words(error)
        self._moved.set()

    async def _is_closed(self) -> None:
        self._trouble = self._trouble or "the connection ended"
        self._moved.set()

    def close(self) -> None:
        """Say goodbye where that is possible at once, and end everything that runs in the loop."""
        loop, self._loop = self._loop, None
        client, self._client = self._client, None
        if loop is None:
            return
        import asyncio

        async def end() -> None:
            if client is not None:
                try:
                    await asyncio.wait_for(client.close(), PARTING)
                except Exception as error:
                    log.debug(self.instance, f"closing: {error!r}")
            tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        try:
            loop.run_until_complete(end())
        finally:
            loop.close()


def _words(error: Exception) -> str:
    """An error's own words, without the library's name before them."""
    text = getattr(error, "description", "") or getattr(error, "strerror", "") or str(error) or type(error).__name__
    return str(text).removeprefix("nats: ")
