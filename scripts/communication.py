"""What processes that share a run send each other, and how long a model says that a run takes with many of them.

`python -m scripts.communication` writes docs/several_processes_model.md. Bytes follow from the sizes of the tensors
that are sent. Times are a model's, no measurement: rounds of equal items, a speed of arithmetic and of the network.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from snapvit.artifacts import Topology
from snapvit.formats import size
from snapvit.method.curvature import curvature_items
from snapvit.method.xnes import default_population
from snapvit.pipeline.config import PRESETS, RunConfig
from snapvit.pipeline.effort import Effort, forward_batch
from snapvit.pipeline.stages.correction import CORRECTION
from snapvit.pipeline.stages.curvature import CURVATURE
from snapvit.pipeline.stages.evaluation import EVALUATION
from snapvit.pipeline.stages.interactions import DISPLACEMENT, GAUSS_NEWTON
from snapvit.pipeline.stages.rivals import SNIP

OUT = Path(__file__).parents[1] / "docs" / "several_processes_model.md"
MODELS = {  # at 224 pixels with patches of 16
    "ViT-S/16": Topology(blocks=12, heads=6, head_width=64, hidden=1536, width=384, tokens=197),
    "ViT-B/16": Topology(blocks=12, heads=12, head_width=64, hidden=3072, width=768, tokens=197),
    "ViT-L/16": Topology(blocks=24, heads=16, head_width=64, hidden=4096, width=1024, tokens=197),
}
SIZES = (1, 8, 16, 32, 64)
NETWORKS = {"10 Gbit/s": 1.25e9, "100 Gbit/s": 12.5e9}  # bytes a second that a process sends, and receives
SPEED = 1e13  # multiply-adds and additions a second of a process: a GPU in single precision
LATENCY = 1e-4  # seconds of a message
FLOAT, DOUBLE = 4, 8  # bytes
INTRODUCTION = f"""# What several processes send each other: a model

Written by `python -m scripts.communication`. Bytes follow from the sizes of what is sent, for the preset `paper` at 224
pixels. **Times are a model's, not measured**: processes of equal speed ({SPEED / 1e12:g} Tflop/s each, about a GPU in
single precision), items of equal length, a network that gives every process its whole bandwidth at once,
{LATENCY * 1e3:g} ms a message. Loading, decoding, k-NN and what the first process does alone (ranking, writing,
latency) are left out, and make real efficiencies lower. Slower processes make them higher: they compute longer for the
same bytes. What limits many processes is less the network than the number of items: 39 cuts take 32 processes as long
as they take 20."""


@dataclass(frozen=True)
class Shared:
    """A stage that processes compute together."""

    name: str
    items: int  # that are dealt out, together `times` times
    passes: float  # of one image through the whole model, by all
    pieces: tuple[int, ...] = ()  # bytes of each piece of a sum that an item gives
    gathered: float = 0.0  # bytes of results that every process is given, in all
    told: float = 0.0  # bytes that the first process tells all, in all
    times: int = 1  # that everything is dealt out: generations of a search, batches of a displacement

    def sent(self, ranks: int) -> float:
        """Bytes that a process sends on average: a message to each of the others counts as often."""
        share, whole = (ranks - 1) / ranks, sum(self.pieces)
        items = [len(range(rank, self.items, ranks)) for rank in range(ranks)]
        to_owners = sum(count * (whole - sum(self.pieces[rank::ranks])) for rank, count in enumerate(items))
        return to_owners / ranks + (whole + self.gathered + self.told) * share

    def seconds(self, ranks: int, pass_seconds: float, bandwidth: float) -> float:
        """Rounds in which each process has one item, the costliest way of an exchange deciding."""
        computing = self.passes * pass_seconds * math.ceil(self.items / ranks) / self.items
        if ranks == 1:
            return computing
        owned = [sum(self.pieces[rank::ranks]) for rank in range(ranks)]
        depth, moved, messages = math.ceil(math.log2(ranks)), 0.0, self.times
        for first in range(0, self.items if self.pieces else 0, ranks):
            present = min(ranks, self.items - first)
            moved += max(sum(self.pieces) - min(owned), max(owned) * present)
            messages += 2
        moved += depth * (sum(self.pieces) + self.told) + self.gathered
        return computing + moved / bandwidth + messages * depth * LATENCY


def effort_of(topology: Topology, config: RunConfig) -> Effort:
    """As of a run that finds all images it asks for."""
    evaluation = config.evaluation
    return Effort(
        topology=topology,
        config=config,
        curvature_images=config.curvature.images,
        cka_images=config.cka.images,
        search_images=config.search.images,
        correction_images=config.correction.images,
        queries=evaluation.queries,
        knn_images=evaluation.queries + evaluation.gallery,
        gallery=evaluation.gallery,
        examples=8,
        interaction_images=config.interactions.images,
        calibration_images=10_000,
    )


def shared_stages(effort: Effort) -> list[Shared]:
    """Those of a run, and of what can be asked for beside it."""
    topology, config = effort.topology, effort.config
    blocks, heads, structures = topology.blocks, topology.heads * topology.head_width, topology.structures
    widths = (topology.hidden, heads) * blocks  # of the layers in their order
    batch = forward_batch(topology)
    population = config.search.population or default_population(structures)
    ranking = DOUBLE * blocks * (topology.hidden + topology.heads)
    row = effort.queries / 4 + 1000  # answers in hexadecimal, and the rest of a measurement
    points = config.evaluation.points
    components = min(config.search.components, topology.width)

    def passes(stage: object) -> float:
        return stage.units(effort, {}, None).total

    def items(images: int, size: int) -> int:
        return math.ceil(images / size)

    curvature = items(effort.curvature_images, effort.curvature_batch)
    summed = items(effort.curvature_images, curvature_items("accumulated", effort.curvature_batch))
    return [
        Shared("curvature", curvature, passes(CURVATURE), tuple(DOUBLE * n for n in widths)),
        Shared(
            "CKA map",
            items(effort.cka_images, batch),
            effort.cka_images,
            gathered=FLOAT * effort.cka_images * sum(widths),
        ),
        Shared(
            "search",
            population * len(config.search.pairs),
            config.search.generations * population * effort.candidate_units,
            gathered=config.search.generations * DOUBLE * population * len(config.search.pairs),
            told=config.search.generations * DOUBLE * population * structures,
            times=config.search.generations,
        ),
        Shared("evaluation", points, passes(EVALUATION), gathered=points * row, told=ranking),
        Shared(
            "correction",
            items(effort.correction_images, batch),
            passes(CORRECTION),
            tuple(FLOAT * n * (n + 1) for n in (topology.hidden,) * blocks + (heads,) * blocks),
        ),
        Shared(
            "evaluation, corrected",
            points,
            passes(EVALUATION),
            gathered=points * row,
            told=ranking + effort.correction_disk,
        ),
        Shared(
            "Gauss-Newton",
            items(effort.interaction_images, effort.images_at_once),
            passes(GAUSS_NEWTON),
            (DOUBLE * blocks * topology.hidden, DOUBLE * structures**2),
        ),
        Shared(
            "displacement",
            structures,
            passes(DISPLACEMENT),
            gathered=FLOAT * effort.interaction_images * structures * components,
            times=items(effort.interaction_images, batch),
        ),
        Shared("SNIP", summed, passes(SNIP), tuple(FLOAT * n * topology.width for n in widths)),
    ]


RUN = 6  # of these stages make a run


def pass_seconds(topology: Topology) -> float:
    """Of one image, by the model."""
    heads = topology.heads * topology.head_width
    by_token = topology.width * (4 * heads + 2 * topology.hidden) + 2 * topology.tokens * heads
    return 2 * topology.blocks * topology.tokens * by_token / SPEED


def report() -> str:
    """The page."""
    config = PRESETS["paper"]
    lines = [INTRODUCTION]
    for name, topology in MODELS.items():
        effort = effort_of(topology, config)
        stages = shared_stages(effort)
        lines += ["", f"## {name}", "", *_bytes_table(stages), "", *_times_table(stages[:RUN], pass_seconds(topology))]
    return "\n".join(lines) + "\n"


def _bytes_table(stages: Sequence[Shared]) -> list[str]:
    sizes = SIZES[1:]
    return [
        "| stage | items | image passes | " + " | ".join(f"sent by each of {n}" for n in sizes) + " |",
        "|---|--:|--:|" + "--:|" * len(sizes),
        *(
            f"| {s.name} | {f'{s.times} x ' if s.times > 1 else ''}{s.items:,} | {s.passes:,.0f} | "
            + " | ".join(size(round(s.sent(n))) for n in sizes)
            + " |"
            for s in stages
        ),
    ]


def _times_table(stages: Sequence[Shared], per_pass: float) -> list[str]:
    rows = []
    for network, bandwidth in NETWORKS.items():
        totals = [sum(s.seconds(n, per_pass, bandwidth) for s in stages) for n in SIZES]
        shown = (f"{t:,.0f} s ({totals[0] / t / n:.0%})" for n, t in zip(SIZES, totals, strict=True))
        rows.append(f"| {network} | " + " | ".join(shown) + " |")
    return [
        "| modelled run (efficiency) | " + " | ".join(f"{n} process{'es' if n > 1 else ''}" for n in SIZES) + " |",
        "|---|" + "--:|" * len(SIZES),
        *rows,
    ]


if __name__ == "__main__":
    OUT.write_text(report(), encoding="utf-8")
