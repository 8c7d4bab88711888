"""The collectors of pages over real HTTP: what they ask, how they wait, and what a bad server costs the others."""

from __future__ import annotations

import json
import ssl
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from cases import parse_options, spelled
from servers import free_port, wait_until

from adamas.collector import Collector
from adamas.collectors.http import Http
from adamas.collectors.httpjson import HttpJson
from adamas.collectors.websitemonitor import WebsiteMonitor
from adamas.host import Host
from adamas.http import trust
from adamas.pipeline import Intake


class Site:
    """A web server that answers as a path says, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.headers: dict[str, Any] = {}
        self.bodies: dict[str, bytes] = {}
        self.let_go = threading.Event()
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                site.asked[self.path] += 1
                site.headers[self.path] = self.headers
                try:
                    site.answer(self)
                except ConnectionError:
                    pass  # the collector has hung up

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        path = request.path
        if path == "/drip" and not self.let_go.is_set():
            request.send_response(200)
            request.send_header("Content-Length", "1000000")
            request.end_headers()
            while not self.let_go.wait(0.05):
                request.wfile.write(b".")
            return
        if path == "/silent":
            self.let_go.wait(20)
        if path == "/late":
            time.sleep(0.2)
        status, headers, body = 200, {}, self.bodies.get(path, b"hello")
        if path.startswith("/status/"):
            status = int(path.rpartition("/")[2])
        if path == "/moved":
            status, headers = 302, {"Location": "/ok"}
        if path == "/away":
            status, headers = 302, {"Location": self.url.replace("127.0.0.1", "localhost") + "/ok"}
        if path == "/loop":
            status, headers = 307, {"Location": "/loop"}
        if path == "/to-file":
            status, headers = 302, {"Location": "file:///etc/hostname"}
        request.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            request.send_header(name, value)
        request.end_headers()
        request.wfile.write(body)


@pytest.fixture
def site() -> Iterator[Site]:
    running = Site()
    yield running
    running.let_go.set()
    running.server.shutdown()
    running.server.server_close()


def make(cls: type[Collector], **options: Any) -> Collector:
    return cls(Host(), parse_options(cls, options))


def give(collector: Collector, naming: str = "prometheus") -> dict[str, float]:
    batch = Intake(collector).publish(*Intake(collector).gather(), 1.0, 1.0)
    return {name: float(value) for name, value in spelled(batch, naming).items()}


def test_slow_pages_cost_the_others_nothing(site: Site) -> None:
    ok, late, silent, drip = (site.url + path for path in ("/ok", "/late", "/silent", "/drip"))
    collector = make(Http, req_url=[silent, drip, ok, late], timeout=0.5)
    begin = time.monotonic()
    first = give(collector)
    assert time.monotonic() - begin < 2
    assert 0 < first[f'http_time_seconds{{url="{ok}"}}'] < 0.2 <= first[f'http_time_seconds{{url="{late}"}}'] < 0.5
    assert first[f'http_size_bytes{{url="{ok}"}}'] == 5
    assert [first[f'http_up{{url="{url}"}}'] for url in (ok, late, silent, drip)] == [1, 1, 0, 0]
    # A request that hangs for ever is there once, however often it is its turn.
    again = give(collector)
    assert [again[f'http_up{{url="{url}"}}'] for url in (ok, late, silent, drip)] == [1, 1, 0, 0]
    assert site.asked["/drip"] == 1 and site.asked["/ok"] == 2
    site.let_go.set()
    assert wait_until(lambda: give(collector)[f'http_up{{url="{drip}"}}'] == 1)


def test_what_is_asked(site: Site) -> None:
    collector = make(Http, req_url=site.url + "/ok", req_vhost="www.example.org", headers={"host": "wrong", "X-A": "b"})
    give(collector)
    asked = site.headers["/ok"]
    assert (asked.get_all("Host"), asked["X-A"]) == (["www.example.org"], "b")
    give(make(Http, req_url=site.url + "/ok"))
    assert site.headers["/ok"]["User-Agent"] == "Diamond HTTP collector"
    give(make(HttpJson, url=site.url + "/json")) if site.bodies.setdefault("/json", b"{}") else None
    assert site.headers["/json"]["Content-Type"] == "application/json"


def test_another_server_is_told_no_secrets(site: Site) -> None:
    secret = {"Authorization": "Basic c2VjcmV0", "X-Token": "secret", "User-Agent": "me"}
    collector = make(Http, req_url=site.url + "/away", headers=secret, req_vhost="www.example.org")
    assert give(collector)[f'http_up{{url="{site.url}/away"}}'] == 1
    assert site.headers["/away"]["X-Token"] == "secret"
    asked = site.headers["/ok"]
    assert asked["Host"] == site.url.replace("http://127.0.0.1", "localhost")
    assert (asked["Authorization"], asked["X-Token"], asked["User-Agent"]) == (None, None, "me")
    give(make(Http, req_url=site.url + "/moved", headers=secret))
    assert site.headers["/ok"]["X-Token"] == "secret", "the same server"


def test_only_2xx_is_a_page(site: Site) -> None:
    urls = [site.url + path for path in ("/moved", "/status/404", "/status/500", "/loop", "/to-file")]
    given = give(make(Http, req_url=urls), "diamond")
    assert [name.rpartition("_")[2] for name in given] == ["moved.time", "moved.size"]
    said = give(make(Http, req_url=urls))
    assert [said[f'http_up{{url="{url}"}}'] for url in urls] == [1, 0, 0, 0, 0]
    assert site.asked["/loop"] == 22, "ten redirects, twice"


def test_a_site_that_answers_and_one_that_does_not(site: Site) -> None:
    given = give(make(WebsiteMonitor, URL=site.url + "/late"), "diamond")
    assert list(given) == ["servers.host.websitemonitor.response_time.200"]
    assert 200 <= given["servers.host.websitemonitor.response_time.200"] < 1000
    assert list(give(make(WebsiteMonitor, URL=site.url + "/status/503"), "diamond")) == [
        "servers.host.websitemonitor.response_time.503"
    ]
    away = f"http://127.0.0.1:{free_port()}/"
    assert give(make(WebsiteMonitor, URL=away), "diamond") == {}
    assert give(make(WebsiteMonitor, URL=away))[f'probe_success{{target="{away}"}}'] == 0


def test_a_certificate_that_nobody_vouches_for(site: Site, tmp_path: Path, require: Callable[..., None]) -> None:
    require("openssl")
    key, cert = str(tmp_path / "key.pem"), str(tmp_path / "cert.pem")
    argv = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-keyout",
        key,
        "-out",
        cert,
        "-days",
        "1",
        "-subj",
        "/CN=localhost",
    ]
    subprocess.run([*argv, "-addext", "subjectAltName=IP:127.0.0.1"], check=True, capture_output=True)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(cert, key)
    site.server.socket = tls.wrap_socket(site.server.socket, server_side=True)
    url = site.url.replace("http:", "https:") + "/ok"
    assert give(make(WebsiteMonitor, URL=url))[f'probe_success{{target="{url}"}}'] == 0
    assert site.asked["/ok"] == 0
    assert trust() is trust(), "the authorities are read once"
    trust().load_verify_locations(cert)
    assert give(make(WebsiteMonitor, URL=url))[f'probe_success{{target="{url}"}}'] == 1


@pytest.mark.parametrize(
    ("path", "body", "words"),
    [
        ("/a", b"<html>", "gives no JSON"),
        ("/b", b'{"a": 1', "gives no JSON"),
        ("/c", b"\xff\xfe\x00", "gives no JSON"),
        ("/d", b"[" * 100_000, "too deep"),
        ("/e", b"17", "neither an object nor a list"),
        ("/status/500", b"{}", "answers with the status 500"),
    ],
)
def test_a_document_that_is_none(site: Site, path: str, body: bytes, words: str) -> None:
    site.bodies[path] = body
    with pytest.raises(ValueError, match=words) as raised:
        give(make(HttpJson, url=site.url + path))
    assert site.url in str(raised.value)


def test_a_document_that_changes(site: Site) -> None:
    collector = make(HttpJson, url=site.url + "/j", series_limit=40)
    intake = Intake(collector)
    for run in range(60):
        site.bodies["/j"] = json.dumps({"always": run, f"only{run}": 1}).encode()
        batch = intake.publish(*intake.gather(), float(run + 1), float(run + 1))
        assert spelled(batch, "path")["servers.host.httpjson.always"] == str(run)
    assert len(collector.catalog.series) <= 40


def test_deep_objects_end(site: Site) -> None:
    site.bodies["/deep"] = b'{"a":' * 50 + b"1" + b"}" * 50
    assert give(make(HttpJson, url=site.url + "/deep")) == {}


@pytest.mark.parametrize(("cls", "name"), [(Http, "req_url"), (HttpJson, "url"), (WebsiteMonitor, "URL")])
def test_an_address_that_is_none(cls: type[Collector], name: str) -> None:
    with pytest.raises(ValueError, match="an address such as"):
        make(cls, **{name: "ftp://example.org/x"})
