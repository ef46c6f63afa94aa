"""Which tokens make the embedding: the model's own way, or another that a person chose."""

from __future__ import annotations

from timm.models.deit import VisionTransformerDistilled
from torch import nn

from snapvit.errors import InputError
from snapvit.models.spec import Pool


def set_pool(model: nn.Module, pool: Pool, label: str) -> None:
    """Make `model` take its embedding from the class token (`token`) or from the mean of its patches (`mean`).

    The norm stays where the model has it: one before pooling is applied to every token, so that `token` gives a
    DINOv3 model's normalised class token, which its authors evaluate; one after pooling is applied to what was pooled.
    A head that pools by attention goes, since nothing reads it any more. Raises InputError where the model has no such
    tokens to choose, or no choice.
    """
    if pool == "model":
        return
    if isinstance(model, VisionTransformerDistilled):
        raise InputError(
            f"Another pooling was asked of {label}, a distilled model, whose embedding is the mean of its class and "
            "distillation tokens; leave its pooling as it is."
        )
    if pool == "token" and model.cls_token is None:
        raise InputError(f"The class token of {label} was asked for, but it has none; take the mean of its patches.")
    model.attn_pool = None
    model.global_pool = "token" if pool == "token" else "avg"
    if hasattr(model, "pool_include_prefix"):
        model.pool_include_prefix = False
