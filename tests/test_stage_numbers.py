"""The numbers of a run against a plain timm model, scikit-learn and counts made here."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from sklearn.neighbors import KNeighborsClassifier
from timm.models.vision_transformer import VisionTransformer

from snapvit.data.fashion_mnist import FASHION_MNIST
from snapvit.models.loading import BUNDLED_CHECKPOINT, weights_digest
from snapvit.pipeline.config import PRESETS, RunRequest, path_pair, path_points, with_settings
from snapvit.pipeline.progress import Reporter
from snapvit.pipeline.results import StoredRun, load_results
from snapvit.pipeline.running import run_pipeline
from snapvit.pipeline.table import main_stages
from snapvit.pipeline.workspace import Workspace
from snapvit.store.store import Store


@pytest.fixture(scope="module")
def opened(small_request: RunRequest) -> Workspace:
    return Workspace.open(small_request)


@pytest.fixture(scope="module")
def plain() -> VisionTransformer:
    """The bundled weights in a timm model that nothing of this project has touched."""
    with safe_open(BUNDLED_CHECKPOINT, framework="pt") as file:
        config = json.loads(file.metadata()["config"])
    with torch.random.fork_rng():
        model = VisionTransformer(**config)
    model.load_state_dict(load_file(BUNDLED_CHECKPOINT))
    return model.float().eval().requires_grad_(False)


@pytest.fixture(scope="module")
def embedding() -> Callable[[VisionTransformer, np.ndarray], np.ndarray]:
    """A model's embeddings of bundled images by their ids, the pixels read and normalised here."""
    raw = gzip.decompress((FASHION_MNIST / "t10k-images-idx3-ubyte.gz").read_bytes())[16:]
    pixels = np.frombuffer(raw, np.uint8).reshape(-1, 1, 28, 28).repeat(3, axis=1)
    with safe_open(BUNDLED_CHECKPOINT, framework="pt") as file:
        mean, std = (float(file.metadata()[name]) for name in ("mean", "std"))

    def embed(model: VisionTransformer, ids: np.ndarray) -> np.ndarray:
        images = (torch.from_numpy(pixels[ids] / 255.0).float() - mean) / std
        return model.forward_head(model.forward_features(images), pre_logits=True).numpy()

    return embed


@pytest.fixture(scope="module")
def labels() -> np.ndarray:
    raw = gzip.decompress((FASHION_MNIST / "t10k-labels-idx1-ubyte.gz").read_bytes())[8:]
    return np.frombuffer(raw, np.uint8).astype(np.int64)


def test_shapes_and_counts_are_those_asked_for(finished, small_request):
    results = load_results(finished, small_request.run)
    assert results.curvature.mlp.shape == (12, 576)
    assert results.curvature.head.shape == (12, 6)
    assert (results.curvature.images, results.cka.images) == (4, 16)
    assert results.cka.values.shape == (84, 84)
    assert results.search.fitness.shape == (3, 4, 2)
    assert (results.search.covariances.shape, results.search.mixings.shape) == ((1, 84, 84), (3, 4, 4))
    assert sorted(results.ranking.mlp.tolist()) == list(range(12 * 576))
    table = results.measurements
    assert (table.k, table.gallery, table.queries) == (5, 60, 20)
    assert [(m, h) for m, h in zip(table.mlp, table.heads, strict=True)] == [path_pair(s) for s in path_points(3)]
    assert results.summary.state == "finished"
    assert results.summary.done == tuple(s.name for s in main_stages(small_request) if not s.passing)
    assert results.request == small_request


def sklearn_hits(
    k: int, gallery: np.ndarray, queries: np.ndarray, votes: np.ndarray, truth: np.ndarray, own_ties: bool = False
) -> int:
    """Queries named right by a majority whose ties go to the nearest: all bonuses together are less than one vote.

    `own_ties`: they go to the class that is first in order, which is what scikit-learn does by itself.
    """
    bonus = 0.5 ** (1 + np.arange(k))
    weights = "uniform" if own_ties else lambda d: 1 + bonus + 0 * d
    classifier = KNeighborsClassifier(k, algorithm="brute", metric="cosine", weights=weights)
    classifier.fit(gallery.astype(np.float64), votes)
    return int((classifier.predict(queries.astype(np.float64)) == truth).sum())


QUICK = PRESETS["quick"].evaluation


@pytest.mark.parametrize(
    ("k", "gallery", "queries"), [(5, 60, 20), (20, 300, 200), (QUICK.k, QUICK.gallery, QUICK.queries)]
)
def test_top1_of_the_whole_model_is_that_of_scikit_learn_on_plain_embeddings(
    finished, small_request, opened, plain, embedding, labels, k, gallery, queries
):
    sizes = (f"evaluation.k={k}", f"evaluation.gallery={gallery}", f"evaluation.queries={queries}")
    settings = with_settings(small_request.config, ["evaluation.points=2", *sizes])
    request = replace(small_request, config=settings)
    run_pipeline(request, finished, Reporter())
    own, asked = opened.split.gallery[:gallery], opened.split.query[:queries]
    hits = sklearn_hits(k, embedding(plain, own), embedding(plain, asked), labels[own], labels[asked])
    whole = StoredRun.open(finished, request.run).measurement(0.0, 0.0)
    assert whole.hits == hits
    assert whole.top1 == hits / queries
    assert 0.5 < whole.top1 <= 1
    assert whole.cosine == pytest.approx(1.0, abs=1e-5)


def test_top1_of_the_shipped_run_is_that_of_plain_scikit_learn(opened, plain, embedding, labels):
    """At this size even the rule for ties makes no difference to the sum."""
    request = RunRequest(config=PRESETS["paper"])
    sizes = request.config.evaluation
    own, asked = opened.split.gallery[: sizes.gallery], opened.split.query[: sizes.queries]
    pictures = embedding(plain, own), embedding(plain, asked), labels[own], labels[asked]
    shipped = StoredRun.open(Store(Path(__file__).parents[1] / "cache"), request.run).measurement(0.0, 0.0)
    assert shipped.queries == len(asked) == 2000
    assert shipped.hits == sklearn_hits(sizes.k, *pictures, own_ties=True)


def test_a_cut_measures_like_a_plain_model_with_its_lost_structures_masked(
    finished, small_request, opened, plain, embedding, labels, masked_copy, naive_kept
):
    found = load_results(finished, small_request.run)
    size = np.abs(found.search.factors)
    scores = found.curvature.mlp.astype(np.float64) * size[:12, None]
    head_scores = found.curvature.head.astype(np.float64) * size[12:].reshape(12, 6)
    own, asked = opened.split.gallery[:60], opened.split.query[:20]
    whole = embedding(plain, asked).astype(np.float64)
    for sparsity in (0.475, 0.95):
        measured = StoredRun.open(finished, small_request.run).measurement(*path_pair(sparsity))
        kept = naive_kept(scores, 0.05, measured.cut.mlp), naive_kept(head_scores, 0.2, measured.cut.heads)
        assert tuple(map(len, kept[0])) == measured.cut.kept_neurons
        assert tuple(map(len, kept[1])) == measured.cut.kept_heads
        masked = masked_copy(plain, *kept)
        queries = embedding(masked, asked).astype(np.float64)
        hits = sklearn_hits(5, embedding(masked, own), queries, labels[own], labels[asked])
        assert abs(measured.hits - hits) <= 1  # a near tie may fall either way after other rounding
        cosines = (queries * whole).sum(axis=1) / np.linalg.norm(queries, axis=1) / np.linalg.norm(whole, axis=1)
        assert measured.cosine == pytest.approx(cosines.mean(), abs=1e-4)


def test_parameters_are_those_of_the_weights_that_stay(finished, small_request, plain):
    """Counted on slices of the plain model's own weights, which the kept neurons and heads name."""
    results = load_results(finished, small_request.run)
    table, ranking = results.measurements, results.ranking
    for i in range(len(table)):
        row = table.row(i)
        removed_mlp = set(ranking.mlp[: 12 * 576 - sum(row.cut.kept_neurons)].tolist())
        removed_heads = set(ranking.head[: 72 - sum(row.cut.kept_heads)].tolist())
        total = sum(p.numel() for name, p in plain.named_parameters() if ".mlp." not in name and ".attn." not in name)
        for b, block in enumerate(plain.blocks):
            neurons = [f for f in range(576) if b * 576 + f not in removed_mlp]
            heads = [h for h in range(6) if b * 6 + h not in removed_heads]
            assert (len(neurons), len(heads)) == (row.cut.kept_neurons[b], row.cut.kept_heads[b])
            rows = [part * 144 + h * 24 + r for part in range(3) for h in heads for r in range(24)]
            columns = [h * 24 + r for h in heads for r in range(24)]
            mlp, attention = block.mlp, block.attn
            parts = [mlp.fc1.weight[neurons], mlp.fc1.bias[neurons], mlp.fc2.weight[:, neurons], mlp.fc2.bias]
            parts += [attention.qkv.weight[rows], attention.qkv.bias[rows]]
            parts += [attention.proj.weight[:, columns], attention.proj.bias]
            total += sum(part.numel() for part in parts)
        assert row.params == total
    whole = StoredRun.open(finished, small_request.run).measurement(0.0, 0.0)
    assert whole.params == sum(p.numel() for p in plain.parameters())


def test_cuts_remove_the_share_that_was_asked_for(finished, small_request):
    table = load_results(finished, small_request.run).measurements
    for i in range(len(table)):
        cut = table.row(i).cut
        floor_neurons, floor_heads = int(0.05 * 576), int(0.2 * 6)
        assert sum(cut.kept_neurons) == max(12 * 576 - int(cut.mlp * 12 * 576 + 1e-9), 12 * floor_neurons)
        assert sum(cut.kept_heads) == max(72 - int(cut.heads * 72 + 1e-9), 12 * floor_heads)
        assert min(cut.kept_neurons) >= floor_neurons
        assert min(cut.kept_heads) >= floor_heads


def test_the_model_is_bit_for_bit_what_it_was(tmp_path, small_request, plain):
    used = run_pipeline(small_request, Store(tmp_path), Reporter()).loaded
    assert weights_digest(used.model) == used.digest
    own, reference = used.model.state_dict(), plain.state_dict()
    assert list(own) == list(reference)
    for name, tensor in reference.items():
        assert own[name].shape == tensor.shape
        assert own[name].contiguous().numpy().tobytes() == tensor.contiguous().numpy().tobytes(), name
    assert str(used.model) == str(plain)  # the same layers of the same widths
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in used.model.modules())
    images = torch.randn(3, 3, 28, 28, generator=torch.Generator().manual_seed(1))
    assert torch.equal(used.model(images), plain(images))
