"""Diamond's handlers by their old names: what each puts on the wire, and what it says where its library is missing."""

from __future__ import annotations

import base64
import gzip
import importlib
import importlib.util
import json
import pickle
import queue
import shutil
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent))

from agents import Sink

from diamond.handler.Handler import Handler
from diamond.metric import Metric

NAMES = {
    "archive": "ArchiveHandler",
    "appenlight": "AppenlightHandler",
    "cloudwatch": "cloudwatchHandler",
    "datadog": "DatadogHandler",
    "g_metric": "GmetricHandler",
    "graphite": "GraphiteHandler",
    "graphitepickle": "GraphitePickleHandler",
    "hostedgraphite": "HostedGraphiteHandler",
    "httpHandler": "HttpPostHandler",
    "influxdbHandler": "InfluxdbHandler",
    "libratohandler": "LibratoHandler",
    "logentries_diamond": "LogentriesDiamondHandler",
    "mqtt": "MQTTHandler",
    "multigraphite": "MultiGraphiteHandler",
    "multigraphitepickle": "MultiGraphitePickleHandler",
    "mysql": "MySQLHandler",
    "null": "NullHandler",
    "pubsub": "PubsubHandler",
    "queue": "QueueHandler",
    "rabbitmq_pubsub": "rmqHandler",
    "rabbitmq_topic": "rmqHandler",
    "riemann": "RiemannHandler",
    "rrdtool": "RRDHandler",
    "sentry": "SentryHandler",
    "signalfx": "SignalfxHandler",
    "stats_d": "StatsdHandler",
    "statsite": "StatsiteHandler",
    "tsdb": "TSDBHandler",
    "zmq_pubsub": "zmqHandler",
}


def cls(module: str) -> Any:
    return getattr(importlib.import_module(f"diamond.handler.{module}"), NAMES[module])


def metric(path: str = "servers.h.cpu.total.idle", value: Any = 1.5, **how: Any) -> Metric:
    return Metric(path, value, **{"timestamp": 1700000000, "precision": 2, "host": "h", "metric_type": "GAUGE", **how})


@pytest.mark.parametrize("module", NAMES)
def test_every_handler_has_its_name_and_explains_its_options(module: str) -> None:
    found = cls(module)
    assert issubclass(found, Handler)
    defaults = found.get_default_config(found.__new__(found))
    assert defaults["server_error_interval"] == 120
    assert set(found.get_default_config_help(found.__new__(found))) <= set(defaults)


LIBRARIES = {
    "cloudwatch": ("boto3", "boto3"),
    "mqtt": ("paho", "paho-mqtt"),
    "rabbitmq_pubsub": ("pika", "pika"),
    "rabbitmq_topic": ("pika", "pika"),
    "pubsub": ("google", "google-cloud-pubsub"),
    "sentry": ("sentry_sdk", "sentry-sdk"),
    "stats_d": ("statsd", "statsd"),
    "zmq_pubsub": ("zmq", "pyzmq"),
}


@pytest.mark.parametrize("module", LIBRARIES)
def test_a_missing_library_is_named(module: str) -> None:
    library, package = LIBRARIES[module]
    if importlib.util.find_spec(library) is not None:
        pytest.skip(f"{library} is installed")
    with pytest.raises(ImportError, match=f"pip install {package}"):
        cls(module)({})


# The class that all inherit from


class Troubled(Handler):
    def process(self, metric: Metric) -> None:
        raise ValueError(metric.path)

    def flush(self) -> None:
        raise OSError("away")


def test_errors_stay_inside_and_are_not_forgotten(caplog: pytest.LogCaptureFixture) -> None:
    handler = Troubled({"server_error_interval": "1000"})
    handler._process(metric("a"))
    assert isinstance(handler.fault, ValueError)
    handler._flush()
    assert isinstance(handler.fault, OSError)
    for _ in range(3):
        handler._throttle_error("the same")
    assert [r.levelname for r in caplog.records if r.message == "the same"] == ["ERROR"], "the others are debug"
    handler._reset_errors("the same")
    handler._throttle_error("the same")
    assert [r.levelname for r in caplog.records if r.message == "the same"] == ["ERROR", "ERROR"]
    handler.enabled = False
    handler.fault = None
    handler._process(metric("a"))
    assert handler.fault is None


def test_the_queue_handler_drops_what_finds_no_room(caplog: pytest.LogCaptureFixture) -> None:
    waiting: queue.Queue[Any] = queue.Queue(2)
    handler = cls("queue")(None, waiting)
    first = metric()
    handler._process(first)
    handler._flush()
    handler._process(metric())
    assert [waiting.get(), waiting.get()] == [first, None]
    assert "Queue full" in caplog.text


def test_null_and_archive(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("DEBUG"):
        cls("null")({})._process(metric())
    assert "servers.h.cpu.total.idle\t1.50\t1700000000" in caplog.text
    handler = cls("archive")({"log_file": str(tmp_path / "archive.log"), "encoding": "utf-8"})
    handler._process(metric())
    assert (tmp_path / "archive.log").read_text() == "servers.h.cpu.total.idle 1.50 1700000000\n"


# Graphite


@pytest.fixture
def sink() -> Iterator[Sink]:
    sink = Sink()
    yield sink
    sink.kill()


def arrived(sink: Sink, count: int) -> list[tuple[str, str, int]]:
    end = time.monotonic() + 5
    while len(sink.lines) < count and time.monotonic() < end:
        time.sleep(0.01)
    return sink.lines


def test_graphite_batches_and_flushes(sink: Sink) -> None:
    handler = cls("graphite")({"host": "127.0.0.1", "port": str(sink.port), "batch": "3"})
    for number in range(4):
        handler._process(metric(f"a.{number}"))
    assert len(arrived(sink, 3)) == 3
    handler._flush()
    assert [name for name, _, _ in arrived(sink, 4)] == ["a.0", "a.1", "a.2", "a.3"]
    assert handler.fault is None


def test_graphite_keeps_what_it_cannot_send(sink: Sink) -> None:
    handler = cls("graphite")({"host": "127.0.0.1", "port": str(sink.port), "batch": "1", "timeout": "2"})
    sink.kill()
    time.sleep(0.05)
    handler._close()
    for number in range(7):
        handler._process(metric(f"a.{number}"))
    assert len(handler.metrics) == 4, "five batches are trimmed to four"
    handler._flush()
    assert isinstance(handler.fault, ConnectionError)
    sink.restart()
    handler.fault = None
    handler._flush()
    assert [name for name, _, _ in arrived(sink, 4)] == ["a.3", "a.4", "a.5", "a.6"]
    assert handler.fault is None


def test_graphite_over_udp_and_with_a_key() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.settimeout(5)
        port = listener.getsockname()[1]
        for module, config, head in (
            ("graphite", {"proto": "udp4"}, ""),
            ("hostedgraphite", {"proto": "udp", "apikey": " KEY "}, "key."),
        ):
            cls(module)({"host": "127.0.0.1", "port": port, **config})._process(metric())
            assert listener.recv(1000).decode() == f"{head}servers.h.cpu.total.idle 1.50 1700000000\n"


def test_pickles_arrive_also_at_a_flush() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        handler = cls("graphitepickle")({"host": "127.0.0.1", "port": listener.getsockname()[1], "batch": 10})
        connection, _ = listener.accept()
        connection.settimeout(5)
        handler._process(metric())
        handler._process(metric("b", 2**40, precision=0))
        handler._flush()
        (length,) = struct.unpack("!L", connection.recv(4))
        assert pickle.loads(connection.recv(length)) == [
            ("servers.h.cpu.total.idle", (1700000000, 1.5)),
            ("b", (1700000000, 2**40)),
        ]
        handler._close()
        connection.close()


def test_several_servers(sink: Sink) -> None:
    other = Sink()
    handler = cls("multigraphite")({"host": ["127.0.0.1", "localhost"], "port": str(sink.port), "proto": "tcp4"})
    handler._process(metric())
    handler._flush()
    assert len(arrived(sink, 2)) == 2
    assert [h.host for h in cls("multigraphite")({"host": "127.0.0.1", "port": other.port}).handlers] == ["127.0.0.1"]
    assert cls("multigraphitepickle")({"host": ["127.0.0.1"], "port": other.port}).handlers[0].port == other.port
    assert cls("multigraphitepickle").get_default_config(handler.__class__({"host": []}))["port"] in (2003, 2004)
    other.kill()


# Over HTTP


class Heard:
    """An HTTP server that keeps what is posted, and refuses while it is told to."""

    def __init__(self) -> None:
        self.posts: list[tuple[str, dict[str, str], bytes]] = []
        self.refuse = 0
        outer = self

        class Request(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if outer.refuse:
                    outer.refuse -= 1
                    self.send_error(503)
                    return
                outer.posts.append((self.path, {k.lower(): v for k, v in self.headers.items()}, body))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Request)
        self.port = self.server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}/x"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def heard() -> Iterator[Heard]:
    found = Heard()
    yield found
    found.server.shutdown()
    found.server.server_close()


def test_opentsdb(heard: Heard) -> None:
    def put(path: str, **config: Any) -> Any:
        before = len(heard.posts)
        handler = cls("tsdb")({"host": "127.0.0.1", "port": str(heard.port), **config})
        handler._process(metric(path, 123))
        handler._flush()
        assert handler.fault is None
        if len(heard.posts) == before:
            return None
        where, headers, body = heard.posts[-1]
        assert where == "/api/put" and headers["content-type"] == "application/json"
        entry = json.loads(gzip.decompress(body) if headers.get("content-encoding") == "gzip" else body)[0]
        assert (entry["timestamp"], entry["value"]) == (1700000000, 123)
        return entry["metric"], entry["tags"]

    assert put("servers.h.load.01") == ("load.01", {"hostname": "h"})
    assert put("servers.h.cpu.cpu0.user", tags="a=b c=d") == ("cpu.user", {"hostname": "h", "a": "b", "c": "d", "cpuId": "cpu0"})
    assert put("servers.h.cpu.cpu0.user", cleanMetrics="false") == ("cpu.cpu0.user", {"hostname": "h"})
    assert put("servers.h.cpu.total.user") is None, "a sum"
    assert put("servers.h.cpu.total.user", skipAggregates="no")[1]["cpuId"] == "total"
    assert put("servers.h.cpu.cpu_count", prefix="p", compression="1") == ("p.cpu.cpu_count", {"hostname": "h"})
    assert put("servers.h.haproxy.B.S.bin", tags=["a=b"]) == (
        "haproxy.bin",
        {"hostname": "h", "a": "b", "backend": "B", "server": "S"},
    )
    assert put("servers.h.diskspace._var.byte_free") == ("diskspace.byte_free", {"hostname": "h", "mountpoint": "_var"})
    put("servers.h.load.01", user="John Doe", password="123")
    assert heard.posts[-1][1]["authorization"] == "Basic " + base64.b64encode(b"John Doe:123").decode()


def test_influxdb(heard: Heard) -> None:
    handler = cls("influxdbHandler")(
        {"hostname": "127.0.0.1", "port": str(heard.port), "batch_size": "2", "time_precision": "ms"}
    )
    handler._process(metric("servers.h.my app.a=b.c", 3))
    assert heard.posts == []
    handler._process(metric("servers.web 1.cpu.idle", 0.5, host="web 1"))
    where, headers, body = heard.posts[0]
    assert where == "/write?db=graphite&precision=ms" and headers["authorization"].startswith("Basic ")
    assert body.decode().split("\n") == ["my\\ app,host=h a\\=b.c=3.0 1700000000000", "cpu,host=web\\ 1 idle=0.5 1700000000000"]


def test_posts_of_lines_and_json(heard: Heard) -> None:
    handler = cls("httpHandler")({"url": heard.url, "batch": "10"})
    handler._flush()
    assert heard.posts == [], "nothing to post"
    handler._process(metric())
    handler._process(metric("b", 7, precision=0))
    handler._flush()
    assert heard.posts[-1][2] == b"servers.h.cpu.total.idle 1.50 1700000000\nb 7 1700000000\n"
    handler = cls("httpHandler")({"url": heard.url, "batch": "1", "format": "json"})
    handler._process(metric(ttl=20.0))
    fields = {"path": "servers.h.cpu.total.idle", "value": 1.5, "timestamp": 1700000000, "precision": 2, "host": "h", "ttl": 20.0}
    assert json.loads(heard.posts[-1][2]) == {"metric": [fields]}


def test_a_server_that_is_not_pleased(heard: Heard) -> None:
    handler = cls("httpHandler")({"url": heard.url, "batch": "10"})
    handler._process(metric())
    heard.refuse = 1
    handler._flush()
    assert isinstance(handler.fault, OSError) and "503" in str(handler.fault)
    handler._flush()
    assert len(heard.posts) == 1, "what was refused is posted again"
    handler._flush()
    assert len(heard.posts) == 1


def test_services(heard: Heard) -> None:
    def post(module: str, counter: bool = False, **config: Any) -> tuple[dict[str, str], Any]:
        handler = cls(module)({**config})
        handler._process(metric(metric_type="COUNTER" if counter else "GAUGE"))
        handler._flush()
        assert handler.fault is None
        _, headers, body = heard.posts[-1]
        return headers, json.loads(body)

    headers, body = post("datadog", api_key="k", url=heard.url)
    assert headers["dd-api-key"] == "k"
    assert body["series"] == [{"metric": "servers.h.cpu.total.idle", "points": [[1700000000, 1.5]], "type": "gauge", "host": "h"}]
    headers, body = post("signalfx", auth_token="t", url=heard.url)
    assert headers["x-sf-token"] == "t"
    dimensions = {"collector": "cpu", "prefix": "servers", "host": "h"}
    assert body == {"gauge": [{"metric": "total.idle", "value": 1.5, "dimensions": dimensions, "timestamp": 1700000000000}]}
    headers, body = post("libratohandler", True, user="u", apikey="k", url=heard.url)
    assert body == {
        "gauges": [],
        "counters": [{"name": "cpu.total.idle", "value": 1.5, "source": "h", "measure_time": 1700000000}],
    }
    headers, body = post("libratohandler", apply_metric_prefix="true", url=heard.url)
    assert body["gauges"][0]["name"] == "servers.cpu.total.idle"
    headers, body = post("appenlight", apikey="k", server=heard.url)
    assert headers["x-appenlight-api-key"] == "k" and body[0]["timestamp"] == "2023-11-14T22:13:20+00:00"
    headers, body = post("logentries_diamond", log_token="token", url=heard.url)
    assert body["event"]["servers.h.cpu.total.idle"]["value"] == 1.5 and heard.posts[-1][0] == "/x/token"


def test_filters(heard: Heard) -> None:
    handler = cls("signalfx")({"url": heard.url, "filter_metrics_regex": "cpu:total, disk:x"})
    for path in ("servers.h.cpu.total.idle", "servers.h.cpu.cpu0.idle", "servers.h.memory.free"):
        handler._process(metric(path))
    handler._flush()
    assert [m["metric"] for m in json.loads(heard.posts[0][2])["gauge"]] == ["total.idle", "free"]
    handler = cls("libratohandler")({"url": heard.url, "include_filters": ["^servers.h.cpu", "x$"]})
    assert [handler.item(metric(p)) is not None for p in ("servers.h.cpu.a", "servers.h.b", "any.x")] == [True, False, False]


# Over UDP, and programs


@pytest.fixture
def datagrams() -> Iterator[tuple[int, Callable[[], bytes]]]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.settimeout(5)
        yield listener.getsockname()[1], lambda: listener.recv(65536)


def test_statsite(datagrams: tuple[int, Callable[[], bytes]]) -> None:
    port, receive = datagrams
    handler = cls("statsite")({"host": "127.0.0.1", "udpport": port})
    handler._process(metric())
    handler._close()
    assert receive() == b"servers.h.cpu.total.idle:1.50|kv\n"
    with socket.create_server(("127.0.0.1", 0)) as listener:
        handler = cls("statsite")({"host": "127.0.0.1", "udpport": "0", "tcpport": listener.getsockname()[1]})
        handler._process(metric())
        connection, _ = listener.accept()
        assert connection.recv(100) == b"servers.h.cpu.total.idle:1.50|kv\n"
        connection.close()
        handler._close()


def test_gmond(datagrams: tuple[int, Callable[[], bytes]]) -> None:
    port, receive = datagrams
    handler = cls("g_metric")({"host": "127.0.0.1", "port": port})
    handler._process(metric())
    handler.socket.close()
    about, value = receive(), receive()

    def texts(data: bytes, at: int) -> tuple[str, int]:
        (length,) = struct.unpack_from(">I", data, at)
        return data[at + 4 : at + 4 + length].decode(), at + 4 + (length + 3) // 4 * 4

    for packet, kind in ((about, 128), (value, 133)):
        assert struct.unpack_from(">I", packet) == (kind,) and len(packet) % 4 == 0
        host, at = texts(packet, 4)
        name, at = texts(packet, at)
        assert (host, name) == ("h", "cpu.total.idle")
    form, at = texts(value, at + 4)
    assert (form, texts(value, at)[0]) == ("%s", "1.50")


def test_statsd(datagrams: tuple[int, Callable[[], bytes]]) -> None:
    pytest.importorskip("statsd")
    port, receive = datagrams
    handler = cls("stats_d")({"host": "127.0.0.1", "port": str(port)})
    handler._process(metric("g", 5))
    assert receive() == b"g:5|g"
    for raw in (100, 107, 3):
        handler._process(metric("c", 2, raw_value=raw, metric_type="COUNTER"))
    assert [receive(), receive(), receive()] == [b"c:2|c", b"c:7|c", b"c:3|c"]
    handler.connection._client.close()


def test_rrdtool(tmp_path: Path, require: Callable[..., None]) -> None:
    require("rrdtool")
    handler = cls("rrdtool")({"basedir": str(tmp_path), "step": "1", "batch": "10"})
    now = int(time.time()) - 10
    for second in range(5):
        handler._process(metric(value=second, timestamp=now + second))
    handler._flush()
    handler._process(metric(value=9, timestamp=now))
    handler._flush()
    assert handler.fault is None
    file = tmp_path / "h/cpu/total_idle.rrd"
    program = shutil.which("rrdtool")
    assert program is not None
    last = subprocess.run([program, "lastupdate", str(file)], capture_output=True, text=True, check=True).stdout
    assert last.split() == ["total_idle", f"{now + 4}:", "4"]


def test_sentrys_rules() -> None:
    from diamond.handler.sentry import Rule, _rules

    rules = list(_rules({"dsn": "", "loads": {"one": {"name": "load", "path": r".*load\.01", "max": "4"}}}))
    assert [rule.name for rule in rules] == ["load"]
    words = [rules[0].broken(metric("servers.h.load.01", value)) for value in (1, 5, 6, 2, 7)]
    assert [bool(w) for w in words] == [False, True, False, False, True], "once until it is back"
    assert "above 4" in words[1]
    assert (rules[0].counter_pass, rules[0].counter_errors) == (2, 3)
    with pytest.raises(ValueError, match="neither min nor max"):
        Rule("x", ".")
