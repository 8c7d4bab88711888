"""Old files as modules: under private names, with the files beside them, and their translations kept."""

from __future__ import annotations

import linecache
import os
import subprocess
import sys
import threading
import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest

from adamas.errors import TranslationError
from adamas.translate import load

SRC = Path(__file__).parent.parent.parent / "src"


@pytest.fixture(autouse=True)
def as_it_was() -> Iterator[None]:
    """Modules and finders that a test brings in go with it."""
    modules, finders = {*sys.modules}, [*sys.meta_path]
    yield
    for name in {*sys.modules} - modules:
        if name.startswith("_adamas"):
            del sys.modules[name]
    sys.meta_path[:] = finders


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "code").mkdir()
    return tmp_path / "code"


def kept(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "cache").glob("*"))


def test_a_module_hides_nothing(folder: Path, tmp_path: Path) -> None:
    (folder / "http.py").write_text("import json, os\nprint >>open(os.devnull, 'w'), 1\nNAME = json.dumps(7 / 2)\n")
    import http

    module = load(str(folder / "http.py"), "http", str(tmp_path / "cache"))
    assert module.NAME == "3" and module is not http and sys.modules["http"] is http
    assert module.__name__.startswith("_adamas_python2_") and module.__name__.endswith(".http")
    assert sys.modules[module.__name__] is module and module.__file__ == str(folder / "http.py")


def test_neighbours_by_their_bare_names_and_nobody_else(folder: Path, tmp_path: Path) -> None:
    (folder / "one.py").write_text(
        "import two, statistics, re, package.inner as inner\nfrom two import x as y\nprint >>None\nz = 7 / 2\n"
    )
    (folder / "two.py").write_text("import one\nx = 9 / 2\n")
    (folder / "statistics.py").write_text("ours = `1`\n")
    (folder / "re.py").write_text("raise RuntimeError\n")
    (folder / "package").mkdir()
    (folder / "package" / "__init__.py").write_text("from other import a\n")
    (folder / "package" / "other.py").write_text("a = 5 / 2\nprint >>None\n")
    (folder / "package" / "inner.py").write_text("import other\nb = other.a\n")
    module = load(str(folder / "one.py"), "one", str(tmp_path / "cache"))
    assert (module.two.x, module.y, module.z, module.inner.b, module.statistics.ours) == (4, 4, 3, 2, "1")
    assert module.re is __import__("re")
    assert module.two.one is module
    other = tmp_path / "elsewhere"
    other.mkdir()
    (other / "three.py").write_text("print >>None\nimport two\n")
    with pytest.raises(ImportError):
        load(str(other / "three.py"), "three", str(tmp_path / "cache"))
    assert not any(name.endswith(".three") for name in sys.modules)


def test_python_3_finds_its_neighbours_too(folder: Path, tmp_path: Path) -> None:
    (folder / "new.py").write_text("import near\nx: float = 1 / 2 + near.y\n")
    (folder / "near.py").write_text("y: int = 1\n")
    assert load(str(folder / "new.py"), "new", str(tmp_path / "cache")).x == 1.5


def test_what_could_be_either_ran_on_2(folder: Path, tmp_path: Path) -> None:
    (folder / "either.py").write_text(
        "import subprocess\nx = subprocess.Popen(['printf', '7 2'], stdout=subprocess.PIPE).communicate()[0].split(' ')\ny = int(x[0]) / int(x[1])\n"
    )
    assert load(str(folder / "either.py"), "either", str(tmp_path / "cache")).y == 3


def test_translations_are_kept_for_their_owner(folder: Path, tmp_path: Path) -> None:
    path = folder / "a.py"
    path.write_text("x = `7 / 2`\n")
    cache = str(tmp_path / "cache")
    assert load(str(path), "a", cache).x == "3"
    (file,) = kept(tmp_path)
    assert file.stat().st_mode & 0o777 == 0o600 and file.parent.stat().st_mode & 0o777 == 0o700
    file.write_text("x = 'kept'\n")
    assert load(str(path), "a", cache).x == "kept"
    file.chmod(0o622)
    assert load(str(path), "a", cache).x == "3"
    assert kept(tmp_path)[0].stat().st_mode & 0o777 == 0o600, "what others could write is made anew"
    path.write_text("x = `9 / 2`\n")
    assert load(str(path), "a", cache).x == "4"
    assert len(kept(tmp_path)) == 2
    (folder / "near.py").write_text("")
    load(str(path), "a", cache)
    assert len(kept(tmp_path)) == 3, "a new neighbour changes what a bare name means"


def test_without_a_place_to_keep_them(folder: Path, tmp_path: Path) -> None:
    (folder / "a.py").write_text("x = `7 / 2`\n")
    (tmp_path / "file").write_text("")
    assert load(str(folder / "a.py"), "a", str(tmp_path / "file" / "cache")).x == "3"


def test_a_link_in_the_cache_is_not_written_through(folder: Path, tmp_path: Path) -> None:
    (folder / "a.py").write_text("x = `7 / 2`\n")
    load(str(folder / "a.py"), "a", str(tmp_path / "cache"))
    (file,) = kept(tmp_path)
    victim = tmp_path / "victim"
    victim.write_text("mine")
    victim.chmod(0o666)
    file.unlink()
    file.symlink_to(victim)
    load(str(folder / "a.py"), "a", str(tmp_path / "cache"))
    assert victim.read_text() == "mine" and not file.is_symlink()


def test_several_at_once(folder: Path, tmp_path: Path) -> None:
    (folder / "a.py").write_text("x = `7 / 2`\n")
    failed: list[BaseException] = []

    def one(number: int) -> None:
        try:
            assert load(str(folder / "a.py"), f"a{number}", str(tmp_path / "cache")).x == "3"
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=one, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert failed == [] and [p.suffix for p in kept(tmp_path)] == [".py"]


def test_a_traceback_shows_the_line_of_the_file(folder: Path, tmp_path: Path) -> None:
    path = folder / "broken.py"
    path.write_text('"""Doc."""\n\n\ndef f((a, b)):\n    """More."""\n    print >>None, a / b\n    raise ValueError, "here"\n')
    module = load(str(path), "broken", str(tmp_path / "cache"))
    linecache.clearcache()
    try:
        module.f((1, 2))
    except ValueError:
        text = traceback.format_exc()
    assert f'File "{path}", line 7, in f\n    raise ValueError, "here"' in text


def test_what_cannot_be_loaded_says_so(folder: Path, tmp_path: Path) -> None:
    path = folder / "bad.py"
    path.write_text("import helping\n")
    (folder / "helping.py").write_text("print 1\n\nimport rfc822\n")
    with pytest.raises(TranslationError, match=rf"{folder}/helping.py:3: the module rfc822"):
        load(str(path), "bad", str(tmp_path / "cache"))
    assert not any(name.startswith("_adamas_python2_") and "." in name for name in sys.modules)
    with pytest.raises(FileNotFoundError):
        load(str(folder / "none.py"), "none", str(tmp_path / "cache"))


def test_loading_again_runs_again(folder: Path, tmp_path: Path) -> None:
    path = folder / "a.py"
    path.write_text("items = `[]`\n")
    first = load(str(path), "a", str(tmp_path / "cache"))
    path.write_text("raise ValueError, 1\n")
    with pytest.raises(ValueError):
        load(str(path), "a", str(tmp_path / "cache"))
    assert sys.modules[first.__name__] is first, "the one before stays"


def test_an_agent_without_old_files_imports_none_of_it() -> None:
    code = "import sys; sys.path.insert(0, sys.argv[1]); import adamas.agent, adamas.cli.commands\n"
    code += "print([m for m in sys.modules if m.startswith('adamas.translate') or m == 'ast'])"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code, str(SRC)], capture_output=True, check=True, timeout=30, env=os.environ
    )
    assert done.stdout.decode().strip() == "[]", done
