"""Running the command line in this process or in one of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from snapvit import cli

ROOT = Path(__file__).parents[1]


def settings_of(settings: tuple[str, ...]) -> list[str]:
    return [part for setting in settings for part in ("--set", setting)]


class Cli:
    """Runs commands in this process and keeps what they print."""

    def __init__(self, capsys: pytest.CaptureFixture, cache: Path) -> None:
        self._capsys, self.cache = capsys, cache

    def __call__(self, *args: str) -> tuple[int, str, str]:
        self._capsys.readouterr()
        code = cli.main([*args, "--cache", str(self.cache)])
        return code, *self._capsys.readouterr()

    def json(self, *args: str) -> tuple[dict, str]:
        """The one JSON object of a command that goes well, and what it said beside it."""
        code, out, err = self(*args, "--json")
        assert code == 0, err
        content = json.loads(out, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
        assert isinstance(content, dict)
        return content, err


def start(args: list[str]) -> subprocess.Popen:
    """`python -m snapvit` in a process of its own, which listens to SIGINT whatever this one's parent ignores."""
    return subprocess.Popen(
        [sys.executable, "-m", "snapvit", *args],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def end(process: subprocess.Popen) -> tuple[int, str, str]:
    try:
        out, err = process.communicate(timeout=120)
    finally:
        process.kill()
    return process.returncode, out, err
