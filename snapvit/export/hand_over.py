"""A draft becomes a folder: written beside the target, proven by a fresh process, and only then given its name."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor

from snapvit.artifacts import StructureDiff
from snapvit.errors import InputError
from snapvit.export.cut import ELASTIC
from snapvit.export.drafts import Draft
from snapvit.export.formats import ONNX, PROGRAM, need_onnx, write_onnx, write_program
from snapvit.export.load import load
from snapvit.export.proof import WEIGHTS, Proof, Trial, other_error, prove
from snapvit.export.target import check_target, whole_folder

FORMATS = ("safetensors", "onnx", "program")  # the first is always written
FILES = {"onnx": ONNX, "program": PROGRAM}  # of the others
CONFIG, CARD = "config.json", "README.md"
HERE = Path(__file__).parent
SPARE = 5_000_000  # bytes, for what is small
WRITING, PROVING = "writing the model", "proving it in a fresh process"
# Seconds that steps take, about: importing torch and timm, loading one sample's model, tracing another format.
START, LOADING, TRACING = 6.0, 1.0, 6.0


@dataclass(frozen=True)
class Exported:
    """What was handed over."""

    folder: Path
    proofs: tuple[Proof, ...]  # one; of an elastic export one for each of its samples
    diff: StructureDiff | None  # of one cut
    files: Mapping[str, int]  # bytes by name


def check_formats(names: Sequence[str]) -> tuple[str, ...]:
    """The formats, each once. Raises InputError for an unknown one, or where its packages are not installed."""
    unknown = [name for name in names if name not in FORMATS]
    if unknown:
        raise InputError(f"The format {unknown[0]!r} is not known; there are {', '.join(FORMATS)}.")
    if "onnx" in names:
        need_onnx()
    return tuple(name for name in FORMATS if name in names or name == FORMATS[0])


def steps_of(samples: int, formats: Sequence[str], seconds: float) -> dict[str, float]:
    """The steps that `hand_over` tells of, and about how many seconds each takes."""
    others = {_writing(FILES[name]): TRACING for name in formats if name in FILES}
    return {WRITING: LOADING, PROVING: START + samples * (LOADING + seconds), **others}


def hand_over(
    draft: Draft,
    target: Path,
    formats: Sequence[str] = FORMATS[:1],
    seconds: float = 2.0,
    check: Callable[[], None] = lambda: None,
    tell: Callable[[str], None] = lambda text: None,
) -> Exported:
    """Write `draft` into the folder `target`, an absolute path that is empty or nothing yet.

    seconds: for the latencies of each proof; with 0 none are measured. `check` is called again and again and may raise
    to stop; `tell` hears of each step. Raises InputError for a target or format that cannot be and for a disk that
    fails, ProofFailed (an InputError) where the reloaded model is not the same. Whatever ends it early leaves nothing.
    """
    chosen = check_formats(formats)
    if draft.ranking and len(chosen) > 1:
        raise InputError(f"An elastic export has no one shape, so it cannot be written as {chosen[1]}; export a cut.")
    check_target(target)
    with whole_folder(target, _bytes_needed(draft, chosen)) as (folder, scratch):
        tell(WRITING)
        write_files(draft, folder)
        tell(PROVING)
        trials = [Trial(folder, sample, bool(draft.ranking), seconds) for sample in draft.samples]
        proofs = prove(trials, scratch, draft.device, check)
        proofs = [_with_others(draft, folder, chosen, proof, check, tell) for proof in proofs]
        (folder / CARD).write_text(draft.card(proofs), encoding="utf-8")
        for file in folder.iterdir():  # safetensors' are the writer's alone
            shutil.copymode(folder / CARD, file)
        files = {file.name: file.stat().st_size for file in sorted(folder.iterdir())}
    return Exported(target, tuple(proofs), draft.diff, files)


def write_files(draft: Draft, folder: Path) -> None:
    """The files that a proof loads: numbers, config and scripts."""
    numbers = {**draft.tensors, **{ELASTIC + name: tensor for name, tensor in draft.ranking.items()}}
    save_file(numbers, folder / WEIGHTS, metadata={"format": "pt"})
    (folder / CONFIG).write_text(json.dumps(draft.config, indent=1), encoding="utf-8")
    for name in draft.scripts:
        # Within this package a shipped file imports its neighbour by the package's name, in the folder by its own.
        source = (
            (HERE / name).read_text(encoding="utf-8").replace("from snapvit.export.load import", "from load import")
        )
        (folder / name).write_text(source, encoding="utf-8")


def _with_others(
    draft: Draft,
    folder: Path,
    chosen: Sequence[str],
    proof: Proof,
    check: Callable[[], None],
    tell: Callable[[str], None],
) -> Proof:
    """Write and prove the other formats of one cut."""
    size = tuple(draft.config["data"]["input_size"][1:])
    writers = {"onnx": (write_onnx, "onnx_error"), "program": (write_program, "program_error")}
    for name in chosen[1:]:
        check()
        file, (write, error) = FILES[name], writers[name]
        tell(_writing(file))
        write(load(folder), size, folder / file)
        check()
        proof = replace(proof, **{error: other_error(folder / file, draft.samples[0])})
    return proof


def _writing(file: str) -> str:
    return f"writing and proving {file}"


def _bytes_needed(draft: Draft, chosen: Sequence[str]) -> int:
    def size(tensors: Mapping[str, Tensor]) -> int:
        return sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())

    samples = sum(size({"images": s.images, "embedding": s.embedding, "logits": s.logits}) for s in draft.samples)
    return len(chosen) * size(draft.tensors) + size(draft.ranking) + samples + SPARE
