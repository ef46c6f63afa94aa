"""Importance scores as the authors of SnapViT publish them: reading their files, and writing ours in the same layout.

A file holds one dict (design section 4). Reading runs nothing of the file, and torch is imported only then.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from snapvit.artifacts import Floors, Scores, Topology
from snapvit.errors import InputError
from snapvit.outputs import write_output
from snapvit.torch_files import Bounds, read_torch_file

MOST_BYTES = 64 * 2**20  # of a whole file; the scores of a 7 B ViT take 1.3 MB
BOUNDS = Bounds(MOST_BYTES, most_description=256 * 2**10)  # of the authors: 1.3 kB
ENUMS = "src.models.enums"  # the authors' module whose string enums their files name
COUNTS = ("num_blocks", "hidden_dim", "embed_dim", "num_heads", "head_dim")
FLOORS = ("min_hidden_dim_keep_ratio", "min_head_keep_ratio")
TEXTS = ("model_type", "mlp_architecture")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:/\-]{0,99}")  # pages show it, so it may hold no markup
MLP_KINDS = ("standard", "swiglu")
MOST_SCORES = 4_000_000  # ranking takes about 100 bytes each; the largest ViT has 330,000 neurons
MOST_COUNT = 1_000_000  # of blocks, neurons or widths; the largest ViT has 40 blocks of 8,192 neurons
MOST_ITEMS, MOST_DEPTH = 1_000, 4  # of metadata


@dataclass(frozen=True)
class PublishedScores:
    """Final scores of a model that need not be at hand, with what their file says of it."""

    scores: Scores
    floors: Floors
    model_type: str  # the authors' name of the model, or a timm name in a file of ours
    mlp_kind: str  # standard or swiglu
    width: int  # D
    head_width: int  # d
    metadata: dict[str, Any]  # plain values, as the file has them
    digest: str  # sha256 of the file

    @property
    def topology(self) -> Topology:
        """Counts of the model. Files do not tell the number of tokens: it is 0."""
        blocks, hidden = self.scores.mlp.shape
        return Topology(blocks, self.scores.head.shape[1], hidden, self.width, self.head_width, tokens=0)

    def check_fit(self, topology: Topology, model: str) -> None:
        """Raise InputError unless a model of this topology has exactly the structures that these scores rank."""
        if _counts(topology) != _counts(self.topology):
            raise InputError(
                f"The scores of {self.model_type} do not fit {model}: they are for {describe_counts(self.topology)}; "
                f"{model} has {describe_counts(topology)}."
            )


def _counts(topology: Topology) -> tuple[int, ...]:
    return (topology.blocks, topology.heads, topology.hidden, topology.width, topology.head_width)


def describe_counts(topology: Topology) -> str:
    """`12 blocks of 12 heads (64 wide) and 3072 neurons, width 768`."""
    return (
        f"{topology.blocks} blocks of {topology.heads} heads ({topology.head_width} wide) and {topology.hidden} "
        f"neurons, width {topology.width}"
    )


def read_scores(source: Path | bytes, name: str | None = None) -> PublishedScores:
    """Scores from a file's path, or from its content (then `name` is what to call it).

    Raises InputError for a file that is damaged, contradicts itself, or holds more than plain values and tensors.
    """
    name = name or (source.name if isinstance(source, Path) else "The file")
    raw = _content(source) if isinstance(source, Path) else source
    content = read_torch_file(raw, name, ENUMS, BOUNDS)
    try:
        return _checked(content, hashlib.sha256(raw).hexdigest())
    except InputError as error:
        raise InputError(f"{name} {error}") from error


def _content(path: Path) -> bytes:
    if not path.is_file():  # nor is a folder one, or a device, which may never end
        raise InputError(f"The score file {path} does not exist.")
    try:
        if path.stat().st_size > MOST_BYTES:
            raise InputError(f"{path.name} is larger than {MOST_BYTES // 2**20} MB, which no score file is.")
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"The score file {path} cannot be read ({error.strerror}).") from error


def _checked(content: Any, digest: str) -> PublishedScores:
    if type(content) is not dict:
        raise InputError("is no score file: what it holds is no dict.")
    missing = [key for key in ("mlp_scores", "head_scores", *COUNTS, *FLOORS, *TEXTS) if key not in content]
    if missing:
        raise InputError(f"is no score file: it lacks {', '.join(missing)}.")
    for key in COUNTS:
        if type(content[key]) is not int or not 1 <= content[key] <= MOST_COUNT:
            raise InputError(f"says that {key} is {_short(content[key])}, which is no count.")
    blocks, hidden, width, heads, head_width = (content[key] for key in COUNTS)
    mlp = _table(content, "mlp_scores", (blocks, hidden), "num_blocks and hidden_dim")
    head = _table(content, "head_scores", (blocks, heads), "num_blocks and num_heads")
    for key in FLOORS:
        if type(content[key]) not in (int, float) or not 0 <= content[key] <= 1:
            raise InputError(f"says that {key} is {_short(content[key])}; it must be a number between 0 and 1.")
    for key in TEXTS:
        if type(content[key]) is not str or not NAME.fullmatch(content[key]):
            raise InputError(f"says that {key} is {_short(content[key])}, which is no name.")
    if content["mlp_architecture"] not in MLP_KINDS:
        raise InputError(f"has an mlp_architecture {_short(content['mlp_architecture'])}; known are standard, swiglu.")
    metadata = content.get("metadata") or {}
    if type(metadata) is not dict:
        raise InputError("has metadata that are no dict.")
    _check_plain(metadata, [MOST_ITEMS], MOST_DEPTH)
    return PublishedScores(
        scores=Scores(mlp, head),
        floors=Floors(*(float(content[key]) for key in FLOORS)),
        model_type=content["model_type"],
        mlp_kind=content["mlp_architecture"],
        width=width,
        head_width=head_width,
        metadata=metadata,
        digest=digest,
    )


def _table(content: dict[str, Any], key: str, shape: tuple[int, int], counts: str) -> np.ndarray:
    import torch  # loaded by now

    tensor = content[key]
    if type(tensor) is not torch.Tensor:
        raise InputError(f"has {key} that are no tensor.")
    if tuple(tensor.shape) != shape:
        raise InputError(f"contradicts itself: {key} is {tuple(tensor.shape)}, but {counts} say {shape}.")
    if tensor.numel() > MOST_SCORES:
        raise InputError(f"has {tensor.numel():,} {key}; no model has more than {MOST_SCORES:,} structures to rank.")
    if tensor.untyped_storage().nbytes() < tensor.numel() * tensor.itemsize:
        raise InputError(f"has {key} that show a few numbers many times.")
    table = tensor.numpy()
    bad = int((~np.isfinite(table)).sum())
    if bad:
        raise InputError(f"has {bad} {key} that are not finite numbers, so they cannot be ranked.")
    if table.min() < 0:
        raise InputError(f"has {key} below 0, which no importance is.")
    return table.astype(np.float64)


def _check_plain(value: Any, items_left: list[int], depth: int) -> None:
    """Refuse what is not plain, nested too deeply, or too much once repeated parts are counted."""
    items_left[0] -= 1
    if items_left[0] < 0 or depth < 0:
        raise InputError(f"has metadata of more than {MOST_ITEMS} items or {MOST_DEPTH} levels.")
    if type(value) is dict:
        if any(type(key) is not str for key in value):
            raise InputError("has metadata with a name that is no text.")
        value = list(value.values())
    if type(value) in (list, tuple):
        for item in value:
            _check_plain(item, items_left, depth - 1)
    elif value is not None and type(value) not in (bool, int, float, str):
        raise InputError(f"has metadata that are not plain: a {type(value).__name__}.")


def _short(value: Any) -> str:
    is_plain = type(value) in (bool, int, float, type(None)) or (type(value) is str and NAME.fullmatch(value))
    return repr(value)[:60] if is_plain else f"a {type(value).__name__}"


def write_scores(published: PublishedScores, path: Path, force: bool = False) -> None:
    """Write the dict that the authors' code reads, with plain text for its enums. Whole or not at all.

    The numbers stay in double precision, so that reading them gives the same ranking. Raises InputError as
    `write_output` does.
    """
    import torch  # heavy, and only needed here: reading does without

    topology = published.topology
    counts = (topology.blocks, topology.hidden, topology.width, topology.heads, topology.head_width)
    content = {
        "mlp_scores": torch.from_numpy(np.ascontiguousarray(published.scores.mlp, dtype=np.float64)),
        "head_scores": torch.from_numpy(np.ascontiguousarray(published.scores.head, dtype=np.float64)),
        "model_type": published.model_type,
        "mlp_architecture": published.mlp_kind,
        **dict(zip(COUNTS, counts, strict=True)),
        **dict(zip(FLOORS, (published.floors.neurons, published.floors.heads), strict=True)),
        "metadata": published.metadata,
    }
    write_output(path, lambda part: torch.save(content, part), "the scores", force)
