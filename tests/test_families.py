"""The registry's architectures, randomly initialised, through everything that reads anatomy.

What runs here, on what and to which tolerance, is taken from snapvit/models/families.py, so that the table of families
says what is checked.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from torch import Tensor, nn

from snapvit.artifacts import Cut, Floors, Ranking, Scores, Topology
from snapvit.elastic.cost import cost_model
from snapvit.elastic.ranking import cut_at, rank
from snapvit.elastic.vit import ElasticViT
from snapvit.method.cka import estimate_cka
from snapvit.method.curvature import estimate_curvature
from snapvit.models.anatomy import Anatomy, describe
from snapvit.models.embedding import embed
from snapvit.models.families import CHECKED, FAMILIES, SPARSITIES, TOLERANCE, Check, markdown_table, plain_text

EVERY = [check for family in FAMILIES for check in family.checks]
RUN = [check for check in EVERY if not check.costs_only]


@dataclass
class Built:
    """A frozen model at its check's image size and number of blocks."""

    model: nn.Module
    anatomy: Anatomy
    images: Tensor  # (4, 3, h, w)


@pytest.fixture(scope="module")
def built(request, randomise_model) -> Built:
    """Of the check given: built once for all tests, of which none may leave a trace."""
    check: Check = request.param
    depth = {} if check.blocks is None else {"depth": check.blocks}
    with torch.random.fork_rng():
        model = timm.create_model(check.architecture, img_size=check.image_size, **depth)
    randomise_model(model, 0)
    model = model.eval().requires_grad_(False)
    size = check.image_size
    images = torch.randn(4, 3, size, size, generator=torch.Generator().manual_seed(0))
    return Built(model, describe(model), images)


@cache
def on_meta(architecture: str) -> nn.Module:
    """On the meta device a model of any size has its shapes and no numbers."""
    with torch.device("meta"):
        return timm.create_model(architecture).eval().requires_grad_(False)


def ranking_of(topology: Topology) -> Ranking:
    rng = np.random.default_rng(0)
    mlp, heads = ((topology.blocks, topology.hidden), (topology.blocks, topology.heads))
    return rank(Scores(rng.exponential(size=mlp), rng.exponential(size=heads)), Floors(0, 0))


@contextmanager
def masked(model: nn.Module, ranking: Ranking, cut: Cut) -> Iterator[None]:
    """Within, what `cut` removes reaches no further than the layers that would read it."""
    with ExitStack() as stack:
        for block, order, kept in zip(model.blocks, ranking.neuron_order(), cut.kept_neurons, strict=True):
            mask = torch.zeros(len(order))
            mask[order[:kept]] = 1
            stack.callback(block.mlp.fc2.register_forward_pre_hook(lambda _, i, m=mask: (i[0] * m,)).remove)
        for block, order, kept in zip(model.blocks, ranking.head_order(), cut.kept_heads, strict=True):
            mask = torch.zeros(len(order))
            mask[order[:kept]] = 1
            mask = mask.repeat_interleave(block.attn.head_dim)
            stack.callback(block.attn.proj.register_forward_pre_hook(lambda _, i, m=mask: (i[0] * m,)).remove)
        yield


def numbers(model: nn.Module) -> dict[str, Tensor]:
    return dict(model.named_parameters()) | dict(model.named_buffers())


@pytest.mark.parametrize("built", RUN, ids=str, indirect=True)
def test_slicing_equals_masking(built):
    model, topology, images = built.model, built.anatomy.topology, built.images
    ranking = ranking_of(topology)
    cuts = [cut_at(ranking, *pair) for pair in SPARSITIES]
    neurons, heads = (topology.hidden,) * topology.blocks, (topology.heads,) * topology.blocks
    cuts += [Cut(0, 0, neurons, (0, *heads[1:])), Cut(0, 0, (*neurons[1:], 0), heads)]
    before = {name: tensor.clone() for name, tensor in numbers(model).items()}
    with torch.no_grad():
        whole, want = embed(model, images), []
        for cut in cuts:
            with masked(model, ranking, cut):
                want.append(embed(model, images))
            assert (want[-1] - whole).abs().max() > 100 * TOLERANCE * whole.abs().max(), "the cut must matter"
        with ElasticViT(model, built.anatomy, ranking.neuron_order(), ranking.head_order()) as elastic:
            for i in (0, 1, 2, 3, 4, 2, 1, 0):
                elastic.keep(cuts[i])
                share = (embed(elastic.model, images) - want[i]).abs().max() / want[i].abs().max()
                assert share <= TOLERANCE, cuts[i]
            elastic.show_all()
            assert (embed(elastic.model, images) - whole).abs().max() <= TOLERANCE * whole.abs().max()
    assert all(torch.equal(tensor, before[name]) for name, tensor in numbers(model).items())


@pytest.mark.parametrize("check", EVERY, ids=str)
def test_costs_are_counted(check, count_macs):
    model = on_meta(check.architecture)
    image = torch.empty(1, 3, *model.patch_embed.img_size, device="meta")
    anatomy = describe(model)
    costs, topology, ranking = cost_model(model, anatomy), anatomy.topology, ranking_of(anatomy.topology)
    cuts = [cut_at(ranking, *pair) for pair in ((0, 0), *SPARSITIES)]
    cuts.append(Cut(0, 0, (0,) * topology.blocks, (0,) * topology.blocks))
    with ElasticViT(model, anatomy, ranking.neuron_order(), ranking.head_order()) as elastic:
        for cut in cuts:
            elastic.keep(cut)
            assert costs.params(cut) == sum(p.numel() for p in elastic.model.parameters()), cut
            assert costs.macs(cut) == count_macs(elastic.model, image), cut


@pytest.mark.parametrize("built", RUN, ids=str, indirect=True)
def test_curvature_is_finite(built):
    topology = built.anatomy.topology
    views = torch.randn(3, 2, *built.images.shape[1:], generator=torch.Generator().manual_seed(1))
    found = estimate_curvature(built.model, built.anatomy, [views], global_views=2)
    assert found.mlp.shape == (topology.blocks, topology.hidden)
    assert found.head.shape == (topology.blocks, topology.heads)
    for scores in (found.mlp, found.head):
        assert np.isfinite(scores).all()
        assert (scores >= 0).all()
        assert (scores > 0).mean() > 0.9, "a layer that nothing was read from has no curvature"


@pytest.mark.parametrize("built", RUN, ids=str, indirect=True)
def test_cka_is_a_map(built):
    found = estimate_cka(built.model, built.anatomy, [built.images])
    structures = built.anatomy.topology.structures
    assert found.values.shape == (structures, structures)
    assert np.isfinite(found.values).all()
    off_diagonal = found.values[~np.eye(structures, dtype=bool)]
    assert off_diagonal.min() > 0 and off_diagonal.max() < 1


@pytest.mark.parametrize("built", RUN, ids=str, indirect=True)
def test_the_embedding_feeds_the_head(built):
    """The mean of what goes into the classifiers: one, two of a distilled model, or an identity in their place."""
    model, fed = built.model, []
    heads = model.get_classifier()
    hooks = [
        head.register_forward_pre_hook(lambda _, inputs: fed.append(inputs[0]))
        for head in (heads if isinstance(heads, tuple) else (heads,))
    ]
    with torch.inference_mode():
        model(built.images)
        found = embed(model, built.images)
    for hook in hooks:
        hook.remove()
    assert found.shape == (4, built.anatomy.topology.width)
    torch.testing.assert_close(found, torch.stack(fed[: len(hooks)]).mean(dim=0))


def test_every_claim_of_the_registry_is_a_test_of_its_architectures():
    marks = {name: value.pytestmark[0].args for name, value in globals().items() if hasattr(value, "pytestmark")}
    tested = {name: values for name, (argument, values) in marks.items() if argument in ("built", "check")}
    assert set(CHECKED) == set(tested)
    for check in EVERY:
        assert check.claims == [name for name in CHECKED if check in tested[name]], check


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_every_family_has_a_small_and_a_large_architecture_that_runs(family):
    def size(check: Check) -> int:
        return sum(p.numel() for p in on_meta(check.architecture).parameters())

    assert not family.small.costs_only
    assert any(not check.costs_only for check in family.large)
    assert all(size(check) > size(family.small) for check in family.large)
    assert max(size(check) for check in family.large) > 80e6


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_every_example_is_a_model_that_timm_has_with_weights(family):
    known = set(timm.list_models(pretrained=True))
    for name in family.example_names():
        assert name in known, name
    assert {check.architecture for check in family.checks} <= set(family.example_names())


def test_the_readme_has_the_table_and_the_claims():
    readme = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    assert markdown_table() in readme, "write markdown_table() under the heading Model families"
    for claim in CHECKED.values():
        assert claim in " ".join(readme.split()), claim


def test_the_terminal_sees_every_family_architecture_and_claim():
    text = plain_text()
    for family in FAMILIES:
        assert f"{family.name} (arXiv {family.reference})" in text
        for check in family.checks:
            assert f"{check.architecture.split('.')[0]} ({check.extent})" in text
    assert all(claim in text for claim in CHECKED.values())
