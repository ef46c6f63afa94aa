"""Files that a person names to be written: links are followed, and what is no file is never replaced."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from snapvit.errors import InputError
from snapvit.outputs import write_output


def write(path: Path, force: bool = False) -> Path:
    return write_output(path, lambda part: part.write_text("new"), "the scores", force)


def test_a_file_is_written_whole_and_replaced_only_when_asked(tmp_path):
    path = tmp_path / "x"
    assert write(path) == path
    path.write_text("old")
    path.chmod(0o640)
    with pytest.raises(InputError, match="exists; name another file, or replace it with --force"):
        write(path)
    assert path.read_text() == "old"
    write(path, force=True)
    assert path.read_text() == "new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert os.listdir(tmp_path) == ["x"]


@pytest.mark.parametrize("there", [True, False], ids=["to a file", "to nothing yet"])
def test_a_link_is_followed_and_stays(tmp_path, there):
    target, link = tmp_path / "far" / "target", tmp_path / "link"
    target.parent.mkdir()
    if there:
        target.write_text("old")
    link.symlink_to(target)
    assert write(link, force=there) == target
    assert link.is_symlink()
    assert (target.read_text(), target.is_symlink()) == ("new", False)


def test_what_is_no_file_is_refused_whatever_is_asked(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "to pipe").symlink_to(tmp_path / "pipe")
    (tmp_path / "to itself").symlink_to(tmp_path / "to itself")
    for name in ("pipe", "folder", "to pipe", "to itself", "/dev/null"):
        path = tmp_path / name
        before = os.lstat(path)
        with pytest.raises(InputError, match="which the scores cannot take the place of"):
            write(path, force=True)
        assert os.lstat(path).st_ino == before.st_ino


def test_a_place_that_takes_nothing_is_named(tmp_path):
    with pytest.raises(InputError, match=r"The scores cannot be written to .*no/x \(No such file or directory\)"):
        write(tmp_path / "no" / "x")

    def fail(part: Path) -> None:
        part.write_text("half")
        raise OSError(28, "No space left on device")

    with pytest.raises(InputError, match="No space left"):
        write_output(tmp_path / "x", fail, "the scores")
    assert os.listdir(tmp_path) == []
