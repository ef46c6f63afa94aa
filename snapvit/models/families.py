"""The model families that the explorer cuts, and what the tests check for each: read by people, errors and tests.

The tests take their models and sparsities from here (tests/test_families.py), so that the table says what is checked.
This module imports no torch, so that the command line and the pages can show the table at once.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import product


@dataclass(frozen=True)
class Check:
    """A timm architecture that is built with random weights and checked."""

    architecture: str
    image_size: int = 0  # pixels of the real forward passes: a few tokens are enough to tell right from wrong
    blocks: int | None = None  # how many of its blocks really run, at full width; None: all of them
    costs_only: bool = False  # too large to run: described and counted on shapes without numbers

    def __str__(self) -> str:
        return self.architecture

    @property
    def claims(self) -> list[str]:
        """Names in CHECKED of what is checked of it."""
        return [COSTS_ONLY] if self.costs_only else list(CHECKED)

    @property
    def extent(self) -> str:
        """How much of it runs, for people."""
        if self.costs_only:
            return "costs only"
        return "whole" if self.blocks is None else f"{self.blocks} block{'s' * (self.blocks > 1)} at full width"


@dataclass(frozen=True)
class Family:
    """Models that were trained and published together."""

    name: str
    examples: tuple[str, ...]  # timm names; {a,b} stands for either
    mlp: str
    attention: str
    special: str
    reference: str  # arXiv number
    small: Check
    large: tuple[Check, ...]

    @property
    def checks(self) -> tuple[Check, ...]:
        """Every architecture that the tests build."""
        return (self.small, *self.large)

    def example_names(self) -> list[str]:
        """The examples, every choice written out."""
        return [name for example in self.examples for name in _written_out(example)]


def _written_out(example: str) -> list[str]:
    parts = re.split(r"{(.*?)}", example)  # plain text and choices in turn
    return ["".join(chosen) for chosen in product(*(part.split(",") for part in parts))]


FAMILIES = (
    Family(
        name="DINO",
        examples=("vit_{small,base}_{patch16,patch8}_224.dino",),
        mlp="fc1/fc2",
        attention="fused qkv",
        special="no classification head",
        reference="2104.14294",
        small=Check("vit_small_patch16_224.dino", 48),
        large=(Check("vit_base_patch8_224.dino", 24),),
    ),
    Family(
        name="DINOv2",
        examples=(
            "vit_{small,base,large,giant}_patch14_dinov2.lvd142m",
            "vit_{small,base,large,giant}_patch14_reg4_dinov2.lvd142m",
        ),
        mlp="fc1/fc2; giant: packed SwiGLU",
        attention="fused qkv",
        special="layer scale, four registers in _reg4_",
        reference="2304.07193",
        small=Check("vit_small_patch14_reg4_dinov2.lvd142m", 42),
        large=(
            Check("vit_base_patch14_dinov2.lvd142m", 42),
            Check("vit_large_patch14_dinov2.lvd142m", 42, blocks=3),
            Check("vit_giant_patch14_reg4_dinov2.lvd142m", 42, blocks=1),
        ),
    ),
    Family(
        name="DINOv3",
        examples=(
            "vit_{small,base,large}_patch16_dinov3.lvd1689m",
            "vit_{small,base}_patch16_dinov3_qkvb.lvd1689m",
            "vit_{small,huge}_plus_patch16_dinov3.lvd1689m",
            "vit_7b_patch16_dinov3.lvd1689m",
        ),
        mlp="fc1/fc2; plus and 7b: split SwiGLU",
        attention="fused qkv, rotary; _qkvb: query, key and value bias apart",
        special="layer scale, four registers",
        reference="2508.10104",
        small=Check("vit_small_plus_patch16_dinov3.lvd1689m", 48),
        large=(
            Check("vit_base_patch16_dinov3_qkvb.lvd1689m", 48),
            Check("vit_huge_plus_patch16_dinov3.lvd1689m", 48, blocks=1),
            Check("vit_7b_patch16_dinov3.lvd1689m", costs_only=True),
        ),
    ),
    Family(
        name="SigLIP 2",
        examples=(
            "vit_base_patch16_siglip_{224,256}.v2_webli",
            "vit_base_patch16_siglip_gap_{224,256}.v2_webli",
            "vit_so400m_patch14_siglip_224.v2_webli",
            "vit_giantopt_patch16_siglip_256.v2_webli",
        ),
        mlp="fc1/fc2",
        attention="fused qkv",
        special="attention-pool head, or average (_gap_); no class token",
        reference="2502.14786",
        small=Check("vit_base_patch16_siglip_gap_224.v2_webli", 48),
        large=(
            Check("vit_base_patch16_siglip_224.v2_webli", 48),
            Check("vit_so400m_patch14_siglip_224.v2_webli", 42, blocks=1),
            Check("vit_giantopt_patch16_siglip_256.v2_webli", 48, blocks=1),
        ),
    ),
    Family(
        name="DeiT",
        examples=("deit_{tiny,small,base}_{patch16,distilled_patch16}_224.fb_in1k",),
        mlp="fc1/fc2",
        attention="fused qkv",
        special="distilled: a second prefix token and a second classifier",
        reference="2012.12877",
        small=Check("deit_tiny_distilled_patch16_224.fb_in1k", 48),
        large=(Check("deit_base_patch16_224.fb_in1k", 48),),
    ),
    Family(
        name="DeiT-III",
        examples=("deit3_{small,base,large}_patch16_224.fb_in1k", "deit3_huge_patch14_224.fb_in1k"),
        mlp="fc1/fc2",
        attention="fused qkv",
        special="layer scale",
        reference="2204.07118",
        small=Check("deit3_small_patch16_224.fb_in1k", 48),
        large=(
            Check("deit3_base_patch16_224.fb_in1k", 48),
            Check("deit3_huge_patch14_224.fb_in1k", 42, blocks=1),
        ),
    ),
    Family(
        name="AugReg",
        examples=("vit_{tiny,small,base,large}_patch16_224.augreg_in21k_ft_in1k",),
        mlp="fc1/fc2",
        attention="fused qkv",
        special="",
        reference="2106.10270",
        small=Check("vit_tiny_patch16_224.augreg_in21k_ft_in1k", 48),
        large=(
            Check("vit_base_patch16_224.augreg_in21k_ft_in1k", 48),
            Check("vit_large_patch16_224.augreg_in21k_ft_in1k", 48, blocks=3),
        ),
    ),
)

# The (mlp, heads) sparsities at which slicing is compared with masking.
SPARSITIES = ((0.35, 0.2), (0.65, 0.5), (0.95, 0.8))
TOLERANCE = 1e-5  # of the largest number of the embedding

# What is checked on every architecture above, by the name of the test that does it (tests/test_families.py).
CHECKED = {
    "test_slicing_equals_masking": "Slicing equals masking in the full model: embeddings differ by at most "
    f"{TOLERANCE:g} of their largest number in float32, at (MLP, head) sparsities "
    f"{', '.join(map(str, SPARSITIES))}, with a block that loses all heads and one that loses its whole MLP, there and "
    "back; leaving gives every weight back bit for bit.",
    "test_costs_are_counted": "Parameters and MACs equal a count of the model that is left, uncut, at these sparsities "
    "and without any head or neuron, with all blocks and at the architecture's own image size.",
    "test_curvature_is_finite": "The curvature stage gives finite scores of the right shape, more than nine in ten of "
    "them above 0.",
    "test_cka_is_a_map": "The CKA stage gives a finite map of the right shape.",
    "test_the_embedding_feeds_the_head": "The embedding is what goes into the classification head.",
}
COSTS_ONLY = "test_costs_are_counted"  # all that is checked where running takes too much


def markdown_table() -> str:
    """The families as a table for the README."""
    rows = [
        ("Family", "timm models, for example", "MLP", "Attention", "Special", "Checked"),
        ("---",) * 6,
    ]
    for family in FAMILIES:
        examples = "<br>".join(f"`{example}`" for example in family.examples)
        name = f"[{family.name}](https://arxiv.org/abs/{family.reference})"
        checked = "<br>".join(f"`{_untagged(check)}` ({check.extent})" for check in family.checks)
        rows.append((name, examples, family.mlp, family.attention, family.special or "-", checked))
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def plain_text() -> str:
    """The families and what was checked, for a terminal."""
    lines = []
    for family in FAMILIES:
        lines += [
            f"{family.name} (arXiv {family.reference})",
            *(f"  {'timm' if i == 0 else '':10} {example}" for i, example in enumerate(family.examples)),
            f"  MLP        {family.mlp}",
            f"  attention  {family.attention}",
        ]
        if family.special:
            lines.append(f"  special    {family.special}")
        checks = [f"{_untagged(check)} ({check.extent})" for check in family.checks]
        lines += [f"  {'checked' if i == 0 else '':10} {check}" for i, check in enumerate(checks)]
        lines.append("")
    lines.append("Checked, on these architectures with random weights ('costs only': the second alone):")
    lines += [f"  {number}. {claim}" for number, claim in enumerate(CHECKED.values(), 1)]
    return "\n".join(lines)


def _untagged(check: Check) -> str:
    """Without the weights' name, which the check, on random ones, has nothing to do with."""
    return check.architecture.split(".")[0]
