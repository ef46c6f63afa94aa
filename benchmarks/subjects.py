"""Models, scores and images that the lines share. Timings need real shapes, not trained weights."""

from __future__ import annotations

import numpy as np
import timm
import torch
from torch import Tensor

from snapvit.artifacts import Curvature, Floors, Preprocess, Ranking, Topology
from snapvit.data.sources import open_source
from snapvit.data.splits import Split, split_source
from snapvit.elastic.ranking import final_scores, rank
from snapvit.models.anatomy import describe
from snapvit.models.loading import LoadedModel, load_model
from snapvit.models.spec import ModelSpec

VIT_S, VIT_B, VIT_L = "vit_small_patch16_224", "vit_base_patch16_224", "vit_large_patch14_dinov2"
FLOORS = Floors()


def random_vit(name: str, image_size: int = 224) -> LoadedModel:
    """A timm model with random weights: it costs what the trained one costs."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = timm.create_model(name, img_size=image_size).eval().requires_grad_(False)
    half = (0.5, 0.5, 0.5)
    preprocess = Preprocess((image_size, image_size), mean=half, std=half)
    return LoadedModel(model, describe(model), preprocess, digest="random weights", label=name)


def bundled() -> LoadedModel:
    """The bundled model."""
    return load_model(ModelSpec())


def bundled_split() -> Split:
    """Ids of the bundled images, as every run splits them."""
    return split_source(open_source("bundled"), 0)


def random_images(loaded: LoadedModel, count: int, seed: int = 0) -> Tensor:
    """(count, 3, h, w) like normalised images."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, 3, *loaded.preprocess.size, generator=generator)


def random_curvature(topology: Topology, seed: int = 0) -> Curvature:
    """Scores spread over some orders of magnitude, as measured ones are."""
    rng = np.random.default_rng(seed)
    mlp = rng.lognormal(size=(topology.blocks, topology.hidden))
    head = rng.lognormal(size=(topology.blocks, topology.heads))
    return Curvature(mlp.astype(np.float32), head.astype(np.float32), images=1)


def random_ranking(topology: Topology, seed: int = 0) -> Ranking:
    """The ranking of random scores."""
    return rank(final_scores(random_curvature(topology, seed), np.ones(topology.structures)), FLOORS)
