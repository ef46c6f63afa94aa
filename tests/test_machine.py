"""What identifies a machine, on kinds of machines that are not here."""

from __future__ import annotations

import platform
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from snapvit import machine
from snapvit.machine import Machine, this_machine

ONE = Machine("Intel Xeon Platinum 8370C", 1, "2.14.1", "Linux x86_64")


def test_the_label_is_for_people() -> None:
    assert ONE.label == "Intel Xeon Platinum 8370C, 1 thread, torch 2.14.1"
    assert replace(ONE, threads=4).label == "Intel Xeon Platinum 8370C, 4 threads, torch 2.14.1"


def test_the_id_tells_machines_apart_and_stays() -> None:
    changes = {"processor": "Apple M3", "threads": 2, "torch": "2.6.0", "system": "Darwin arm64"}
    others = [replace(ONE, **{name: value}) for name, value in changes.items()]
    ids = {m.id for m in (ONE, *others)}
    assert len(ids) == 5
    assert all(len(i) == 8 and int(i, 16) >= 0 for i in ids)
    assert ONE.id == replace(ONE).id == "a85b1fb9"  # a change makes every stored time another machine's


def test_this_machine_is_described() -> None:
    here = this_machine()
    assert here == this_machine()
    assert (here.threads, this_machine(3).threads) == (1, 3)
    assert here.torch == torch.__version__.partition("+")[0] or here.torch == torch.__version__
    assert here.system.startswith(platform.system())
    assert here.processor


X86 = "processor\t: 0\nvendor_id\t: GenuineIntel\nmodel name\t: Intel(R)  Core(TM) i7\n\nmodel name\t: another\n"
PI = "processor\t: 0\nBogoMIPS\t: 108.00\n\nHardware\t: BCM2835\nModel\t\t: Raspberry Pi 4 Model B\n"


@pytest.mark.parametrize(
    ("cpuinfo", "processor"),
    [
        (X86, "Intel(R) Core(TM) i7"),
        (PI, "Raspberry Pi 4 Model B"),
        ("processor\t: 0\n", "what Python says"),
        ("", "what Python says"),
    ],
)
def test_the_processor_is_named_by_what_the_system_tells(
    cpuinfo: str, processor: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "CPUINFO", tmp_path / "cpuinfo")
    monkeypatch.setattr(platform, "processor", lambda: "what Python says")
    (tmp_path / "cpuinfo").write_text(cpuinfo)
    assert this_machine().processor == processor


@pytest.mark.parametrize(
    ("system", "answer", "processor"),
    [("Darwin", "Apple M3 Pro\n", "Apple M3 Pro"), ("Darwin", OSError(), "arm"), ("Windows", "", "arm")],
)
def test_where_there_is_no_cpuinfo(
    system: str, answer: str | OSError, processor: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(command: list[str], **_: object) -> subprocess.CompletedProcess:
        assert system == "Darwin"
        if isinstance(answer, OSError):
            raise answer
        return subprocess.CompletedProcess(command, 0, stdout=answer)

    monkeypatch.setattr(machine, "CPUINFO", tmp_path / "none")
    monkeypatch.setattr(platform, "system", lambda: system)
    monkeypatch.setattr(platform, "processor", lambda: "arm")
    monkeypatch.setattr(subprocess, "run", run)
    assert this_machine().processor == processor


def test_it_loads_no_torch() -> None:
    code = "import sys; from snapvit.machine import this_machine; this_machine().id; print('torch' in sys.modules)"
    answer = subprocess.run(
        [sys.executable, "-c", code], cwd=Path(__file__).parents[1], capture_output=True, text=True, check=True
    )
    assert answer.stdout.strip() == "False"
