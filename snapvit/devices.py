"""Which device computes: what a person may ask for, what there is, and where its sums are kept.

A run belongs to a *kind* of device (`cpu`, `cuda`, `mps`): the numbers of two kinds differ in their last digits and are
never mixed in one table. Which of several devices of a kind computes makes no difference. No torch at load, and none
at all on a machine that plainly has nothing but its CPU: pages ask.
"""

from __future__ import annotations

import os
import platform
import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from snapvit.errors import InputError
from snapvit.machine import Machine, this_machine

if TYPE_CHECKING:
    import torch
    from torch import Tensor

Precision = Literal["float32", "bfloat16"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
AUTO, CPU = "auto", "cpu"
VARIABLE = "SNAPVIT_DEVICE"
# What a driver puts there: NVIDIA's, that of its boards, AMD's, Windows' own within its Linux, NVIDIA's of Windows.
DRIVERS = tuple(
    map(Path, ("/dev/nvidiactl", "/dev/nvhost-ctrl", "/dev/kfd", "/dev/dxg", "C:/Windows/System32/nvcuda.dll"))
)
WITHOUT_DOUBLES = {"mps"}  # kinds without float64


@cache
def devices() -> tuple[str, ...]:
    """Those of this machine that torch can use, the CPU first: `cpu`, `cuda:0`, `cuda:1`. Torch takes seconds to load,
    so it is asked where it is loaded already, or where there is a driver."""
    if "torch" not in sys.modules and not any(driver.exists() for driver in DRIVERS):
        apple = (platform.system(), platform.machine()) == ("Darwin", "arm64")
        return (CPU, "mps") if apple else (CPU,)
    import torch

    gpus = [f"cuda:{i}" for i in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    return (CPU, *gpus, *(["mps"] if torch.backends.mps.is_available() else []))


def chosen(asked: str | None = None) -> str:
    """One of `devices()` from what was asked for: `auto`, `cpu`, `cuda`, `cuda:1` or `mps`; None: SNAPVIT_DEVICE, else
    `auto`, the first CUDA device where there is one, else the CPU. Raises InputError naming those there are."""
    said = asked or os.environ.get(VARIABLE) or AUTO
    name, there = said.strip().lower(), devices()
    if name == AUTO:  # MPS only by its name: nobody has held this program's numbers on it against the CPU's yet
        return next((device for device in there if kind_of(device) == "cuda"), CPU)
    found = next((device for device in there if name in (device, kind_of(device))), None)
    if found is None:
        by = "" if asked else f" by {VARIABLE}"
        raise InputError(
            f"The device {said!r} was asked for{by}, and there {'is' if len(there) == 1 else 'are'} {', '.join(there)} "
            f"here; name one of these, or {AUTO}."
        )
    return found


def kind_of(device: str) -> str:
    """`cuda` of `cuda:1`."""
    return device.partition(":")[0]


def device_for(kind: str) -> str:
    """Where a run of this kind is opened: on SNAPVIT_DEVICE where that is of this kind, else on the first of the kind;
    where there is none, on the CPU, to be looked at."""
    of_kind = [device for device in devices() if kind_of(device) == kind]
    said = os.environ.get(VARIABLE, "").strip().lower()
    return said if said in of_kind else next(iter(of_kind), CPU)


def is_here(kind: str) -> bool:
    """Whether this machine has a device of the kind."""
    return any(kind_of(device) == kind for device in devices())


def check_computing(device: str, kind: str, run: str) -> None:
    """Raise InputError where `device` would add numbers of another kind to a run."""
    if kind_of(device) != kind:
        raise InputError(
            f"Run {run} was computed on {kind}, which this machine does not have: what it holds is shown, but new "
            f"numbers from {device} would not belong with it; go on where there is {kind}, or start it anew here."
        )


def device_name(device: str) -> str:
    """For people: `CPU`, `NVIDIA H200`."""
    if kind_of(device) != "cuda":
        return {"mps": "Apple GPU"}.get(device, device.upper())
    import torch

    return torch.cuda.get_device_name(device)


def device_label(device: str) -> str:
    """The same, and which one: `CPU`, `NVIDIA H200 (cuda:1)`."""
    return device_name(device) if device == CPU else f"{device_name(device)} ({device})"


def timing_machine(kind: str) -> Machine:
    """This machine, as it times the cuts of runs of this kind of device."""
    return this_machine() if kind == CPU else this_machine(device=device_name(device_for(kind)))


def in_doubles(numbers: Tensor) -> Tensor:
    """In float64, where they are; on the CPU where their device has no float64."""
    return (numbers.cpu() if numbers.device.type in WITHOUT_DOUBLES else numbers).double()


def home_of_doubles(device: torch.device) -> torch.device | str:
    """Where sums of `in_doubles` are kept, for numbers on this device."""
    return CPU if device.type in WITHOUT_DOUBLES else device


def synchronise(device: torch.device) -> None:
    """Wait for what the device was given to do; the CPU has always done it."""
    import torch

    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
