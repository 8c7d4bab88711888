"""Samples as messages to an exchange of RabbitMQ, or what else speaks AMQP 0.9.1.

All messages of a send are published at once, and the send is over when the broker confirmed each (publisher confirms): a
persistent message is on the disk of its durable queue then. What was not confirmed is sent again, so that consumers may see it
twice. A message that no queue takes comes back (`mandatory`) and counts as refused; one that a full queue rejects is sent again.
A connection that the broker gave up while there was nothing to send is made anew.

Tested against RabbitMQ 3.10, killed in the middle. Sources: https://www.rabbitmq.com/docs/confirms,
https://www.rabbitmq.com/docs/publishers, https://pika.readthedocs.io/en/stable/modules/adapters/select.html.
"""

from __future__ import annotations

import time
from collections import Counter
from importlib import import_module

from adamas import Duration, Retry, Secret, option
from adamas.host import split_address
from adamas.messages import Messages, content_type, misplaced

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

PARTING = 1.0
"""Seconds that a broker has to answer that we are leaving."""


class Amqp(Messages):
    """Publishes messages, each with as many points as fit unless `messages` says otherwise, and waits for the confirmations.

    The exchange, and the queue where one is named, are declared as durable ones, and bound, unless `declare` is false.
    """

    name = "amqp"
    default_naming = "path"
    modules = ("pika",)
    extra = "amqp"
    route = "routing_key"
    longest = 255

    address: list[str] = option(["127.0.0.1"], "Where the broker listens: host, or host:port, or several: the first that answers")
    tls: bool = option(False, "Encrypt the connection")
    vhost: str = option("/", "The virtual host")
    username: str = option("guest", "The name to log in with")
    password: Secret = option("", "The password (default: the name itself, which is what RabbitMQ gives guest)")
    exchange: str = option("metrics", 'The exchange; "" is the default one, whose routing key is the name of a queue')
    exchange_type: str = option("topic", "The type of the exchange", choices=("topic", "fanout", "direct", "headers"))
    routing_key: str = option("metrics.$host", "The routing key; $host and $name stand for this host and the point's name")
    queue: str = option("", "A queue to declare and to bind to the exchange, for all routing keys")
    queue_type: str = option("classic", "The type of that queue", choices=("classic", "quorum"))
    declare: bool = option(True, "Declare the exchange and the queue")
    persistent: bool = option(True, "Messages go to the disk of durable queues")
    mandatory: bool = option(True, "A message that no queue takes is refused, not thrown away unseen")
    heartbeat: Duration = option("60s", "How often either side shows that it is there; 0: as the broker wants")

    def __init__(self, values: dict[str, object] | None = None, instance: str = "") -> None:
        super().__init__(values, instance)
        self._loop: Any = None
        self._connection: Any = None
        self._channel: Any = None
        self._end = ""
        self._blocked = ""
        self._tag = 0
        self._unconfirmed: dict[int, None] = {}
        self._nacked = 0
        self._returned: Counter[tuple[str, bytes]] = Counter()
        self._return_words = ""

    def check(self) -> list[str]:
        """Each address must be one, and the default exchange cannot be declared or bound."""
        wrong = [*super().check(), *misplaced(self.address, 5672)]
        if self.queue and self.exchange_type in ("direct", "headers") and self.exchange and self.declare and self.named:
            wrong.append(f"queue: a {self.exchange_type} exchange has a binding for each routing key; bind the queue yourself")
        return wrong

    def open(self) -> None:
        """Connect, log in and declare, if there is no connection or the broker ended it meanwhile."""
        if self._connection is not None:
            self._work(0.0)
            if not self._end:
                return
            self.close()
        failed = []
        for address in self.address:
            try:
                self._connect(address)
                return
            except Exception as error:
                self.close()
                failed.append(f"{address}: {error}" if len(self.address) > 1 else str(error))
                if not isinstance(error, (OSError, Retry)):
                    raise
        raise Retry("; ".join(failed))

    def _connect(self, address: str) -> None:
        pika: Any = import_module("pika")
        select: Any = import_module("pika.adapters.select_connection")
        host, port = split_address(address, 5671 if self.tls else 5672)
        where = pika.ConnectionParameters(
            host=host,
            port=port,
            virtual_host=self.vhost,
            credentials=pika.PlainCredentials(self.username, str(self.password) or self.username),
            heartbeat=int(self.heartbeat) or None,
            ssl_options=pika.SSLOptions(self.context(), self.server_name or host) if self.tls else None,
            connection_attempts=1,
            socket_timeout=self.timeout,
            stack_timeout=self.timeout,
            client_properties={"connection_name": f"adamas {self.host()}"},
        )
        self._end = self._blocked = ""
        self._tag = 0
        self._loop = select.IOLoop()
        self._connection = pika.SelectConnection(where, None, self._ended, self._ended, self._loop)
        self._connection.add_on_connection_blocked_callback(self._is_blocked)
        self._connection.add_on_connection_unblocked_callback(self._is_unblocked)
        self._until(lambda: self._connection.is_open, "the connection")
        self._channel = self._connection.channel(on_open_callback=lambda channel: None)
        self._channel.add_on_close_callback(self._ended)
        self._until(lambda: self._channel.is_open, "the channel")
        self._channel.add_on_return_callback(self._came_back)
        if self.declare:
            self._declare()
        answers: list[object] = []
        self._channel.confirm_delivery(self._confirmed, callback=answers.append)
        self._until(lambda: answers, "confirmations")

    def _declare(self) -> None:
        if self.exchange:
            self._ask(self._channel.exchange_declare, self.exchange, self.exchange_type, durable=True)
        if self.queue:
            kind = {"x-queue-type": self.queue_type} if self.queue_type != "classic" else None
            self._ask(self._channel.queue_declare, self.queue, durable=True, arguments=kind)
            if self.exchange:
                key = "#" if self.exchange_type == "topic" else self.destination()
                self._ask(self._channel.queue_bind, self.queue, self.exchange, key)

    def _ask(self, method: Callable[..., object], *names: str, **more: object) -> None:
        answers: list[object] = []
        method(*names, **more, callback=answers.append)
        self._until(lambda: answers, method.__name__)

    def send(self, payload: bytes) -> None:
        """Publish everything and wait until the broker has confirmed it."""
        pika: Any = import_module("pika")
        properties = pika.BasicProperties(
            content_type=content_type(self.format, self.messages), delivery_mode=2 if self.persistent else 1, app_id="adamas"
        )
        messages = list(self.split(payload))
        key = self.destination()
        self._unconfirmed = dict.fromkeys(range(self._tag + 1, self._tag + 1 + len(messages)))
        self._tag += len(messages)
        self._nacked = 0
        self._returned.clear()
        for message in messages:
            self._channel.basic_publish(self.exchange, message.address or key, message.body, properties, self.mandatory)
        while left := len(self._unconfirmed):
            self._until(lambda: len(self._unconfirmed) < left, "confirmation")
        if self._nacked:
            raise Retry(f"the broker did not take {self._nacked} of {len(messages)} messages: is a queue full?")
        self.refuse([m for m in messages if self._take_return(m.address or key, m.body)], self._return_words)

    def _take_return(self, key: str, body: bytes) -> bool:
        if not self._returned[key, body]:
            return False
        self._returned[key, body] -= 1
        return True

    def _until(self, done: Callable[[], object], what: str) -> None:
        """Let the connection work until that is done; Retry where it ends before, or takes too long."""
        until = time.monotonic() + self.timeout
        while not done():
            if self._end:
                raise Retry(self._end)
            left = until - time.monotonic()
            if left <= 0:
                why = f"; it blocks publishers: {self._blocked}" if self._blocked else ""
                raise Retry(f"no {what} within {self.timeout:g} s{why}")
            self._work(left)

    def _work(self, most: float) -> None:
        """Let the connection do what is to be done now; wait so long for it at most."""
        timer = self._loop.call_later(most, lambda: None)
        self._loop.activate_poller()
        try:
            self._loop.poll()
            self._loop.process_timeouts()
        finally:
            self._loop.deactivate_poller()
            self._loop.remove_timeout(timer)

    def _ended(self, who: object, why: BaseException) -> None:
        """The connection or its channel is over, or was never there."""
        self._end = self._end or _words(why)

    def _is_blocked(self, connection: object, frame: Any) -> None:
        self._blocked = frame.method.reason

    def _is_unblocked(self, connection: object, frame: Any) -> None:
        self._blocked = ""

    def _came_back(self, channel: object, method: Any, properties: object, body: bytes) -> None:
        """A message that no queue takes; its confirmation follows."""
        self._returned[method.routing_key, body] += 1
        self._return_words = f"{method.reply_code} {method.reply_text}: no queue takes {method.routing_key}"

    def _confirmed(self, frame: Any) -> None:
        """A message, or all up to one, is taken, or is not."""
        method = frame.method
        tags = [method.delivery_tag]
        if method.multiple:
            tags = []
            for tag in self._unconfirmed:
                if tag > method.delivery_tag:
                    break
                tags.append(tag)
        for tag in tags:
            self._unconfirmed.pop(tag, None)
        if method.NAME == "Basic.Nack":
            self._nacked += len(tags)

    def close(self) -> None:
        """Say goodbye where somebody listens, and forget the connection."""
        connection, self._connection, self._channel = self._connection, None, None
        if connection is None:
            return
        try:
            if not (connection.is_closed or connection.is_closing):
                connection.close()
            until = time.monotonic() + PARTING
            while not connection.is_closed and (left := until - time.monotonic()) > 0:
                self._work(left)
        finally:
            self._loop.close()
            self._loop = None


def _words(why: BaseException) -> str:
    """The broker's own words, or those of the error at the bottom of the library's."""
    while True:
        inner = [*getattr(why, "exceptions", ()), getattr(why, "exception", None), *why.args]
        errors = [one for one in inner if isinstance(one, BaseException)]
        if not errors:
            break
        why = errors[-1]
    return str(getattr(why, "reply_text", "") or getattr(why, "strerror", "") or why or type(why).__name__)
