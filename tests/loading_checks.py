"""What the tests of loading share: small checkpoints, and the form that every refusal has."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from safetensors.torch import save_file
from torch import Tensor, nn

from snapvit.errors import InputError
from snapvit.models.loading import load_model
from snapvit.models.spec import ModelSpec

TINY = {"img_size": 16, "patch_size": 8, "embed_dim": 24, "depth": 3, "num_heads": 3, "num_classes": 5}
METADATA = {"config": json.dumps(TINY), "mean": "0.25", "std": "0.5"}


def refused(spec: ModelSpec, *told: str) -> str:
    """The sentence with which `spec` is refused; it must hold every one of `told`."""
    with pytest.raises(InputError) as caught:
        load_model(spec)
    message = str(caught.value)
    assert "\n" not in message
    assert message.endswith((".", "?"))
    for part in told:
        assert part in message, message
    return message


def weights_of(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def saved(path: Path, weights: dict[str, Tensor], metadata: dict[str, str] | None = None) -> str:
    save_file(weights, path, metadata)
    return str(path)
