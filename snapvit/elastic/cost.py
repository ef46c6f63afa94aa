"""What a cut costs: parameters and multiply-accumulates exactly."""

from __future__ import annotations

from torch import nn

from snapvit.artifacts import CostModel
from snapvit.models.anatomy import Anatomy, Units


def cost_model(model: nn.Module, anatomy: Anatomy) -> CostModel:
    """Costs of every cut of the uncut `model`.

    MACs count linear layers, the patch convolution and the two products of attention; a bias, a norm or an
    activation counts nothing.
    """
    topology, block = anatomy.topology, anatomy.blocks[0]
    tokens, head_width = topology.tokens, topology.head_width
    neuron_params, head_params = _params_each(block.neurons), _params_each(block.heads)
    cuttable = topology.blocks * (topology.hidden * neuron_params + topology.heads * head_params)
    patches = tokens - anatomy.prefix_tokens
    patch_macs = patches * model.patch_embed.proj.weight.numel()
    return CostModel(
        base_params=sum(p.numel() for p in model.parameters()) - cuttable,
        neuron_params=neuron_params,
        head_params=head_params,
        base_macs=patch_macs + _pool_macs(model, anatomy.pooled_tokens) + _classifier_macs(model),
        neuron_macs=tokens * _weights_each(block.neurons),
        head_macs=tokens * _weights_each(block.heads) + 2 * tokens * tokens * head_width,
    )


def _params_each(units: Units) -> int:
    """Parameters of one neuron or head; a buffer is none."""
    return sum(t.numel() for t in units.tensors() if isinstance(t, nn.Parameter)) // units.count


def _weights_each(units: Units) -> int:
    """Weights of one neuron or head: each takes part in one multiplication a token."""
    return sum(t.numel() for t in units.tensors() if t.ndim == 2) // units.count


def _classifier_macs(model: nn.Module) -> int:
    """Of the classifier, or both of a distilled model."""
    found = model.get_classifier()
    layers = found if isinstance(found, tuple) else (found,)
    return sum(layer.weight.numel() for layer in layers if isinstance(layer, nn.Linear))


def _pool_macs(model: nn.Module, seen: int) -> int:
    """Of timm's attention pooling, where a few learned queries look at `seen` tokens."""
    pool = model.attn_pool
    if pool is None:
        return 0
    queries = [pool.q, pool.proj] + ([pool.mlp.fc1, pool.mlp.fc2] if pool.mlp is not None else [])
    per_query = sum(layer.weight.numel() for layer in queries if isinstance(layer, nn.Linear))
    products = 2 * seen * pool.num_heads * pool.head_dim
    return seen * pool.kv.weight.numel() + pool.latent_len * (per_query + products)
