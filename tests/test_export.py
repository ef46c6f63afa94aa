"""Exports, loaded by one fresh process that cannot see this package, against the elastic models they come from."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import timm
import torch

import snapvit
from snapvit.artifacts import Cut, Floors, Preprocess, Ranking, Scores
from snapvit.elastic.correction import ElasticCorrection, collect_statistics
from snapvit.elastic.cost import cost_model
from snapvit.elastic.ranking import cut_at, rank
from snapvit.elastic.vit import ElasticViT
from snapvit.errors import InputError
from snapvit.export.drafts import ELASTIC_PAIRS, Draft, Origin, draft_cut, draft_elastic
from snapvit.export.extras import PACKAGES
from snapvit.export.formats import ONNX, PROGRAM, write_onnx, write_program
from snapvit.export.hand_over import hand_over, write_files
from snapvit.export.proof import Proof, Trial, other_error, prove
from snapvit.export.shown import Blueprint, outputs, pooling_of
from snapvit.models.anatomy import describe
from snapvit.models.embedding import embed
from snapvit.models.families import FAMILIES
from snapvit.models.loading import LoadedModel, load_model
from snapvit.models.spec import ModelSpec

PAIRS = ((0.35, 0.2), (0.65, 0.5), (0.95, 0.8))
DEIT = Path(__file__).parents[2] / "shared" / "reference" / "deit_tiny_patch16_224.safetensors"
MODELS = (
    "bundled",
    "DeiT-Tiny",
    *(family.small.architecture for family in FAMILIES),
    QKVB := "vit_small_patch16_dinov3_qkvb",
)
SIZES = {family.small.architecture: family.small.image_size for family in FAMILIES} | {QKVB: 48}


def ranking_for(topology, floors: Floors) -> Ranking:
    rng = np.random.default_rng(0)
    mlp, heads = ((topology.blocks, topology.hidden), (topology.blocks, topology.heads))
    return rank(Scores(rng.exponential(size=mlp), rng.exponential(size=heads)), floors)


@dataclass
class Subject:
    """A whole model that cuts are taken from, and images for it."""

    model: torch.nn.Module
    origin: Origin
    ranking: Ranking
    images: torch.Tensor

    def elastic(self, correct: bool = False) -> ElasticViT:
        anatomy, orders = describe(self.model), (self.ranking.neuron_order(), self.ranking.head_order())
        correction = None
        if correct:
            statistics = collect_statistics(self.model, anatomy, [self.images])
            correction = ElasticCorrection(statistics, *orders, "max", 1.0)  # strong, as the images are few
        return ElasticViT(self.model, anatomy, *orders, correction)


def of_loaded(loaded: LoadedModel, images: int) -> Subject:
    noise = torch.randn(images, 3, *loaded.preprocess.size, generator=torch.Generator().manual_seed(0))
    origin = Origin.of(loaded, {"run": "none"})
    return Subject(loaded.model, origin, ranking_for(loaded.anatomy.topology, Floors()), noise)


def random_subject(name: str, randomise) -> Subject:
    size = SIZES[name]
    arguments = {"img_size": size, "depth": 2, "num_classes": 7}  # two blocks are enough to tell right from wrong
    with torch.random.fork_rng():
        model = timm.create_model(name, **arguments)
    randomise(model, 0)
    model = model.eval().requires_grad_(False)
    anatomy = describe(model)
    preprocess = Preprocess((size, size), (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    blueprint = Blueprint(name.partition(".")[0], arguments, pooling_of(model))
    origin = Origin(name, blueprint, preprocess, anatomy.topology, cost_model(model, anatomy), {})
    images = torch.randn(4, 3, size, size, generator=torch.Generator().manual_seed(0))
    return Subject(model, origin, ranking_for(anatomy.topology, Floors(0, 0)), images)


@pytest.fixture(scope="module")
def subject(randomise_model, bundled):
    """A subject by its name, each made once."""
    made: dict[str, Subject] = {}

    def of(name: str) -> Subject:
        if name not in made:
            if name == "bundled":
                made[name] = of_loaded(bundled, 4)
            elif name == "DeiT-Tiny":
                if not DEIT.exists():
                    pytest.skip(f"{DEIT.name} is not beside this checkout")
                made[name] = of_loaded(load_model(ModelSpec("deit_tiny_patch16_224", str(DEIT))), 2)
            else:
                made[name] = random_subject(name, randomise_model)
        return made[name]

    return of


@pytest.fixture(scope="module")
def proofs(subject, tmp_path_factory, randomise_model) -> dict[tuple[str, bool, object], tuple[Proof, Draft, Path]]:
    """Every model at three sparsities, as cut and corrected, one of them elastic and one with emptied blocks: written,
    and judged by one fresh process."""
    root, drafts = tmp_path_factory.mktemp("exports"), {}
    for name in MODELS:
        if name == "DeiT-Tiny" and not DEIT.exists():
            continue
        of = subject(name)
        for correct in (False, True):
            with of.elastic(correct) as elastic:
                for pair in PAIRS:
                    drafts[name, correct, pair] = draft_cut(elastic, cut_at(of.ranking, *pair), of.origin, of.images)
                if name == "bundled":
                    drafts[name, correct, "elastic"] = draft_elastic(elastic, of.ranking, of.origin, of.images)
                if name == MODELS[4]:  # DINOv3: EvaAttention with rotary embedding
                    topology = of.origin.topology
                    emptied = Cut(0, 0, (0, topology.hidden), (topology.heads, 0))
                    drafts[name, correct, "emptied"] = draft_cut(elastic, emptied, of.origin, of.images)
    trials, keys = [], []
    for number, (key, draft) in enumerate(drafts.items()):
        folder = root / str(number)
        folder.mkdir()
        write_files(draft, folder)
        for sample in draft.samples:
            trials.append(Trial(folder, sample, bool(draft.ranking), seconds=0))
            keys.append(key)
    scratch = tmp_path_factory.mktemp("scratch")
    found: dict[tuple[str, bool, object], tuple[Proof, Draft, Path]] = {}
    for key, trial, proof in zip(keys, trials, prove(trials, scratch), strict=True):
        assert proof.error <= 1e-5, key
        found[key] = (proof, drafts[key], trial.folder)
    return found


@pytest.mark.parametrize("correct", [False, True], ids=["as cut", "corrected"])
@pytest.mark.parametrize("pair", PAIRS, ids=str)
@pytest.mark.parametrize("name", MODELS)
def test_a_fresh_process_makes_the_elastic_models_outputs_of_the_images(proofs, subject, name, pair, correct):
    """And of the rest of the proof: parameters as they are counted, a file as large as they are, a step of training."""
    of = subject(name)
    proof, draft, folder = proofs[name, correct, pair]
    cut = cut_at(of.ranking, *pair)
    assert proof.params == of.origin.costs.params(cut) - idle_params(of, cut)
    assert (folder / "model.safetensors").stat().st_size == pytest.approx(4 * proof.params, rel=0.03)
    with of.elastic(correct) as elastic:
        elastic.keep(cut)
        want = embed(elastic.model, of.images)
        assert (embed(snapvit.load_exported(folder), of.images) - want).abs().max() <= 1e-5 * want.abs().max()
        elastic.show_all()
        whole = embed(elastic.model, of.images)
    assert (want - whole).abs().max() > 1e-3 * whole.abs().max(), "the cut must matter"
    assert draft.diff.params == (sum(p.numel() for p in of.model.parameters()), proof.params)


def idle_params(of: Subject, cut: Cut) -> int:
    """Of blocks without heads: the norms of queries and keys, which nothing is left to go through."""
    norms = [getattr(block.attn, name) for block in of.model.blocks for name in ("q_norm", "k_norm")]
    each = sum(p.numel() for norm in norms for p in norm.parameters()) // len(of.model.blocks)
    return each * cut.kept_heads.count(0)


@pytest.mark.parametrize("correct", [False, True], ids=["as cut", "corrected"])
@pytest.mark.parametrize("pair", ELASTIC_PAIRS, ids=str)
def test_an_elastic_export_gives_any_cut_that_was_not_thought_of(proofs, subject, pair, correct):
    of = subject("bundled")
    _, draft, folder = proofs["bundled", correct, "elastic"]
    assert [file.name for file in folder.glob("*.safetensors")] == ["model.safetensors"], "all numbers in one file"
    assert draft.diff is None
    for mlp, heads in (pair, (pair[0] + 0.07, pair[1] + 0.11)):
        with of.elastic(correct) as elastic:
            elastic.keep(cut_at(of.ranking, mlp, heads))
            want = outputs(elastic.model, of.images)
        found = outputs(snapvit.load_exported(folder, mlp, heads), of.images)
        for made, wanted in zip(found, want, strict=True):
            assert (made - wanted).abs().max() <= 1e-5 * wanted.abs().max()
    whole = outputs(of.model, of.images)[0]
    assert (outputs(snapvit.load_exported(folder), of.images)[0] - whole).abs().max() <= 1e-5 * whole.abs().max()


def test_a_corrected_export_is_another_model_than_the_plain_cut(proofs):
    plain, corrected = (proofs["bundled", correct, PAIRS[1]][1].samples[0].embedding for correct in (False, True))
    assert (corrected - plain).abs().max() > 0.01 * plain.abs().max()


def test_a_block_without_heads_or_neurons_is_its_last_bias(proofs):
    proof, _, folder = proofs[MODELS[4], False, "emptied"]
    model = snapvit.load_exported(folder)
    tokens = torch.randn(2, 5, 384)
    for part, layer in ((model.blocks[1].attn, "proj"), (model.blocks[0].mlp, "fc2")):
        assert [name for name, _ in part.named_parameters()] == [f"{layer}.bias"]
        assert torch.equal(part(tokens), getattr(part, layer).bias.expand(2, 5, 384))
    assert sum(p.numel() for p in model.parameters()) == proof.params


def test_the_config_says_what_is_kept_and_what_images_are_wanted(proofs, subject):
    of = subject("bundled")
    _, _, folder = proofs["bundled", False, PAIRS[1]]
    config = json.loads((folder / "config.json").read_text())
    cut = cut_at(of.ranking, *PAIRS[1])
    assert (tuple(config["kept_heads"]), tuple(config["kept_neurons"])) == (cut.kept_heads, cut.kept_neurons)
    assert config["data"]["input_size"] == [3, 28, 28] and config["data"]["mean"] == [0.286] * 3
    assert config["provenance"]["weights"] == load_model(ModelSpec()).digest
    transform = timm.data.create_transform(**config["data"])
    assert transform.transforms[-1].std.tolist() == pytest.approx([0.353] * 3)


@pytest.mark.skipif(any(find_spec(name) is None for name in PACKAGES), reason="requirements-export.txt")
@pytest.mark.parametrize("key", [("bundled", True, PAIRS[2]), (MODELS[4], False, "emptied")], ids=str)
def test_onnx_and_the_exported_program_agree_for_any_number_of_images(proofs, tmp_path, key):
    """Of two images at once they were written; here four, and one."""
    _, draft, folder = proofs[key]
    size = tuple(draft.config["data"]["input_size"][1:])
    for name, write in ((ONNX, write_onnx), (PROGRAM, write_program)):
        write(snapvit.load_exported(folder), size, tmp_path / name)
        assert other_error(tmp_path / name, draft.samples[0]) <= 1e-4


def test_handing_over_ends_in_a_folder_with_a_card(subject, tmp_path):
    of, told = subject("bundled"), []
    with of.elastic() as elastic:
        cut = cut_at(of.ranking, 0.9, 0.75)
        draft = draft_cut(elastic, cut, of.origin, of.images)
    exported = hand_over(draft, tmp_path / "new" / "cut", seconds=0.01, tell=told.append)
    assert (
        {file.name for file in exported.folder.iterdir()}
        == {
            "README.md",
            "config.json",
            "load.py",
            "model.safetensors",
        }
        == set(exported.files)
    )
    assert [file.name for file in exported.folder.parent.iterdir()] == ["cut"], "nothing else is left"
    timed = exported.proofs[0].latency
    assert timed.repeats >= 5 and 0 < timed.low <= timed.ratio <= timed.high
    assert len(told) == 2
    card = (exported.folder / "README.md").read_text()
    params, macs = of.origin.costs.params(cut), of.origin.costs.macs(cut)
    for number in (params, macs, of.origin.costs.params(cut_at(of.ranking, 0, 0)), exported.files["model.safetensors"]):
        assert f"{number:,}" in card
    assert f"| 1 | 6 → {cut.kept_heads[0]} | 144 → {24 * cut.kept_heads[0]} |" in card


@pytest.mark.parametrize("ratios", [(0.5, None), (None, 0.0)])
def test_no_other_share_can_be_left_out_of_one_cut(proofs, ratios):
    with pytest.raises(InputError, match="holds one cut"):
        snapvit.load_exported(proofs["bundled", False, PAIRS[0]][2], *ratios)


@pytest.mark.parametrize("damage", ["no config", "not ours", "later", "no numbers", "cut off", "misfit"])
def test_a_folder_that_is_no_export_is_named(proofs, tmp_path, damage):
    folder = tmp_path / "export"
    shutil.copytree(proofs["bundled", False, PAIRS[2]][2], folder)
    config = json.loads((folder / "config.json").read_text())
    weights = folder / "model.safetensors"
    if damage == "no config":
        (folder / "config.json").unlink()
    elif damage == "not ours":
        (folder / "config.json").write_text("[]")
    elif damage == "later":
        (folder / "config.json").write_text(json.dumps(config | {"version": 99}))
    elif damage == "no numbers":
        weights.unlink()
    elif damage == "cut off":
        weights.write_bytes(weights.read_bytes()[:1000])
    else:
        (folder / "config.json").write_text(json.dumps(config | {"kept_heads": [1]}))
    with pytest.raises(InputError, match="export") as refused:
        snapvit.load_exported(folder)
    assert str(folder) in str(refused.value)
