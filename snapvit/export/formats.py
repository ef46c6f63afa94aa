"""The same model for other runtimes: ONNX, and torch's own exported program. Both take any number of images."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from snapvit.errors import InputError
from snapvit.export.extras import onnx_lacks

ONNX, PROGRAM = "model.onnx", "model.pt2"
OPSET = 18  # the lowest that torch's exporter writes without converting, so that most runtimes read it
ONE_FILE = 1_900_000_000  # bytes; a protobuf holds less than 2 GB, so larger weights lie beside it


class Outputs(nn.Module):
    """Both of a model's outputs: the embedding, and what its head says of it where it has one."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        heads = model.get_classifier()
        heads = heads if isinstance(heads, tuple) else (heads,)
        self.names = ("embedding",) if all(isinstance(h, nn.Identity) for h in heads) else ("embedding", "logits")

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """(B, 3, h, w) to (B, D) and (B, classes)."""
        features = self.model.forward_features(images)
        found = self.model.forward_head(features, pre_logits=True), self.model.forward_head(features)
        return found[: len(self.names)]


def need_onnx() -> None:
    """Raise InputError where the packages that write and run ONNX are not installed."""
    lacks = onnx_lacks()
    if lacks is not None:
        raise InputError(f"{lacks[:-1]}, or leave onnx out of the formats.")


def write_onnx(model: nn.Module, size: tuple[int, int], path: Path) -> None:
    """`model.onnx`: `images` (batch, 3, h, w) to `embedding` and, where there is a head, `logits`."""
    both = Outputs(model).eval()
    large = sum(p.numel() * p.element_size() for p in model.parameters()) > ONE_FILE
    with _exporting(ONNX):
        torch.onnx.export(
            both,
            (_example(model, size),),
            path,
            dynamo=True,
            opset_version=OPSET,
            input_names=["images"],
            output_names=list(both.names),
            dynamic_shapes={"images": {0: torch.export.Dim("batch")}},
            external_data=large,
            verbose=False,
        )


def onnx_outputs(path: Path, images: Tensor) -> list[np.ndarray]:
    """What onnxruntime makes of images (B, 3, h, w): the embedding and, where there is a head, the logits."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(None, {"images": images.cpu().numpy()})


def write_program(model: nn.Module, size: tuple[int, int], path: Path) -> None:
    """`model.pt2`: what `torch.export.load(path).module()` makes of images is what ONNX's outputs are."""
    with _exporting(PROGRAM):
        shapes = {"images": {0: torch.export.Dim("batch")}}
        program = torch.export.export(Outputs(model).eval(), (_example(model, size),), dynamic_shapes=shapes)
        torch.export.save(program, path)


def program_outputs(path: Path, images: Tensor) -> list[np.ndarray]:
    """What the exported program, which was written here a moment ago, makes of images."""
    with torch.no_grad():
        return [out.numpy() for out in torch.export.load(path).module()(images.cpu())]


def _example(model: nn.Module, size: tuple[int, int]) -> Tensor:
    """Two images: of one alone torch would take the number for a constant."""
    return torch.zeros(2, 3, *size, device=next(model.parameters()).device)


@contextmanager
def _exporting(name: str) -> Iterator[None]:
    """Without what torch's exporters tell of their own passes; what they cannot do becomes one sentence."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "torch.export", "torch.fx")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except OSError:
        raise
    except Exception as error:  # torch's exporters, and what lies under them, raise many types
        reason = f"{type(error).__name__}: {error}".splitlines()[0][:200]
        raise InputError(f"torch cannot write {name} of this model ({reason}); leave that format out.") from error
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
