"""What the command line writes to: a narrow encoding, a reader that goes away, a disk that is full."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import ROOT
from image_samples import write_classes

from snapvit.pipeline.request import make_request
from snapvit.store.codec import encode
from snapvit.store.store import Store

SNAPVIT = [sys.executable, "-m", "snapvit"]


def shell(line: str, cache: Path, **env: str) -> subprocess.CompletedProcess:
    """A line of bash in which `snapvit` is the command line on this cache."""
    script = f'set -o pipefail; snapvit() {{ {sys.executable} -m snapvit "$@"; }}; {line}'
    env = os.environ | {"SNAPVIT_CACHE": str(cache)} | env
    return subprocess.run(["bash", "-c", script], cwd=ROOT, env=env, capture_output=True, timeout=120)


@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "utf-8"])
def test_names_that_an_encoding_lacks_are_written_as_escapes(tmp_path, encoding):
    images = write_classes(tmp_path / "画像 \udcff", {"a": 1})
    request, store = make_request(data=f"folder:{images}"), Store(tmp_path / "cache")
    store.create(request.run, encode(request)[1], None, {})
    for line in ("snapvit runs", "snapvit runs --json", "snapvit evaluate 画像 --mlp 0 --heads 0"):
        answer = shell(line, store.root, PYTHONIOENCODING=encoding)
        assert answer.returncode == (2 if "evaluate" in line else 0), answer.stderr
        assert b"Traceback" not in answer.stderr
    text = shell("snapvit runs", store.root, PYTHONIOENCODING=encoding).stdout.decode(encoding)
    assert ("画像" if encoding == "utf-8" else "\\u753b\\u50cf") in text


@pytest.mark.parametrize(
    "line", ["snapvit models | head -1", "snapvit models --json | head -c 20", "snapvit models | true"]
)
def test_a_reader_that_goes_away_is_no_error(tmp_path, line):
    answer = shell(line, tmp_path)
    assert (answer.returncode, answer.stderr) == (0, b"")


def test_a_full_disk_is_named(tmp_path):
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    answer = shell("snapvit models > /dev/full", tmp_path)
    assert answer.returncode == 2
    assert answer.stderr.decode() == "snapvit: Standard output cannot be written (No space left on device).\n"


def test_closed_streams_are_no_error(tmp_path):
    assert shell("snapvit models >&- 2>&-", tmp_path).returncode == 0


def test_work_goes_on_where_nobody_reads_its_progress(tmp_path, small_settings):
    settings = " ".join(f"--set '{setting}'" for setting in small_settings)
    answer = shell(f"snapvit run {settings} 2> >(head -1 >&2)", tmp_path)
    assert answer.returncode == 0
    assert b"is finished" in answer.stdout
