"""Points in HTTP requests to any endpoint, and what every output over HTTP makes of answers: waits, gives up, divides, goes on."""

from __future__ import annotations

import json
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
import servers
from agents import balanced
from http_sink import HttpSink, Reply, Request, self_made_certificate
from roundtrip import Trip, batches

from adamas import Rejected, Retry
from adamas.metric import Batch
from adamas.transport.exchange import Exchange, Malformed, retry_after

TEXT = "$name{$labels} $value $time_ms"
IMPORT = '{"metric":$series_json,"values":[$value],"timestamps":[$time_ms]}'


@pytest.fixture
def sink() -> Iterator[HttpSink]:
    running = HttpSink()
    yield running
    running.stop()


@pytest.fixture
def victoria(tmp_path_factory: pytest.TempPathFactory) -> Iterator[servers.Victoria]:
    servers.require("victoria-metrics")
    running = servers.Victoria(tmp_path_factory.mktemp("victoria"))
    yield running
    running.stop()


@pytest.fixture
def trip(sink: HttpSink, tmp_path: Path) -> Iterator[Callable[..., Trip]]:
    """`trip(option=value)`: to the sink; its sender ends with the test."""
    made: list[Trip] = []

    def begin(**options: Any) -> Trip:
        made.append(Trip(tmp_path / str(len(made)), "http", {"url": f"{sink.url}/in?a=b", **options}))
        return made[-1]

    yield begin
    for one in made:
        one.output.close()
        if one.sender._thread.is_alive():
            one.sender.stop(time.monotonic())
            one.sender.join(time.monotonic() + 5)


def as_text(value: float) -> float:
    return float(value) if isinstance(value, int) else float(f"{value:.12g}")


def offer(trip: Trip, sent: list[Batch]) -> None:
    """Send without waiting."""
    trip.sender.start()
    for batch in sent:
        trip.sender.offer(batch)
    trip.sender.ring()


def ledger(trip: Trip) -> dict[str, Any]:
    found = trip.sender.ledger.snapshot()
    assert balanced(found), found
    return found


def letters(trip: Trip) -> list[dict[str, Any]]:
    path = Path(trip.sender.letters.path)
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


@pytest.mark.parametrize(
    ("path", "options"),
    [
        ("/api/v1/import", {"format": "template", "template": IMPORT}),
        ("/api/v1/import/prometheus", {"format": "template", "template": TEXT, "method": "PUT", "compression": "none"}),
    ],
)
def test_victoriametrics_has_what_was_sent(
    path: str, options: dict[str, Any], victoria: servers.Victoria, tmp_path: Path
) -> None:
    trip = Trip(tmp_path, "http", {"url": victoria.url + path, **options})
    sent = batches()
    assert trip.go(sent)["delivered"] == 10_000
    stored = victoria.export()
    print(f"{path}: {len(stored)} series, {sum(map(len, stored.values()))} points in VictoriaMetrics")
    want = {}
    for (name, labels), values in trip.points(
        sent
    ).items():  # an empty label is none, and NUL and its like stand for our own marks
        kept = [(k, v.replace("\0", "\ufffd") if path.endswith("prometheus") else v) for k, v in labels if v]
        want[name, tuple(sorted(kept))] = {stamp: as_text(value) for stamp, value in values.items()}
    assert stored.keys() == want.keys()
    for key, values in want.items():
        assert stored[key] == pytest.approx(values, rel=1e-12, abs=max(map(abs, values.values())) * 1e-15), key


@pytest.mark.parametrize("form", ["json_lines", "json"])
def test_json(form: str, sink: HttpSink, trip: Callable[..., Trip]) -> None:
    one = trip(format=form)
    sent = batches(3)
    assert one.go(sent)["delivered"] == 3000
    request = sink.requests[0]
    assert (request.method, request.path, request.query) == ("POST", "/in", {"a": "b"})
    assert request.headers["content-type"] == ("application/json" if form == "json" else "application/x-ndjson")
    points = json.loads(request.body) if form == "json" else [json.loads(line) for line in request.body.splitlines()]
    found: dict[Any, dict[float, float]] = {}
    for point in points:
        assert point["kind"] == ("counter" if point["name"] == "mixed_total_seconds" else "gauge")
        assert point["unit"] == ("s" if point["kind"] == "counter" else "By")
        found.setdefault((point["name"], tuple(point["labels"].items())), {})[point["time"]] = point["value"]
    want = one.points(sent)
    assert found == {key: {t: v if isinstance(v, int) else as_text(v) for t, v in values.items()} for key, values in want.items()}


def test_all_that_a_template_may_say(sink: HttpSink, trip: Callable[..., Trip]) -> None:
    text = "$name|$name_json|$value|$time|$time_ms|$labels_json|$series_json|$labels|${host}|$kind|$unit|$$|100%|\\n"
    one = trip(
        format="template", template=text, header="<", separator=";\n", footer=">", content_type="text/x-own", naming="prometheus"
    )
    one.output.spelling.host = "here"
    one.output.encode(batches(1, end=1700000000.0))
    body = one.output.unpack(one.output.encode(batches(1, step=0.25, end=1700000000.25))).decode()
    assert body[0] == "<" and body[-1] == ">"
    items = body[1:-1].split(";\n")
    assert len(items) == 1000
    labels = {"kind": "0", "item": 'quo"te', "host": "h"}
    first = next(item for item in items if "quo" in item)
    assert first.split("|") == [
        "mixed_level_bytes", '"mixed_level_bytes"', first.split("|")[2], "1700000000.250", "1700000000250", json.dumps(labels),
        json.dumps({"__name__": "mixed_level_bytes", **labels}), 'kind="0",item="quo\\"te",host="h"', "here", "gauge", "By", "$", "100%",
        "\\n",
    ]  # fmt: skip
    assert one.output.encode_headers()["Content-Type"] == "text/x-own"
    whole = one.output.unpack(one.output.encode(batches(1, end=1700000000.0))).decode()
    assert "|1700000000|1700000000000|" in whole


def test_this_machine_is_a_label_where_no_other_is(tmp_path: Path) -> None:
    for labels, want in (({"host": "mine"}, "mine"), ({"a": "b"}, "here")):
        one = Trip(tmp_path, "http", {"url": "http://x"}, labels)
        one.output.spelling.host = "here"
        body = one.output.unpack(one.output.encode(batches(1)))
        assert {json.loads(line)["labels"]["host"] for line in body.splitlines()} == {want}


def test_what_is_wrong_with_options() -> None:
    from adamas.outputs.http import HttpOutput

    def wrong(**options: Any) -> str:
        return "\n".join(HttpOutput({"url": "http://x", **options}).check())

    assert wrong() == ""
    assert "there is no $nmae; there are $name, $name_json" in wrong(format="template", template="$nmae $value")
    assert "a dollar is written as $$" in wrong(format="template", template="$value 5 $")
    assert "expected $value, once" in wrong(format="template", template="$name")
    assert "expected $value, once" in wrong(format="template", template="$value $value")
    assert "only where format is template" in wrong(template="$value")
    assert "kept apart" in wrong(format="template", template="$value", separator="")
    assert "expected an address" in wrong(url="ftp://x")
    assert "expected an address" in wrong(url="http://x/a b")
    told = wrong(url="http://me:geheim@x/")
    assert "username and password" in told and "geheim" not in told
    assert "X-A has a character" in wrong(headers={"X-A": "a\r\nHost: b"})
    assert "not the name of a header" in wrong(headers={"X A": "a"})
    told = wrong(proxy="https://me:geheim@proxy:1/")
    assert "proxy: expected an address" in told
    assert "geheim" not in told
    assert wrong(proxy="http://me:geheim@proxy.example.org:3128") == ""
    assert "bearer_token: has a line break" in wrong(bearer_token="abc\n")


def test_payloads_of_another_form_are_another_dialect(trip: Callable[..., Trip]) -> None:
    forms = [{}, {"compression": "none"}, {"format": "json"}] + [
        {"format": "template", "template": t} for t in ("$value", "$value ")
    ]
    assert len({trip(**form).output.dialect for form in forms}) == 5


@pytest.mark.parametrize(("status", "kind"), [(429, "seconds"), (503, "date")])
def test_retry_after_is_obeyed(status: int, kind: str, sink: HttpSink, trip: Callable[..., Trip]) -> None:
    times: list[float] = []

    def reply(request: Request) -> Reply:
        times.append(time.time())
        if len(times) > 1:
            return Reply()
        return Reply(status, b"later", {"Retry-After": "2" if kind == "seconds" else formatdate(times[0] + 3, usegmt=True)})

    sink.reply = reply
    one = trip()
    found = one.go(batches(2))
    waited = times[1] - times[0]
    print(f"{status}, {kind}: asked to wait {'2' if kind == 'seconds' else '2 to 3'} s, waited {waited:.2f} s")
    assert 1.95 < waited < 8
    assert (found["delivered"], found["dropped"], len(sink.requests)) == (2000, {}, 2)


def test_what_retry_after_may_say() -> None:
    assert retry_after("120") == 120
    assert (
        retry_after("")
        == retry_after("soon")
        == retry_after("-1")
        == retry_after("²")
        == retry_after("Wed, 99 Oct 2015 07:28:00 GMT")
        == 0
    )
    assert retry_after("Wed, 21 Oct 2015 07:28:00 GMT") == 0
    assert 50 < retry_after(formatdate(time.time() + 60, usegmt=True)) <= 61
    assert retry_after("99999999999999999999") == retry_after(formatdate(time.time() + 9e6, usegmt=True)) == 3600


def test_a_refused_payload_is_kept_once_and_holds_up_nothing(sink: HttpSink, trip: Callable[..., Trip]) -> None:
    """400 for one payload of five: it is in the dead letters, once, in plain text, and the others are delivered."""
    sink.reply = lambda request: Reply(400, b"no such thing as 280") if b'"time":280,' in request.body else Reply(200, b"ok")
    one = trip(batch=1000)
    sent = batches(5, end=300.0)
    found = one.go(sent)
    kept = letters(one)
    print(
        f"5 payloads, one refused: {found['delivered']} delivered, {found['dropped']}, {len(kept)} dead letter, {len(sink.requests)} requests"
    )
    assert (found["delivered"], found["dropped"]) == (4000, {"rejected": 1000})
    assert len(sink.requests) == 5
    assert [(letter["reason"], letter["points"]) for letter in kept] == [("HTTP 400: no such thing as 280", 1000)]
    assert kept[0]["text"].count("\n") == 1000
    assert one.sender.failures == 0


@pytest.mark.parametrize("status", [401, 403, 404, 307])
def test_what_is_set_up_wrongly_waits(status: int, sink: HttpSink, trip: Callable[..., Trip]) -> None:
    """The samples are not at fault: they wait, and go when it is put right. A redirection is not followed."""
    elsewhere = HttpSink()
    wrong = Reply(status, b"who is s3cret-token?", {"Location": f"{elsewhere.url}/?token=s3cret-token"} if status < 400 else {})
    sink.reply = lambda request: wrong
    one = trip(bearer_token="s3cret-token")
    offer(one, batches(1))
    servers.wait_until(lambda: one.sender.error, 10, "a failure")
    told = one.sender.status()["error"]
    assert f"HTTP {status}: who is ***?" in told
    assert "s3cret" not in told
    assert ("to " + elsewhere.url in told) == (status < 400)
    assert ledger(one)["dropped"] == {}
    sink.reply = lambda request: Reply()
    servers.wait_until(lambda: ledger(one)["delivered"] == 1000, 20, "all points")
    assert {request.headers["authorization"] for request in sink.requests} == {"Bearer s3cret-token"}
    assert elsewhere.requests == [] == letters(one)
    elsewhere.stop()


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"format": "json"},
        {"format": "template", "template": TEXT},
        {"format": "template", "template": TEXT, "separator": "|"},
    ],
)
def test_what_is_too_large_goes_in_halves_where_it_can(
    options: dict[str, Any], sink: HttpSink, trip: Callable[..., Trip]
) -> None:
    sink.reply = lambda request: Reply(413) if len(request.body) > 20_000 else Reply()
    one = trip(**options)
    found = one.go(batches(1))
    taken = [request.body for request in sink.requests if len(request.body) <= 20_000]
    if options.get("separator"):
        assert (found["dropped"], len(sink.requests)) == ({"rejected": 1000}, 1)
        assert "a smaller `batch` may help" in letters(one)[0]["reason"]
        return
    assert (found["delivered"], found["dropped"]) == (1000, {})
    if options.get("format") == "json":
        assert sum(len(json.loads(body)) for body in taken) == 1000
    else:
        assert len({line for body in taken for line in body.split(b"\n") if line}) == 1000
        assert all(body.endswith(b"\n") for body in taken)


def test_a_part_of_the_halves_may_be_refused(sink: HttpSink, trip: Callable[..., Trip]) -> None:
    def reply(request: Request) -> Reply:
        if len(request.body) > 20_000:
            return Reply(413)
        return Reply(422, b"no totals") if b"total" in request.body else Reply()

    sink.reply = reply
    one = trip()
    found = one.go(batches(1))
    refused = [r.body for r in sink.requests if len(r.body) <= 20_000 and b"total" in r.body]
    points = sum(body.count(b"\n") for body in refused)
    assert 50 <= points < 300
    assert (found["delivered"], found["dropped"]) == (1000 - points, {"rejected": points})
    assert letters(one)[0]["text"].encode() == b"".join(refused)
    assert letters(one)[0]["points"] == points


def test_a_single_point_that_is_too_large_is_given_up(sink: HttpSink, trip: Callable[..., Trip]) -> None:
    sink.reply = lambda request: Reply(413, b"less, please")
    output = trip().output
    with pytest.raises(Rejected, match="HTTP 413: less, please") as told:
        output.send(output.pack(b"1\n2\n3\n4\n"))
    assert (told.value.points, told.value.refused) == (4, b"1\n2\n3\n4\n")
    assert [request.body for request in sink.requests if len(request.body) == 2] == [b"1\n", b"2\n", b"3\n", b"4\n"]


def test_one_connection_is_kept(sink: HttpSink, trip: Callable[..., Trip]) -> None:
    one = trip(batch=1000)
    one.go(batches(5))
    assert (len(sink.requests), sink.connections) == (5, 1)


def test_a_kept_connection_that_was_closed_is_no_failure(sink: HttpSink, trip: Callable[..., Trip]) -> None:
    """The peer hangs up after each answer without a word: each next request goes over a new connection at once."""
    sink.reply = lambda request: Reply(200, b"ok", hangs_up=True)
    one = trip(batch=1000)
    offer(one, batches(1))
    for n in range(1, 6):
        servers.wait_until(lambda n=n: ledger(one)["delivered"] == 1000 * n, 10, "the points")
        time.sleep(0.01)
        if n < 5:
            one.sender.offer(batches(1)[0])
            one.sender.ring()
    status = one.sender.status()
    assert (one.sender.failures, status["reconnects"], status["error"]) == (0, 0, "")
    assert len(sink.requests) == sink.connections == 5


def test_a_peer_that_never_answers_is_asked_once(sink: HttpSink, trip: Callable[..., Trip]) -> None:
    """Only a connection that answered before may be taken for one that was closed meanwhile."""
    output = trip().output
    output.open()
    sink.reply = lambda request: 1 / 0  # type: ignore[assignment, return-value]  # its thread ends, and so does the connection
    with pytest.raises(OSError, match="without an answer"):
        output.send(output.pack(b"1\n"))
    assert len(sink.requests) == 1


def test_an_answer_that_comes_before_the_request_was_read(tmp_path: Path) -> None:
    """A server that has read enough says 413 and hangs up; that is what is heard, and not the broken connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                data = connection.recv(1000)
                connection.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
                connection.shutdown(socket.SHUT_WR)
                while len(data) < 100_000 and (more := connection.recv(65536)):
                    data += more
                connection.close()

        threading.Thread(target=serve, daemon=True).start()
        output = Trip(tmp_path, "http", {"url": f"http://127.0.0.1:{listener.getsockname()[1]}", "compression": "none"}).output
        with pytest.raises(Rejected, match="413"):
            output.send(b"x" * 99_000 + b"\n")
        output.close()
        listener.shutdown(socket.SHUT_RDWR)


def test_what_is_no_http_is_tried_again(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            connection.recv(65536)
            connection.sendall(b"220 mail.example.org ESMTP\r\n")
            connection.close()

        threading.Thread(target=serve, daemon=True).start()
        output = Trip(tmp_path, "http", {"url": f"http://127.0.0.1:{listener.getsockname()[1]}"}).output
        with pytest.raises(Retry, match="not an HTTP answer"):
            output.send(output.pack(b"1\n"))
        output.close()


ANSWERS: dict[bytes, tuple[int, bytes, bool] | str] = {
    b"HTTP/1.1 204 No Content\r\n\r\n": (204, b"", True),
    b"HTTP/1.1 200\r\ncontent-LENGTH:  5 \r\n\r\nhello": (200, b"hello", True),
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: Close\r\n\r\nok": (200, b"ok", False),
    b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok": (200, b"ok", False),
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n": (500, b"", True),
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\nA\r\n, everyone\r\n0\r\nTrailer: t\r\n\r\n": (
        200,
        b"hello, everyone",
        True,
    ),
    b"HTTP/1.1 400 Bad\r\n\r\nas long as it comes": (400, b"as long as it comes", False),
    b"HTTP/1.1 413 Large\r\nContent-Length: 100\r\n\r\n" + b"x" * 100: (413, b"x" * 50, False),
    b"HTTP/1.1 413 Large\r\n\r\n" + b"x" * 100: (413, b"x" * 50, False),
    b"HTTP/1.1 413 Large\r\nTransfer-Encoding: chunked\r\n\r\n" + 2 * (b"30\r\n" + b"x" * 48 + b"\r\n"): (413, b"x" * 50, False),
    b"HTTP/1.1 413 Large\r\nTransfer-Encoding: chunked\r\n\r\n40\r\n" + b"x" * 64 + b"\r\n": (413, b"x" * 50, False),
    b"": "closed the connection without an answer",
    b"HTTP/1.1 200 OK\r\nContent-Le": "peer unexpectedly closed connection",
    b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello": "received 5 bytes, expected 9",
    b"HTTP/1.1 200 OK\r\nContent-Length: -9\r\n\r\nhello": "not an HTTP answer: bad Content-Length",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n": "not an HTTP answer: illegal chunk header",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n": "malformed chunk footer",
    b"HTTP/2 200\r\n\r\n": "not an HTTP answer",
    b"220 mail.example.org ESMTP\r\n": "not an HTTP answer",
    b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000: "not an HTTP answer",
}


@pytest.mark.parametrize("answer", ANSWERS, ids=[str(n) for n in range(len(ANSWERS))])
@pytest.mark.parametrize("step", [1, 1 << 20])
def test_answers(answer: bytes, step: int) -> None:
    """However they come: at once, or byte by byte."""
    if step == 1 and len(answer) > 1000:
        step = 1000
    ours, theirs = socket.socketpair()

    def say() -> None:
        while b"\r\n\r\nbody" not in theirs.recv(1000, socket.MSG_PEEK):
            pass
        theirs.recv(1000)
        for start in range(0, len(answer), step):
            theirs.sendall(answer[start : start + step])
        theirs.shutdown(socket.SHUT_WR)

    ours.settimeout(5)
    thread = threading.Thread(target=say)
    thread.start()
    exchange = Exchange(ours, 50)
    want = ANSWERS[answer]
    try:
        if isinstance(want, str):
            with pytest.raises((Malformed, ConnectionResetError), match=re.escape(want)):
                exchange.ask("POST", "/x", {"Host": "h"}, b"body")
        else:
            status, _, body = exchange.ask("POST", "/x", {"Host": "h"}, b"body")
            assert (status, body, exchange.open) == want
    finally:
        thread.join(5)
        exchange.close()
        theirs.close()


class Proxy:
    """Forwards CONNECT for whoever logs in, and answers requests with an absolute address itself."""

    def __init__(self) -> None:
        self.heads: list[str] = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        data = b""
        while b"\r\n\r\n" not in data:
            data += connection.recv(65536)
        head, _, rest = data.partition(b"\r\n\r\n")
        self.heads.append(head.decode())
        if b"Basic bWU6cyBjcmV0\r" not in head + b"\r":
            connection.sendall(b"HTTP/1.1 407 Who?\r\nContent-Length: 0\r\n\r\n")
        elif head.startswith(b"CONNECT "):
            host, _, port = head.split(b" ")[1].partition(b":")
            with socket.create_connection((host, int(port)), 10) as there:
                connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                back = threading.Thread(target=self._copy, args=(there, connection), daemon=True)
                back.start()
                self._copy(connection, there)
                back.join(10)
        else:
            length = int(re.search(rb"Content-Length: (\d+)", head)[1])  # type: ignore[index]
            while len(rest) < length:
                rest += connection.recv(65536)
            connection.sendall(b"HTTP/1.1 204 Done\r\nConnection: close\r\n\r\n")
        connection.close()

    @staticmethod
    def _copy(here: socket.socket, there: socket.socket) -> None:
        try:
            while data := here.recv(65536):
                there.sendall(data)
            there.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def stop(self) -> None:
        """Stop listening."""
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


def test_a_proxy_on_the_way(tmp_path: Path) -> None:
    """https goes through a tunnel, and the peer's certificate is checked as ever; http has the proxy ask."""
    certificate = self_made_certificate(tmp_path)
    sink, proxy = HttpSink(certificate=certificate), Proxy()
    through = f"http://me:s%20cret@127.0.0.1:{proxy.port}"
    one = Trip(
        tmp_path / "https", "http", {"url": f"{sink.url}/x", "ca_file": str(certificate), "proxy": through, "username": "u"}
    )
    assert one.go(batches(2))["delivered"] == 2000
    assert proxy.heads[0].startswith(f"CONNECT 127.0.0.1:{sink.port} HTTP/1.1\r\n")
    assert [request.path for request in sink.requests] == ["/x"]
    assert "proxy-authorization" not in sink.requests[0].headers
    assert "\r\nAuthorization" not in proxy.heads[0]
    plain = Trip(tmp_path / "http", "http", {"url": "http://metrics.invalid:99/x?y", "proxy": through})
    assert plain.go(batches(1))["delivered"] == 1000
    assert proxy.heads[-1].startswith("POST http://metrics.invalid:99/x?y HTTP/1.1\r\nHost: metrics.invalid:99\r\n")
    for url in (sink.url, "http://metrics.invalid"):
        output = Trip(tmp_path / "no", "http", {"url": url, "proxy": f"http://me:wr0ng@127.0.0.1:{proxy.port}"}).output
        with pytest.raises(Retry, match="407") as told:
            output.send(output.pack(b"x\n"))
        assert "wr0ng" not in str(told.value)
        output.close()
    proxy.stop()
    sink.stop()


def test_tls(tmp_path: Path) -> None:
    """A self-made certificate is trusted where it is given as the authority, and not otherwise."""
    certificate = self_made_certificate(tmp_path)
    sink = HttpSink(certificate=certificate)
    assert sink.url.startswith("https:")
    good = Trip(tmp_path / "good", "http", {"url": sink.url, "ca_file": str(certificate)})
    assert good.go(batches(2))["delivered"] == 2000
    sink.reply = lambda request: Reply(200, b"ok", hangs_up=True)
    again = Trip(tmp_path / "again", "http", {"url": sink.url, "ca_file": str(certificate), "batch": 1000})
    assert again.go(batches(3))["delivered"] == 3000
    assert again.sender.status()["reconnects"] == 0
    bad = Trip(tmp_path / "bad", "http", {"url": sink.url})
    offer(bad, batches(1))
    servers.wait_until(lambda: bad.sender.error, 10, "a failure")
    assert re.search("certificate is not accepted: self.signed", bad.sender.status()["error"], re.I)
    assert ledger(bad)["delivered"] == 0
    bad.sender.stop(time.monotonic())
    bad.sender.join(time.monotonic() + 5)
    sink.stop()
