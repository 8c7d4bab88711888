"""The web server as a client sees it: a really running one, asked over loopback HTTP."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import servers
from probe import Probe, Site

from adamas.exposition import CONTENT_TYPE
from adamas.web import WebServer, serve
from adamas.web.past import Past

STEP = 10
SAMPLES = 361


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A machine with an hour of history, one sample every 10 s, the last of them just now."""
    probe = Probe(tmp_path_factory.mktemp("probe"))
    now = int(time.time())
    for moment in range(now - (SAMPLES - 1) * STEP, now + 1, STEP):
        probe.run(float(moment))
    assert probe.past is not None
    probe.past.flush()
    running = Site(probe)
    yield running
    running.stop()
    probe.stop()


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Site]:
    """A machine of the test's own, without history."""
    probe = Probe(None)
    probe.run(time.time() - 10)
    probe.run(time.time())
    running = Site(probe)
    yield running
    running.stop()


@pytest.fixture
def locked() -> Iterator[Site]:
    """A server for everybody, with a token."""
    probe = Probe(None)
    probe.run(time.time())
    running = Site(probe, "0.0.0.0:0", "s3cret-tök3n")
    yield running
    running.stop()


TOKEN = "s3cret-tök3n".encode().decode("latin-1")


# the API


def test_health(fresh: Site) -> None:
    reply = fresh.ask("/health")
    assert reply.status == 200
    assert reply.json == {"status": "ok", "collectors": 2, "running": 2, "problems": []}

    fresh.probe.collectors[1] = fresh.probe.task("cpu", "failed", error="no such file")
    reply = fresh.ask("/health")
    assert reply.status == 200
    assert reply.json == {"status": "degraded", "collectors": 2, "running": 1, "problems": ["cpu: failed: no such file"]}

    fresh.probe.collectors[0] = fresh.probe.task("wave", "stuck", error="it hangs")
    reply = fresh.ask("/health")
    assert reply.status == 503
    assert reply.json["status"] == "failed"


def test_health_fails_when_nothing_has_run_for_long(fresh: Site) -> None:
    fresh.probe.collectors = [fresh.probe.task("wave", last_run=time.time() - 50)]
    assert fresh.ask("/health").status == 503
    fresh.probe.collectors = [fresh.probe.task("wave", last_run=time.time() - 30)]
    assert fresh.ask("/health").status == 200


def test_health_of_a_machine_without_a_source_is_ok(fresh: Site) -> None:
    fresh.probe.collectors = [fresh.probe.task("ceph", "no data", error="no socket", last_run=0.0)]
    assert fresh.get("/health")["status"] == "ok"


def test_status_is_the_agents_own(site: Site) -> None:
    answer = site.get("/api/status")
    assert answer["hostname"] == "box.example"
    assert [c["name"] for c in answer["collectors"]] == ["wave", "cpu"]
    assert answer["history"]["samples"] > 0
    assert answer["health"]["status"] == "ok"


def test_latest_gives_the_values_that_match(site: Site) -> None:
    last = site.probe.intake.last
    assert last is not None
    answer = site.get("/api/latest", match=["wave.level", "wave.*.rx_bytes"])
    assert abs(answer["now"] - time.time()) < 5
    (batch,) = answer["batches"]
    assert batch["collector"] == "wave"
    assert batch["time"] == last.time
    assert batch["values"] == {"wave.level": 1000 + last.time % 100, "wave.eth0.rx_bytes": 50.0, "wave.eth1.rx_bytes": 50.0}
    assert len(site.get("/api/latest")["batches"][0]["values"]) == 11
    assert site.get("/api/latest", match="nothing.*")["batches"] == []


def test_a_counter_without_a_rate_yet_has_no_value(tmp_path: Path) -> None:
    probe = Probe(None)
    probe.run(time.time())
    site = Site(probe)
    try:
        assert "wave.eth0.rx_bytes" not in site.get("/api/latest")["batches"][0]["values"]
        listed = {one["name"]: one for one in site.get("/api/series")["series"]}
        assert listed["wave.eth0.rx_bytes"]["value"] is None
    finally:
        site.stop()


def test_series_are_found_by_words_and_by_patterns(site: Site) -> None:
    everything = site.get("/api/series")
    assert everything["count"] == 11
    assert [one["name"] for one in everything["series"]] == sorted(one["name"] for one in everything["series"])

    found = site.get("/api/series", match="ETH0 bytes")["series"]
    assert [one["name"] for one in found] == ["wave.eth0.rx_bytes", "wave.eth0.tx_bytes"]
    one = found[0]
    assert one["unit"] == "By/s"
    assert one["kind"] == "counter"
    assert one["help"] == "What went through"
    assert one["labels"] == {"device": "eth0", "direction": "rx"}
    assert one["collector"] == "wave"
    assert one["value"] == pytest.approx(50.0)

    assert [s["name"] for s in site.get("/api/series", match="wave.core.[0-9].user")["series"]] == [
        "wave.core.0.user",
        "wave.core.1.user",
    ]
    assert site.get("/api/series", match="wave.*")["count"] == 1
    limited = site.get("/api/series", match="core", limit=2)
    assert limited["count"] == 6
    assert len(limited["series"]) == 2
    assert site.get("/api/series", match="no such name") == {"now": pytest.approx(time.time(), abs=5), "count": 0, "series": []}


def test_series_of_the_past_are_listed_and_read_when_nothing_gives_them_any_more(tmp_path: Path) -> None:
    probe = Probe(tmp_path)
    now = time.time()
    for i in range(5):
        probe.run(now - 50 + 10 * i)
    assert probe.past is not None
    probe.past.flush()
    probe.intake.last = None
    site = Site(probe)
    try:
        listed = {one["name"]: one for one in site.get("/api/series")["series"]}
        assert len(listed) == 11
        assert listed["wave.eth0.rx_bytes"]["unit"] == "By/s"
        assert listed["wave.level"]["value"] is None
        for match, count in (
            ("wave.*.rx_bytes", 2),
            ("wave.{eth0,core.1}.*", 2),
            ("*.eth[0-9].rx_*", 2),
            ("TX eth1", 1),
            ("x", 4),
        ):
            assert site.get("/api/series", match=match)["count"] == count, match
        (found,) = site.get("/api/query", series="wave.level", **{"from": "-5min"})["series"]
        assert len(found["times"]) == 5
    finally:
        site.stop()
        probe.stop()


def test_query_gives_every_sample_where_there_are_few(site: Site) -> None:
    last = site.probe.intake.last
    assert last is not None
    start = last.time - 100
    answer = site.get("/api/query", series=["wave.level", "wave.eth1.tx_bytes"], until=last.time, **{"from": start})
    assert answer["from"] == start
    level, sent = answer["series"]
    assert level["name"] == "wave.level"
    assert level["times"] == [start + 10 * i for i in range(11)]
    assert level["values"] == level["min"] == level["max"] == [1000 + t % 100 for t in level["times"]]
    assert sent["values"] == pytest.approx([20.0] * 11)


def test_query_gives_least_mean_and_most_of_each_bucket(site: Site) -> None:
    answer = site.get("/api/query", series="wave.level", points=20, **{"from": "-1h"})["series"][0]
    assert 10 <= len(answer["times"]) <= 20
    assert answer["times"] == sorted(answer["times"])
    # The level saws from 1000 to 1090 in ten steps; a bucket of three minutes sees nearly two teeth.
    for low, mean, high in list(zip(answer["min"], answer["values"], answer["max"]))[1:-1]:
        assert low < 1010 <= mean <= 1080 < high


def test_query_understands_times(site: Site) -> None:
    now = time.time()
    for start, expected in (("-90s", now - 90), ("-2min", now - 120), ("now-1h", now - 3600), (str(int(now) - 50), now - 50)):
        assert site.get("/api/query", series="wave.level", **{"from": start})["from"] == pytest.approx(expected, abs=3)


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ({}, "series: 1 to 100 names"),
        ({"series": [f"a.{i}" for i in range(101)]}, "series: 1 to 100 names"),
        ({"series": "a", "points": "0"}, "points: a whole number from 1 to 5000"),
        ({"series": "a", "points": "9999999999999"}, "points: a whole number from 1 to 5000"),
        ({"series": "a", "points": "x"}, "points: a whole number"),
        ({"series": "a", "from": "yesterdayish"}, 'from: a time such as "-1h"'),
        ({"series": "a", "from": "-1e9d"}, "from: a time such as"),
        ({"series": "a", "from": "9" * 60}, "from: a time such as"),
        ({"series": "a", "from": "now", "until": "-1h"}, "from: earlier than until"),
    ],
)
def test_query_refuses_nonsense_in_words(site: Site, query: dict[str, Any], said: str) -> None:
    reply = site.ask("/api/query", query)
    assert reply.status == 400
    assert reply.error.startswith(said)


def test_series_refuses_nonsense_in_words(site: Site) -> None:
    assert site.ask("/api/series", {"limit": "-1"}).status == 400
    assert site.ask("/api/series", {"limit": "5001"}).status == 400
    assert site.ask("/api/series", {"match": "x" * 201}).error == "match: at most 200 characters"
    assert "braces" in site.ask("/api/series", {"match": "{a,b}" * 10}).error
    assert site.ask("/api/latest", {"match": ["a"] * 101}).status == 400


def test_without_history_there_is_only_the_present(fresh: Site) -> None:
    reply = fresh.ask("/api/query", {"series": "wave.level"})
    assert reply.status == 503
    assert "history is off" in reply.error
    assert fresh.get("/api/status")["history"] is None
    assert fresh.get("/api/series")["count"] == 11


def test_metrics_is_what_prometheus_reads(site: Site) -> None:
    reply = site.ask("/metrics")
    assert reply.status == 200
    assert reply.headers["content-type"] == CONTENT_TYPE
    text = reply.body.decode()
    assert "# TYPE wave_bytes_total counter\n" in text
    assert re.search(r'^wave_bytes_total\{device="eth0",direction="rx",host="box"\} \d+', text, re.M)


def test_a_real_prometheus_scrapes_it(fresh: Site, locked: Site, prometheus: Callable[..., servers.Prometheus]) -> None:
    """It gets every value where it may, and none where it does not show the token; promtool has nothing to say."""
    servers.require("promtool")
    assert servers.promtool_check(fresh.ask("/metrics").body.decode()) == ""
    running = prometheus([f"127.0.0.1:{fresh.port}", f"127.0.0.1:{locked.port}"])
    found = running.wait_for('wave_bytes_total{device="eth0",direction="rx"}')
    assert [one["metric"]["instance"] for one in found] == [f"127.0.0.1:{fresh.port}"]
    last = fresh.probe.intake.last
    assert last is not None
    assert float(found[0]["value"][1]) == pytest.approx(50 * last.time)
    assert running.wait_for("up == 0")[0]["metric"]["instance"] == f"127.0.0.1:{locked.port}"


def test_answers_are_compressed_where_that_is_wanted(site: Site) -> None:
    plain = site.ask("/static/page.css")
    assert "content-encoding" not in plain.headers
    packed = site.ask("/static/page.css", headers={"Accept-Encoding": "deflate;q=0.5, gzip"})
    assert packed.headers["content-encoding"] == "gzip"
    assert packed.headers["vary"] == "Accept-Encoding"
    assert zlib.decompress(packed.body, wbits=31) == plain.body
    assert int(packed.headers["content-length"]) == len(packed.body) < len(plain.body)
    assert "content-encoding" not in site.ask("/static/page.css", headers={"Accept-Encoding": "gzip;q=0, br"}).headers
    assert "content-encoding" not in site.ask("/health", headers={"Accept-Encoding": "gzip"}).headers


def test_head_has_the_headers_and_no_body(site: Site) -> None:
    whole = site.ask("/metrics")
    head = site.ask("/metrics", method="HEAD")
    assert head.status == 200
    assert head.body == b""
    assert head.headers["content-type"] == whole.headers["content-type"]


def test_what_does_not_exist_is_said_in_json(site: Site) -> None:
    for path in ("/nowhere", "/api/", "/metrics/x", "//", "/static/", "/static/nothing.js"):
        reply = site.ask(path)
        assert reply.status == 404, path
        assert reply.error


def test_only_get_head_and_post(site: Site) -> None:
    for method in ("PUT", "DELETE", "OPTIONS", "TRACE", "PATCH"):
        reply = site.ask("/api/status", method=method)
        assert reply.status == 405, method
        assert reply.headers["allow"] == "GET, HEAD, POST"
        assert not [name for name in reply.headers if name.startswith("access-control")]
    reply = site.ask("/api/status", method="POST")
    assert reply.status == 405
    assert reply.headers["allow"] == "GET, HEAD"


def test_a_fault_of_the_agent_is_a_500_in_words(fresh: Site, capfd: pytest.CaptureFixture[str]) -> None:
    fresh.probe.broken = True
    reply = fresh.ask("/api/status")
    assert reply.status == 500
    assert reply.error == "the agent failed to answer (RuntimeError); its log says why"
    assert "the status is broken" in capfd.readouterr().err
    fresh.probe.broken = False
    assert fresh.ask("/api/status").status == 200


# the page's files


def test_the_page_is_served_with_its_files(site: Site) -> None:
    page = site.ask("/")
    assert page.status == 200
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    wanted = re.findall(r'(?:src|href)="(/static/[^"]+)"', page.body.decode())
    assert len(wanted) >= 5
    for path in wanted:
        if "/vendor/" in path and site.ask(path).status == 404:
            continue  # brought in when the package is built
        assert site.ask(path).status == 200, path
    script = site.ask("/static/page.js")
    assert script.headers["content-type"] == "text/javascript; charset=utf-8"
    for module in re.findall(r'from "\./([^"]+)"', script.body.decode()):
        assert site.ask(f"/static/{module}").status == 200


def test_the_page_asks_nobody_else() -> None:
    folder = Path(serve.STATIC)
    for path in [p for p in folder.iterdir() if p.suffix in (".js", ".html", ".css", ".svg")]:
        text = path.read_text().replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"https?:|//[a-z]+\.[a-z]", text), path
        assert not re.search(r"\son[a-z]+=|style=|<style|javascript:", text), f"{path}: the policy forbids inline code"


def test_a_file_that_did_not_change_is_not_sent_again(site: Site) -> None:
    first = site.ask("/static/page.js")
    again = site.ask("/static/page.js", headers={"If-None-Match": first.headers["etag"]})
    assert again.status == 304
    assert again.body == b""
    assert site.ask("/static/page.js", headers={"If-None-Match": '"other"'}).status == 200


@pytest.mark.parametrize(
    "path",
    [
        "/static/../server.py",
        "/static/..%2fserver.py",
        "/static/%2e%2e/server.py",
        "/static//etc/passwd",
        "/static/vendor/../../server.py",
        "/static/page.js%00",
        "/static/%252e%252e/server.py",
    ],
)
def test_no_other_file_can_be_had(site: Site, path: str) -> None:
    reply = site.ask(path)
    assert reply.status == 404
    assert b"import" not in reply.body


# who may ask

HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
}


def test_every_answer_is_guarded(site: Site) -> None:
    answers = [
        site.ask("/"),
        site.ask("/metrics"),
        site.ask("/nowhere"),
        site.ask("/static/page.js"),
        site.ask("/api/query"),
        site.ask("/", method="DELETE"),
        site.ask("/health", headers={"Host": "evil.example"}),
        site.ask("/health", headers={"X-Long": "x" * 20000}),
    ]
    assert [a.status for a in answers] == [200, 200, 404, 200, 400, 405, 403, 431]
    for answer in answers:
        assert {name: answer.headers.get(name) for name in HEADERS} == HEADERS
        assert "server" not in answer.headers
        assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:8326", "localhost", "LocalHost:99", "[::1]:8326", "localhost."])
def test_the_machines_own_names_may_be_asked(site: Site, host: str) -> None:
    assert site.ask("/health", headers={"Host": host}).status == 200


def test_the_host_name_may_be_asked(site: Site) -> None:
    assert site.ask("/health", headers={"Host": socket.gethostname() + ":8326"}).status == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8326",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "",
        "10.1.2.3",
        "[::2]",
        "@127.0.0.1",
    ],
)
def test_other_names_are_refused(site: Site, host: str) -> None:
    reply = site.ask("/health", headers={"Host": host})
    assert reply.status == 403
    assert "another name" in reply.error


def test_further_names_can_be_given() -> None:
    site = Site(Probe(None), names=("Metrics.example",))
    try:
        assert site.ask("/health", headers={"Host": "metrics.example:443"}).status == 200
        assert site.ask("/health", headers={"Host": "other.example"}).status == 403
    finally:
        site.stop()


def test_others_need_a_token() -> None:
    for listen in ("0.0.0.0:0", ":0", "*:0", "[::]:0", "10.0.0.1:0", "box.example:0", "127.evil.example:0"):
        with pytest.raises(ValueError, match="token"):
            WebServer(listen, "", Probe(None))


def test_a_listen_address_without_a_port_is_refused_in_words() -> None:
    with pytest.raises(ValueError, match="an address such as"):
        WebServer("127.0.0.1", "", Probe(None))


def test_nothing_is_told_without_the_token(locked: Site) -> None:
    for path in ("/metrics", "/health", "/api/status", "/api/latest", "/api/series", "/render", "/metrics/find", "/nowhere"):
        reply = locked.ask(path)
        assert reply.status == 401, path
        assert reply.headers["www-authenticate"].startswith("Bearer")
        assert reply.error == "a token, as Authorization: Bearer"
    page = locked.ask("/")
    assert page.status == 401
    assert page.headers["content-type"].startswith("text/html")
    assert b'type="password"' in page.body
    assert b"box.example" not in page.body
    for wrong in ("Bearer wrong", "Bearer ", "Bearer", "Basic " + TOKEN, "", "Bearer " + TOKEN + "x"):
        assert locked.ask("/metrics", headers={"Authorization": wrong}).status == 401, wrong
    assert locked.ask("/metrics", headers={"Cookie": f"adamas={TOKEN}"}).status == 401
    assert locked.ask("/metrics", {"token": "s3cret-tök3n"}).status == 401
    assert locked.ask("/static/page.css").status == 200


def test_the_token_opens_everything(locked: Site) -> None:
    shown = {"Authorization": "Bearer " + TOKEN}
    assert locked.ask("/metrics", headers=shown).status == 200
    assert locked.ask("/metrics", headers={"Authorization": "bearer  " + TOKEN}).status == 200
    assert locked.ask("/health", headers={**shown, "Host": "10.20.30.40:8326"}).status == 200
    assert locked.ask("/health", headers={**shown, "Host": "evil.example"}).status == 403


@pytest.mark.parametrize("way", ["address", "form"])
def test_the_page_gets_a_cookie_for_the_token(locked: Site, way: str) -> None:
    if way == "address":
        reply = locked.ask("/", {"token": "s3cret-tök3n"})
        assert reply.status == 200
        assert b'id="overview"' in reply.body
    else:
        kind = {"content-type": "application/x-www-form-urlencoded"}
        reply = locked.ask("/", None, "POST", kind, b"token=s3cret-t%C3%B6k3n")
        assert reply.status == 303
        assert reply.headers["location"] == "/"
    cookie = reply.headers["set-cookie"]
    assert "HttpOnly" in cookie and "SameSite=Strict" in cookie and "Path=/" in cookie
    assert TOKEN not in cookie
    pair = cookie.partition(";")[0]
    assert locked.ask("/api/status", headers={"Cookie": f"other=1; {pair}; x=y"}).status == 200
    assert locked.ask("/", headers={"Cookie": pair}).status == 200
    assert locked.ask("/api/status", headers={"Cookie": pair + "0"}).status == 401


def test_a_wrong_token_is_said_on_the_page_and_in_the_log(locked: Site, capfd: pytest.CaptureFixture[str]) -> None:
    reply = locked.ask("/", {"token": "guess"})
    assert reply.status == 401
    assert b"That token is not right." in reply.body
    assert "set-cookie" not in reply.headers
    assert "a wrong token from 127.0.0.1" in capfd.readouterr().err


# what is too much


def test_what_is_too_much_is_refused(site: Site) -> None:
    assert site.ask("/api/latest", {"match": "x" * 8300}).status == 414
    assert site.ask("/" + "x" * 9000).status == 414
    assert site.ask("/health", headers={"X-Long": "x" * 17000}).status == 431
    reply = site.ask("/render", method="POST", body=b"x" * 70000)
    assert reply.status == 413
    assert reply.error == "a body of at most 65536 bytes"


def raw(site: Site, data: bytes, timeout: float = 5.0) -> bytes:
    """What a connection answers to some bytes, until it is closed."""
    with socket.create_connection(("127.0.0.1", site.port), timeout) as sock:
        sock.sendall(data)
        answer = b""
        while part := sock.recv(65536):
            answer += part
        return answer


def test_a_body_that_does_not_say_its_length_is_bounded(site: Site) -> None:
    head = b"POST /render HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    chunk = b"4000\r\n" + b"x" * 0x4000 + b"\r\n"
    answer = raw(site, head + chunk * 5 + b"0\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize(
    "nonsense", [b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", b"GET\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n", b"\x00" * 20000]
)
def test_nonsense_gets_a_400_and_harms_nobody(site: Site, nonsense: bytes) -> None:
    assert raw(site, nonsense).startswith(b"HTTP/1.1 400 ")
    assert site.ask("/health").status == 200


def test_a_request_that_does_not_arrive_is_hung_up_on(fresh: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve, "REQUEST", 0.3)
    monkeypatch.setattr(serve, "KEEP_ALIVE", 0.3)
    for first in (b"", b"GET /health HTTP/1.1\r\nHost: local", b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"):
        with socket.create_connection(("127.0.0.1", fresh.port), 5) as sock:
            sock.sendall(first)
            began = time.monotonic()
            try:
                while sock.recv(65536):
                    pass
            except ConnectionResetError:
                pass
            assert 0.2 < time.monotonic() - began < 3


def test_a_client_that_sends_a_byte_now_and_then_is_hung_up_on(fresh: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve, "REQUEST", 0.5)
    with socket.create_connection(("127.0.0.1", fresh.port), 5) as sock:
        began = time.monotonic()
        with pytest.raises(OSError):
            for letter in b"GET /health HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 100:
                sock.sendall(bytes([letter]))
                time.sleep(0.05)
        assert time.monotonic() - began < 3


def test_too_many_connections_leave_room_for_those_that_ask(fresh: Site) -> None:
    before = len(os.listdir("/proc/self/fd"))
    idle = [socket.create_connection(("127.0.0.1", fresh.port), 5) for _ in range(serve.MOST_CONNECTIONS)]
    try:
        time.sleep(0.3)
        extra = socket.create_connection(("127.0.0.1", fresh.port), 5)
        with extra, pytest.raises(ConnectionResetError):
            assert extra.recv(1) == b"", "one more is hung up on at once"
            raise ConnectionResetError
        assert len(os.listdir("/proc/self/fd")) - before <= 2 * serve.MOST_CONNECTIONS + 10
    finally:
        for sock in idle:
            sock.close()
    time.sleep(0.1)
    assert fresh.ask("/health").status == 200


def test_requests_at_once_are_bounded(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """More than 32 requests that wait for the history: the others are told to come again."""
    release = threading.Event()
    assert site.probe.past is not None
    before = site.probe.past.buckets
    monkeypatch.setattr(site.probe.past, "buckets", lambda *a: (release.wait(5), before(*a))[1])
    statuses: list[int] = []
    threads = [
        threading.Thread(target=lambda: statuses.append(site.ask("/api/query", {"series": "wave.level"}).status))
        for _ in range(40)
    ]
    try:
        for thread in threads:
            thread.start()
        end = time.monotonic() + 5
        while len(statuses) < 8 and time.monotonic() < end:
            time.sleep(0.02)
        assert statuses == [503] * 8
        reply = site.ask("/health")
        assert reply.status == 503
        assert reply.headers["retry-after"] == "1"
    finally:
        release.set()
        for thread in threads:
            thread.join(10)
    assert sorted(statuses) == [200] * 32 + [503] * 8


def test_no_pattern_is_slow(site: Site) -> None:
    began = time.monotonic()
    for pattern in (
        "*" * 200,
        "*a" * 90 + "b",
        "[" * 100,
        "wave.core.*" + "?" * 100,
        "{" * 100,
        "}" * 100,
        "{a,{b,c}}",
        "[z-a]*",
    ):
        assert site.ask("/api/latest", {"match": pattern}).status == 200
    assert time.monotonic() - began < 2


def test_a_history_that_hangs_gives_up(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adamas.web.past.PATIENCE", 0.2)
    assert site.probe.past is not None
    before = site.probe.past.buckets
    monkeypatch.setattr(site.probe.past, "buckets", lambda *a: (time.sleep(0.6), before(*a))[1])
    reply = site.ask("/api/query", {"series": "wave.level"})
    assert reply.status == 503
    assert "history took longer" in reply.error
    assert site.ask("/health").status == 200


# its life


def test_it_starts_stops_and_lets_go_of_its_port() -> None:
    probe = Probe(None)
    site = Site(probe)
    port = site.port
    assert site.ask("/health").status == 200
    with pytest.raises(OSError):
        WebServer(f"127.0.0.1:{port}", "", probe).start()
    began = time.monotonic()
    with socket.create_connection(("127.0.0.1", port), 5) as kept:
        kept.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert kept.recv(15) == b"HTTP/1.1 200 OK"
        site.stop()
        assert time.monotonic() - began < 1.5
    again = WebServer(f"127.0.0.1:{port}", "", probe)
    assert again.start() == f"http://127.0.0.1:{port}"
    again.stop(time.monotonic() + 2)
    again.stop(time.monotonic() + 2)
    WebServer("127.0.0.1:0", "", probe).stop(time.monotonic())


def test_a_stop_right_after_the_start_is_no_problem() -> None:
    before = threading.active_count()
    for _ in range(5):
        server = WebServer("localhost:0", "", Probe(None))
        server.start()
        server.stop(time.monotonic() + 2)
    assert threading.active_count() == before


def test_a_client_that_never_reads_does_not_delay_the_end(site: Site) -> None:
    probe = Probe(None)
    probe.run(time.time())
    own = Site(probe)
    with socket.create_connection(("127.0.0.1", own.port), 5) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
        sock.sendall(b"GET /static/page.css HTTP/1.1\r\nHost: localhost\r\n\r\n" * 200)
        time.sleep(0.2)
        began = time.monotonic()
        own.stop(0.5)
        assert time.monotonic() - began < 2.5


def test_ipv6_and_names() -> None:
    probe = Probe(None)
    server = WebServer("localhost:0", "", probe)
    assert server.start().startswith("http://127.0.0.1:")
    server.stop(time.monotonic() + 2)
    if socket.has_ipv6 and os.path.exists("/proc/net/if_inet6") and Path("/proc/net/if_inet6").read_text():
        server = WebServer("[::1]:0", "", probe)
        assert server.start().startswith("http://[::1]:")
        server.stop(time.monotonic() + 2)


IDLE = """
import os, re, sys, time
sys.path.insert(0, {tests!r})
from probe import Probe, Site
site = Site(Probe(None))
assert site.ask("/health").status == 200
time.sleep(0.5)

def switches():
    total = 0
    for task in os.listdir("/proc/self/task"):
        text = open(f"/proc/self/task/{{task}}/status").read()
        total += int(re.search(r"^voluntary_ctxt_switches:\\s+(\\d+)", text, re.M)[1])
    return total

before, cpu = switches(), time.process_time()
time.sleep({seconds})
print(switches() - before, time.process_time() - cpu)
os._exit(0)
"""


def test_an_idle_server_sleeps() -> None:
    """uvicorn's own loop would wake ten times a second: 40 switches here. The one that is allowed is the sleep's own."""
    code = IDLE.format(tests=str(Path(__file__).parent), seconds=4)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    switches, cpu = done.stdout.split()
    assert int(switches) <= 3
    assert float(cpu) < 0.02


def test_the_agent_pays_for_the_server_in_the_servers_own_thread() -> None:
    """Importing and starting it does not hold up the collectors' start with asyncio and uvicorn."""
    code = "import sys, adamas.web; print([m for m in ('asyncio', 'uvicorn', 'ssl') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"


def test_a_reader_of_the_history_is_let_go(site: Site) -> None:
    past = Past(site.probe, None)  # type: ignore[arg-type]
    past.close()
    past.close()
