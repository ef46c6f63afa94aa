"""A model before and after a cut, block by block. It needs no weights, so pages can show it without loading any."""

from __future__ import annotations

from snapvit.artifacts import BlockSize, CostModel, Cut, StructureDiff, Topology


def structure_diff(topology: Topology, costs: CostModel, cut: Cut, params: int | None = None) -> StructureDiff:
    """Widths, parameters and multiply-accumulates of every block of the whole model and of what `cut` leaves.

    params: of the model that is left, where they were counted: a corrected layer may have gained a bias, a block
    without heads or neurons loses what only they needed.
    """

    def size(neurons: int, heads: int) -> BlockSize:
        return BlockSize(
            neurons=neurons,
            heads=heads,
            attention_width=heads * topology.head_width,
            mlp_params=neurons * costs.neuron_params,
            attention_params=heads * costs.head_params,
            mlp_macs=neurons * costs.neuron_macs,
            attention_macs=heads * costs.head_macs,
        )

    left = costs.base_params if params is None else costs.base_params + params - costs.params(cut)
    return StructureDiff(
        full=(size(topology.hidden, topology.heads),) * topology.blocks,
        cut=tuple(size(n, h) for n, h in zip(cut.kept_neurons, cut.kept_heads, strict=True)),
        rest_params=(costs.base_params, left),
        rest_macs=(costs.base_macs, costs.base_macs),
    )
