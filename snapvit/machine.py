"""What identifies the machine that a time was measured on."""

from __future__ import annotations

import hashlib
import platform
import subprocess
from dataclasses import astuple, dataclass
from importlib.metadata import version
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")
CPUINFO_NAMES = ("model name", "Model", "Hardware", "cpu model")  # x86, then what other processors call it


@dataclass(frozen=True)
class Machine:
    """Times of two machines that differ in any of this are not comparable."""

    processor: str
    threads: int  # that were used
    torch: str  # its version
    system: str  # such as `Linux x86_64`
    device: str = ""  # name of the GPU that computed; empty: the processor did

    @property
    def label(self) -> str:
        """For people: `Intel Xeon Platinum 8370C, 1 thread, torch 2.14.1`."""
        processor = f"{self.processor}, {self.threads} thread{'' if self.threads == 1 else 's'}"
        return f"{f'{self.device} beside ' if self.device else ''}{processor}, torch {self.torch}"

    @property
    def id(self) -> str:
        """Eight hexadecimal digits, the same on the same machine."""
        named = astuple(self) if self.device else astuple(self)[:-1]  # as it was before there were devices
        return hashlib.sha256(repr(named).encode()).hexdigest()[:8]


def this_machine(threads: int = 1, device: str = "") -> Machine:
    """The machine that this process runs on, of which `threads` are used, and this GPU. It loads no torch."""
    return Machine(_processor(), threads, version("torch"), f"{platform.system()} {platform.machine()}".strip(), device)


def _processor() -> str:
    try:
        name = _name_in(CPUINFO.read_text(encoding="utf-8", errors="replace"))
    except OSError:  # not Linux
        name = _apple() if platform.system() == "Darwin" else ""
    return " ".join((name or platform.processor() or platform.machine() or "unknown processor").split())


def _name_in(cpuinfo: str) -> str:
    """The processor's name in the content of /proc/cpuinfo; empty where it has none."""
    rows = [row.partition(":") for row in cpuinfo.splitlines()]
    values = {key.strip(): value.strip() for key, _, value in reversed(rows)}  # the first of each
    return next((values[name] for name in CPUINFO_NAMES if values.get(name)), "")


def _apple() -> str:
    """macOS's own name of the processor; Python's is `arm` for every one of them."""
    command = ["/usr/sbin/sysctl", "-n", "machdep.cpu.brand_string"]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=5, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ""
