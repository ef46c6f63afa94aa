"""SnapViT explorer: rank a Vision Transformer's neurons and heads once, then cut any sparsity out of it at once.

Read `artifacts.py` first: it is the vocabulary that every other module uses.
"""

from __future__ import annotations

from os import PathLike
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

__version__ = "0.1.0"


def load_exported(folder: str | PathLike[str], mlp: float | None = None, heads: float | None = None) -> nn.Module:
    """The smaller model that `export` wrote into a folder; of an elastic export, without these shares.

    See `snapvit.export.reading.load_exported`, which this imports when it is called: it needs torch.
    """
    from snapvit.export.reading import load_exported

    return load_exported(folder, mlp, heads)
