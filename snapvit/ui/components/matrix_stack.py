"""Square symmetric matrices that are sent to the browser once, for heat maps that show them in many ways.

A chart with its numbers in it is sent again for every order and every difference of the same matrices; one whose
numbers are here says only which. Entries travel as whole numbers of 16 bits, so a stack's are exact to 1/65,534 of
its range.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass

import numpy as np

from snapvit.artifacts import Floats
from snapvit.ui.components import UNSEEN
from snapvit.ui.components.mounting import component

MOST = 32767  # of an entry's whole number
NOTHING = -32768  # stands for NaN

_mount = component("matrix_stack")


@dataclass(frozen=True)
class Packed:
    """A stack of K symmetric matrices (S, S), as it travels."""

    size: int  # S
    step: float  # what 1 in `upper` is
    diagonal: tuple[float | None, ...]  # (S,) of all matrices alike; None for NaN
    upper: str  # base64 of (K, S (S - 1) / 2) little-endian int16: rows above the diagonal

    @classmethod
    def of(cls, matrices: Floats) -> Packed:
        """Pack (K, S, S) symmetric matrices whose diagonals are the same."""
        size = matrices.shape[-1]
        upper = matrices[:, *np.triu_indices(size, 1)].astype(np.float64)
        finite = np.isfinite(upper)
        most = float(np.abs(upper[finite]).max(initial=0.0)) or 1.0
        whole = np.where(finite, np.round(MOST * np.where(finite, upper, 0) / most), NOTHING).astype("<i2")
        diagonal = tuple(float(f"{x:.6g}") if np.isfinite(x) else None for x in np.diag(matrices[0]).astype(np.float64))
        return cls(size, most / MOST, diagonal, base64.b64encode(whole.tobytes()).decode())


@dataclass(frozen=True)
class Numbers:
    """What a chart's first trace, a heat map, shows: entries of one stack, less those of another's first matrix."""

    of: str  # name of a stack
    order: tuple[int, ...]  # rows, and columns, from top and left
    less: str | None = None  # name of a stack


def matrix_stack(name: str, packed: Packed) -> None:
    """Send a stack under a name; it is not sent again while it stays the same."""
    _mount(key=f"{UNSEEN}stack_{name}", data={"name": name, **vars(packed)}, height=1)
