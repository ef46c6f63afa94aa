"""Builds the model that lies beside this file, by torch, timm and safetensors alone: `model = load()`.

It is timm's own with narrower layers, in evaluation mode and trainable: model(images) gives what its head says and
model.forward_head(model.forward_features(images), pre_logits=True) the embedding.
"""

import json
from pathlib import Path

import timm
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from timm.layers import apply_rot_embed_cat
from timm.models.eva import EvaAttention
from torch import Tensor, nn


class Constant(nn.Module):
    """Attention without heads or an MLP without neurons: the bias of its last layer, for every token."""

    def __init__(self, name: str, last: nn.Linear) -> None:
        super().__init__()
        self.last, last.weight = name, None
        self.add_module(name, last)

    def forward(self, tokens: Tensor, **_: object) -> Tensor:
        bias = getattr(self, self.last).bias
        return torch.zeros_like(tokens) if bias is None else bias.expand_as(tokens)


class CutEvaAttention(EvaAttention):
    """timm's EvaAttention for any number of heads; its own forward takes for granted that they fill the width."""

    def forward(self, x: Tensor, rope: Tensor | None = None, **given: object) -> Tensor:
        if self.qkv is None:
            parts = self.q_proj(x), self.k_proj(x), self.v_proj(x)
        else:
            bias = None if self.q_bias is None else torch.cat((self.q_bias, self.k_bias, self.v_bias))
            parts = F.linear(x, self.qkv.weight, bias).chunk(3, dim=-1)
        q, k, v = (part.unflatten(-1, (self.num_heads, self.head_dim)).transpose(1, 2) for part in parts)
        q, k, first = self.q_norm(q), self.k_norm(k), self.num_prefix_tokens
        if rope is not None:
            turned = [apply_rot_embed_cat(part[:, :, first:], rope, half=self.rotate_half) for part in (q, k)]
            q, k = (torch.cat([p[:, :, :first], t], dim=2).type_as(v) for p, t in zip((q, k), turned, strict=True))
        out = F.scaled_dot_product_attention(q, k, v, dropout_p=self.attn_drop.p * self.training, **given)
        out = out.transpose(1, 2).flatten(2)
        return self.proj_drop(self.proj(out if self.gate is None else out * self.gate(x).sigmoid()))


def build(config: dict, tensors: dict[str, Tensor]) -> nn.Module:
    """The model that `config` describes: what it keeps of each block, with the numbers in `tensors`."""
    model = timm.create_model(config["model"]["name"], **config["model"]["arguments"])
    for attribute, value in config["model"]["attributes"].items():  # another pooling than timm's own
        setattr(model, attribute, value)
    for block, heads, neurons in zip(model.blocks, config["kept_heads"], config["kept_neurons"], strict=True):
        width = heads * block.attn.head_dim
        sizes = {"num_heads": heads, "num_kv_heads": heads, "attn_dim": width, "kv_dim": width}
        vars(block.attn).update({name: size for name, size in sizes.items() if name in vars(block.attn)})
        if isinstance(block.attn, EvaAttention):
            block.attn.__class__ = CutEvaAttention
        block.attn = block.attn if heads else Constant("proj", block.attn.proj)
        block.mlp = block.mlp if neurons else Constant("fc2", block.mlp.fc2)
    for name, tensor in tensors.items():
        path, _, leaf = name.rpartition(".")
        layer = model.get_submodule(path)
        setattr(layer, leaf, tensor if leaf in layer._buffers else nn.Parameter(tensor))
        if isinstance(layer, nn.Linear) and leaf == "weight":
            layer.out_features, layer.in_features = tensor.shape
    if missing := set(model.state_dict()) - set(tensors):
        raise ValueError(f"model.safetensors lacks {', '.join(sorted(missing))}")
    return model.eval()


def load(folder: str | Path = ".") -> nn.Module:
    """The model in `folder`, without what cut.py reads of an elastic export."""
    config = json.loads((Path(folder) / "config.json").read_text(encoding="utf-8"))
    tensors = load_file(Path(folder) / "model.safetensors")
    return build(config, {name: tensor for name, tensor in tensors.items() if not name.startswith("elastic.")})
