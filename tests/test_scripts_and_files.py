"""The collectors that start programs or read what others left: real scripts, files, pings, sessions and directories."""

from __future__ import annotations

import os
import re
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from cases import parse_options, spelled

from adamas.collector import Collector
from adamas.collectors.dirstats import DirStats
from adamas.collectors.files import Files
from adamas.collectors.ping import Ping
from adamas.collectors.users import Users
from adamas.collectors.userscripts import UserScripts
from adamas.config import load
from adamas.errors import ConfigError, NoData
from adamas.host import Host
from adamas.pipeline import Intake

ROOT = os.geteuid() == 0


def make(cls: type[Collector], **options: Any) -> Collector:
    return cls(Host(), parse_options(cls, options))


def give(collector: Collector, naming: str = "path") -> dict[str, float]:
    intake = Intake(collector)
    batch = intake.publish(*intake.gather(), 1.0, 1.0)
    return {name.removeprefix("servers.host."): float(value) for name, value in spelled(batch, naming).items()}


def script(folder: Path, name: str, text: str, mode: int = 0o755) -> Path:
    file = folder / name
    file.write_text(text)
    file.chmod(mode)
    return file


# Scripts


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "scripts"
    made.mkdir(mode=0o755)
    return made


def success(name: str) -> str:
    return f'userscripts_success{{script="{name}"}}'


def test_scripts_that_go_wrong_cost_the_others_nothing(folder: Path) -> None:
    script(folder, "a-hangs", "#!/bin/sh\necho early 1\nsleep 30 &\nsleep 30\n")
    script(folder, "b-works", '#!/bin/sh\necho "args.count $#"\necho "b.value 1.5"\n')
    script(folder, "c-fails", "#!/bin/sh\necho c.value 3\necho no luck >&2\nexit 9\n")
    script(folder, "d-floods", "#!/bin/sh\nwhile :; do echo d.value 4; done\n")
    script(folder, "e-is-no-program", "e.value 5\n")
    script(folder, "f; touch hacked", "#!/bin/sh\necho f.value 6\n")
    script(folder, "g-may-not-run", "#!/bin/sh\necho g.value 7\n", 0o644)
    (folder / "h-dangles").symlink_to("nowhere")
    begin = time.monotonic()
    given = give(make(UserScripts, scripts_path=str(folder), timeout=1), "prometheus")
    assert time.monotonic() - begin < 4
    numbers = {name.removeprefix("userscripts_"): value for name, value in given.items() if "success" not in name}
    assert numbers == {"args_count": 0, "b_value": 1.5, "c_value": 3, "f_value": 6}
    worked = {name: given[success(name)] for name in sorted(os.listdir(folder))[:6]}
    assert worked == {"a-hangs": 0, "b-works": 1, "c-fails": 0, "d-floods": 0, "e-is-no-program": 0, "f; touch hacked": 1}
    assert not (folder / "hacked").exists()
    assert not subprocess.run(["pgrep", "-f", f"{folder}/"], stdout=subprocess.PIPE, check=False).stdout, "none is left"


@pytest.mark.skipif(not ROOT, reason="only root can give files away")
def test_as_root_only_scripts_of_root(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    os.chown(script(folder, "given-away", "#!/bin/sh\necho away 1\n"), 65534, 0)
    script(folder, "open-to-all", "#!/bin/sh\necho open 1\n", 0o757)
    script(folder, "good", "#!/bin/sh\necho good 1\n")
    assert give(make(UserScripts, scripts_path=str(folder))) == {"good": 1}
    said = capsys.readouterr().err
    assert "given-away: belongs to the user 65534" in said and "open-to-all: is writable by everyone" in said
    assert give(make(UserScripts, scripts_path=str(folder), check_owner=False)) == {"away": 1, "open": 1, "good": 1}
    folder.chmod(0o777)
    with pytest.raises(PermissionError, match="is writable by everyone; nothing in it is started"):
        give(make(UserScripts, scripts_path=str(folder)))


def test_no_scripts_here(tmp_path: Path) -> None:
    with pytest.raises(NoData, match="missing"):
        give(make(UserScripts, scripts_path=str(tmp_path / "missing")))


# Files


def test_only_regular_files_are_read(tmp_path: Path) -> None:
    drop = tmp_path / "drop"
    drop.mkdir()
    (tmp_path / "secret").write_text("secret 42\n")
    (drop / "link").symlink_to(tmp_path / "secret")
    os.mkfifo(drop / "pipe")
    (drop / "folder").mkdir()
    (drop / "large").write_text("large 1\n" * 200_000)
    (drop / "binary").write_bytes(bytes(range(256)) * 10)
    (drop / "good").write_text("good.one 1\n")
    assert give(make(Files, dir=str(drop))) == {"good.one": 1}


def test_files_are_used_up(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a 1\n")
    (tmp_path / "nothing").write_text("to see\n")
    collector = make(Files, dir=str(tmp_path), delete=True)
    assert give(collector) == {"a": 1}
    assert os.listdir(tmp_path) == ["nothing"]
    (tmp_path / "a").write_text("a 2\n")
    run = iter(collector.collect())
    next(run)
    (tmp_path / "a").write_text("a 2\nb 3\n")
    list(run)
    assert (tmp_path / "a").exists(), "it changed while it was read"
    assert give(collector) == {"a": 2, "b": 3}


# Pings


def test_real_pings(require: Callable[..., None]) -> None:
    require("ping")
    given = give(make(Ping, targets={"four": "127.0.0.1", "six": "::1", "none": "no-such-host.invalid"}), "prometheus")
    assert given['ping_up{target="127.0.0.1"}'] == 1 and 0 < given['ping_rtt_seconds{target="127.0.0.1"}'] < 0.1
    assert given['ping_up{target="no-such-host.invalid"}'] == 0
    assert 'ping_rtt_seconds{target="no-such-host.invalid"}' not in given


def test_silent_targets_are_waited_for_together(tmp_path: Path) -> None:
    silent = script(tmp_path, "ping", "#!/bin/sh\nsleep 30\n")
    targets = {str(n): f"10.0.0.{n}" for n in range(8)}
    begin = time.monotonic()
    given = give(make(Ping, targets=targets, bin=str(silent), timeout=1), "diamond")
    assert time.monotonic() - begin < 4
    assert given == {f"ping.10_0_0_{n}": 10000 for n in range(8)}


def test_no_ping_here() -> None:
    with pytest.raises(NoData, match="is not installed"):
        give(make(Ping, targets={"a": "127.0.0.1"}, bin="no-such-program"))


@pytest.mark.parametrize("target", ["-f", "a b", "", "a;b", "$(id)"])
def test_a_target_that_is_none(target: str) -> None:
    with pytest.raises(ValueError, match="expected a host's name or address"):
        make(Ping, targets={"x": target})


def test_targets_as_a_table_or_each_by_itself(tmp_path: Path) -> None:
    file = tmp_path / "adamas.toml"
    file.write_text('[collectors.ping]\ntarget_gw = "10.0.0.1"\ntarget_2 = "b.example"\ntargets = {c = "c.example"}\n')
    assert load(str(file)).collectors["ping"].values["targets"] == {"c": "c.example", "gw": "10.0.0.1", "2": "b.example"}
    file.write_text('[collectors.ping]\ntargetgw = "10.0.0.1"\n')
    with pytest.raises(ConfigError, match=r'adamas\.toml:2: .*there is no option "targetgw"; did you mean "targets"'):
        load(str(file))


# Sessions


def record(kind: int, user: str, line: str, size: int = 384) -> bytes:
    head = struct.pack("=hxxi32s4s32s256s", kind, 4711, line.encode(), b"1", user.encode(), b"10.0.0.7")
    return head + bytes(size - len(head))


def test_sessions_as_who_sees_them(tmp_path: Path) -> None:
    file = tmp_path / "utmp"
    names = ["anna", "anna", "a.b", "x" * 32]
    file.write_bytes(
        record(2, "reboot", "~") + b"".join(record(7, n, f"pts/{i}") for i, n in enumerate(names)) + record(8, "", "pts/9")
    )
    given = give(make(Users, utmp=str(file)), "diamond")
    assert given == {"users.total": 4, "users.anna": 2, "users.a.b": 1, f"users.{'x' * 32}": 1}
    who = subprocess.run(["who", str(file)], capture_output=True, text=True, check=True, env={"LC_ALL": "C"})
    assert [line.split()[0] for line in who.stdout.splitlines()] == names


@pytest.mark.parametrize("data", [b"x", b"root:x:0:0\n" * 50, record(7, "a", "b")[:-1], b"\xff" * 384, os.urandom(1152)[:1151]])
def test_a_file_that_is_no_utmp(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "utmp").write_bytes(data)
    with pytest.raises(ValueError, match=re.escape(f"{tmp_path}/utmp is not a file of utmp records")):
        give(make(Users, utmp=str(tmp_path / "utmp")))


def test_no_utmp_here(tmp_path: Path) -> None:
    with pytest.raises(NoData, match="does not exist"):
        give(make(Users, utmp=str(tmp_path / "utmp")))
    with pytest.raises(NoData, match="neither"):
        give(Users(Host(str(tmp_path))))


# Directories


def test_a_directory_as_du_sees_it(tmp_path: Path) -> None:
    top = tmp_path / "top"
    for n in range(12):
        (top / f"d{n}" / "inner").mkdir(parents=True)
        for size in (0, 1, 4096, 100_000):
            (top / f"d{n}" / f"f{size}").write_bytes(b"x" * size)
    (top / "loop").symlink_to(top)
    (top / "dangles").symlink_to("nowhere")
    os.mkfifo(top / "pipe")
    os.utime(top / "d3" / "f1", (1, time.time() + 50))
    given = give(make(DirStats, dirs={"top": str(top)}))
    du = subprocess.run(["find", str(top), "-type", "f", "-printf", "%s %b\n"], capture_output=True, text=True, check=True)
    sizes = [tuple(map(int, line.split())) for line in du.stdout.splitlines()]
    assert given["dirstats.top.files"] == len(sizes) == 48
    assert given["dirstats.top.size"] == sum(size for size, _ in sizes)
    assert given["dirstats.top.space"] == 512 * sum(blocks for _, blocks in sizes)
    assert given["dirstats.top.subdirs"] == 25, "the link to itself is one more"
    assert given["dirstats.top.unmodified"] == 0, "written in the future"


def test_walks_have_an_end(tmp_path: Path) -> None:
    for n in range(300):
        (tmp_path / str(n)).touch()
    small = tmp_path / "0.d"
    small.mkdir()
    (small / "file").write_bytes(bytes(3 << 20))
    both = {"large": str(tmp_path), "small": str(small)}
    given = give(make(DirStats, dirs=both, entries=100))
    assert given["dirstats.large.complete"] == 0 and "dirstats.large.files" not in given
    assert given["dirstats.small.complete"] == 1 and given["dirstats.small.size"] == 3 << 20

    class Slow(Host):
        def stat(self, path: str) -> dict[str, float]:
            time.sleep(0.001)
            return super().stat(path)

    given = give(DirStats(Slow(), parse_options(DirStats, {"dirs": both, "timeout": "100ms"})))
    assert [given[f"dirstats.{name}.complete"] for name in both] == [0, 1]
