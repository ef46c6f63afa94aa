"""`snapvit app`: what it starts, on which cache, and what it refuses."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from snapvit import launching
from snapvit.cli import main
from snapvit.environment import READ_ONLY
from snapvit.pipeline.opening import SHIPPED
from snapvit.store.store import Store

ROOT = Path(__file__).parents[1]


class Became(Exception):
    """In place of becoming another program."""


@pytest.fixture
def started(monkeypatch) -> dict:
    """What the command becomes."""
    found: dict = {}

    def become(program: str, command: list[str], environment: dict[str, str]) -> None:
        found.update(program=program, command=command, environment=environment)
        raise Became

    monkeypatch.setattr("os.execve", become)
    monkeypatch.delenv(READ_ONLY, raising=False)
    return found


def app(*arguments: str) -> None:
    with pytest.raises(Became):
        main(["app", *arguments])


def test_it_becomes_streamlit_on_this_cache_which_gets_the_shipped_run(started, tmp_path):
    app("--cache", str(tmp_path / "new"), "--port", "8600")
    assert started["program"] == started["command"][0] == sys.executable
    assert started["command"][1:4] == ["-m", "streamlit", "run"]
    assert started["command"][4:] == [str(ROOT / "serve.py"), "--server.port=8600"]
    assert started["environment"]["SNAPVIT_CACHE"] == str(tmp_path / "new")
    assert READ_ONLY not in started["environment"]
    assert [found.run for found in Store(tmp_path / "new").manifests()] == [SHIPPED]


def test_a_cache_with_a_run_is_left_as_it_is(started, finished):
    before = [found.run for found in finished.manifests()]
    app("--cache", str(finished.root), "--read-only")
    assert started["environment"][READ_ONLY] == "1"
    assert [found.run for found in Store(finished.root).manifests()] == before


def test_an_installed_package_serves_its_own_pages(started, finished, monkeypatch, tmp_path):
    (tmp_path / "serve.py").touch()
    monkeypatch.setattr(launching, "PLACES", (tmp_path, ROOT))
    app("--cache", str(finished.root))
    assert str(tmp_path / "serve.py") in started["command"]


def test_behind_a_proxy(started, finished):
    app("--cache", str(finished.root), "--base-path", "/lab/a-b/", "--host", "class.example", "--host", "b.example")
    given = started["command"][6:]
    hosts = [f"--server.allowedHosts={name}" for name in ("localhost", "127.0.0.1", "class.example", "b.example")]
    assert given == ["--server.baseUrlPath=lab/a-b", *hosts]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--base-path", "a b"], "'a b' is no path of an address"),
        (["--base-path", "/x/../y?z"], "is no path of an address"),
        (["--host", "class.example:80"], "without a port"),
        (["--host", "*"], "'*' is no name of a host"),
    ],
)
def test_what_is_no_path_and_no_name_is_refused(finished, capsys, arguments, words):
    assert main(["app", "--cache", str(finished.root), *arguments]) == 2
    assert words in capsys.readouterr().err


@pytest.mark.parametrize("port", ["0", "65536", "http", "-1"])
def test_what_is_no_port_is_refused(capsys, port):
    with pytest.raises(SystemExit) as ended:
        main(["app", "--port", port])
    assert ended.value.code == 2


def test_without_streamlit_it_says_what_to_install(finished, capsys, monkeypatch):
    monkeypatch.setattr(launching, "find_spec", lambda name: None)
    assert main(["app", "--cache", str(finished.root)]) == 2
    assert "pip install 'snapvit-explorer[app]'" in capsys.readouterr().err


def test_a_cache_that_cannot_be_made_is_named(capsys, tmp_path):
    (tmp_path / "file").touch()
    assert main(["app", "--cache", str(tmp_path / "file")]) == 2
    assert "cannot be copied into" in capsys.readouterr().err
