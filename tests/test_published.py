"""Score files of the method's authors: read, checked, ranked, and written again."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from snapvit.artifacts import Floors, Scores, Topology
from snapvit.elastic.ranking import cut_at, rank
from snapvit.errors import InputError
from snapvit.published.accuracies import published_accuracies, published_table
from snapvit.published.models import PAPER_MODELS
from snapvit.published.scores import PublishedScores, read_scores, write_scores

REFERENCE = Path(__file__).parents[2] / "shared" / "reference"
FILES = {
    "dino_vitb16": Topology(12, 12, 3072, 768, 64, 0),
    "deit-3-vit-s-16": Topology(12, 6, 1536, 384, 64, 0),
}
RATIOS = [(0.0, 0.0), (0.15, 0.0), (0.35, 0.2), (0.65, 0.5), (0.95, 0.8), (0.999, 0.999)]
RNG = np.random.default_rng(3)


def reference(name: str) -> Path:
    path = REFERENCE / f"{name}.pt"
    if not path.exists():
        pytest.skip(f"{path.name} is not here")
    return path


def content(**changes: object) -> dict:
    """What a sound file of 2 blocks, 4 neurons and 3 heads holds, with some entries changed."""
    rng = np.random.default_rng(0)
    return {
        "mlp_scores": torch.from_numpy(rng.random((2, 4))),
        "head_scores": torch.from_numpy(rng.random((2, 3))),
        "model_type": "a-vit",
        "mlp_architecture": "standard",
        "num_blocks": 2,
        "hidden_dim": 4,
        "embed_dim": 6,
        "num_heads": 3,
        "head_dim": 2,
        "min_hidden_dim_keep_ratio": 0.05,
        "min_head_keep_ratio": 0.2,
        "metadata": {"seed": 1},
    } | changes


def published(**changes: object) -> PublishedScores:
    scores = Scores(RNG.random((3, 8)), RNG.random((3, 4)))
    return replace(
        PublishedScores(scores, Floors(0.25, 0.0), "vit", "standard", 16, 4, {"a": [1, None]}, ""), **changes
    )


@pytest.mark.parametrize("name", FILES)
def test_the_authors_files_are_read_whole(name: str) -> None:
    found = read_scores(reference(name))
    assert found.topology == FILES[name]
    assert (found.model_type, found.mlp_kind, found.floors) == (name, "standard", Floors(0.05, 0.2))
    assert found.metadata["pruning_dataset"] == "imagenet-1k"
    assert found.metadata["ga_heads_pruning_ratios"] == [0.0, 0.2, 0.4, 0.5]
    with zipfile.ZipFile(reference(name)) as file:  # the numbers lie there as they are
        mlp, head = (np.frombuffer(file.read(f"importance-scores/data/{i}"), "<f4") for i in (0, 1))
    np.testing.assert_array_equal(found.scores.mlp.ravel(), mlp)
    np.testing.assert_array_equal(found.scores.head.ravel(), head)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize(("mlp", "heads"), RATIOS)
def test_cuts_of_the_authors_scores_are_those_of_a_naive_sort(
    name: str, mlp: float, heads: float, naive_kept: Callable[..., list[list[int]]]
) -> None:
    found = read_scores(reference(name))
    cut = cut_at(rank(found.scores, found.floors), mlp, heads)
    neurons = naive_kept(found.scores.mlp, 0.05, mlp)
    assert list(cut.kept_neurons) == [len(block) for block in neurons]
    assert list(cut.kept_heads) == [len(block) for block in naive_kept(found.scores.head, 0.2, heads)]
    topology = found.topology
    total = topology.blocks * topology.hidden
    protected = topology.blocks * int(0.05 * topology.hidden)
    assert sum(cut.kept_neurons) == max(total - int(mlp * total), protected)


def test_ties_in_a_file_go_by_index(tmp_path: Path, naive_kept: Callable[..., list[list[int]]]) -> None:
    path = tmp_path / "ties.pt"
    mlp = torch.tensor([[1.0, 1, 1, 1], [1, 1, 2, 2]])
    torch.save(content(mlp_scores=mlp, min_hidden_dim_keep_ratio=0.0), path)
    found = read_scores(path)
    ranking = rank(found.scores, found.floors)
    for ratio in np.arange(0, 8) / 8:
        cut = cut_at(ranking, float(ratio), 0.0)
        assert list(cut.kept_neurons) == [len(b) for b in naive_kept(mlp.numpy(), 0.0, ratio)]
    assert cut_at(ranking, 0.5, 0.0).kept_neurons == (0, 4)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    {
        "NaN": ({"mlp_scores": torch.full((2, 4), torch.nan)}, r"8 mlp_scores that are not finite"),
        "infinite": ({"head_scores": torch.full((2, 3), torch.inf)}, r"6 head_scores that are not finite"),
        "negative": ({"mlp_scores": -torch.ones(2, 4)}, "mlp_scores below 0"),
        "shape of neurons": ({"hidden_dim": 5}, r"mlp_scores is \(2, 4\), but num_blocks and hidden_dim say \(2, 5\)"),
        "shape of heads": ({"num_heads": 4}, r"head_scores is \(2, 3\), but num_blocks and num_heads say \(2, 4\)"),
        "blocks": ({"num_blocks": 3}, r"mlp_scores is \(2, 4\)"),
        "one axis": ({"mlp_scores": torch.ones(8)}, r"mlp_scores is \(8,\)"),
        "no tensor": ({"mlp_scores": [[1.0] * 4] * 2}, "mlp_scores that are no tensor"),
        "no count": ({"embed_dim": "6"}, "embed_dim is '6', which is no count"),
        "a count below 1": ({"head_dim": 0}, "head_dim is 0, which is no count"),
        "true as a count": ({"num_blocks": True}, "num_blocks is True, which is no count"),
        "a floor above 1": ({"min_head_keep_ratio": 1.5}, "min_head_keep_ratio is 1.5"),
        "a floor that is NaN": ({"min_hidden_dim_keep_ratio": float("nan")}, "min_hidden_dim_keep_ratio is nan"),
        "no floor": ({"min_head_keep_ratio": None}, "min_head_keep_ratio is None"),
        "a name with markup": ({"model_type": "![x](http://a/b)"}, "model_type is a str, which is no name"),
        "a foreign MLP": ({"mlp_architecture": "mixture"}, "mlp_architecture 'mixture'"),
        "metadata in a list": ({"metadata": [1]}, "metadata that are no dict"),
        "a tensor in metadata": ({"metadata": {"a": torch.ones(2)}}, "metadata that are not plain: a Tensor"),
        "an ordered dict in metadata": ({"metadata": {"a": OrderedDict()}}, "not plain: a OrderedDict"),
        "a set in metadata": ({"metadata": {"a": {1, 2}}}, "asks for .*set"),
        "a number for a name in metadata": ({"metadata": {"a": {1: 2}}}, "a name that is no text"),
        "more scores than there are structures": (
            {"mlp_scores": torch.ones(1, 1).expand(10**6, 10**6), "num_blocks": 10**6, "hidden_dim": 10**6},
            "no model has more than 4,000,000 structures",
        ),
        "one number shown often": (
            {"mlp_scores": torch.ones(1, 1).expand(2, 9), "hidden_dim": 9},
            "mlp_scores that show a few numbers many times",
        ),
        "deep metadata": ({"metadata": {"a": [[[[[1]]]]]}}, "more than 1000 items or 4 levels"),
        "much metadata": ({"metadata": {"a": [0] * 1001}}, "more than 1000 items"),
    }.values(),
)
def test_a_file_that_contradicts_itself_is_refused(changes: dict, sentence: str, tmp_path: Path) -> None:
    path = tmp_path / "scores.pt"
    torch.save(content(**changes), path)
    with pytest.raises(InputError, match=f"^scores.pt .*{sentence}"):
        read_scores(path)


def test_repeated_metadata_count_each_time(tmp_path: Path) -> None:
    laughs: list = ["ha"]
    for _ in range(3):
        laughs = [laughs] * 100  # a million in a few hundred bytes
    torch.save(content(metadata={"a": laughs}), tmp_path / "scores.pt")
    with pytest.raises(InputError, match="more than 1000 items"):
        read_scores(tmp_path / "scores.pt")


def test_a_foreign_dict_and_a_checkpoint_are_told_apart_from_scores(tmp_path: Path) -> None:
    torch.save({"weight": torch.ones(3)}, tmp_path / "model.pth")
    with pytest.raises(InputError, match=r"^model.pth is no score file: it lacks mlp_scores, head_scores, num_blocks"):
        read_scores(tmp_path / "model.pth")


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.9, 0.999])
def test_a_truncated_file_is_refused(share: float, tmp_path: Path) -> None:
    torch.save(content(), tmp_path / "whole.pt")
    raw = (tmp_path / "whole.pt").read_bytes()
    with pytest.raises(InputError, match=r"^cut\.pt is damaged"):
        read_scores(raw[: int(share * len(raw))], "cut.pt")


def test_files_that_are_not_there_or_too_large_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"The score file .*none\.pt does not exist"):
        read_scores(tmp_path / "none.pt")
    for no_file in (tmp_path, Path("/dev/zero"), Path("a\0b.pt")):
        with pytest.raises(InputError, match="does not exist"):
            read_scores(no_file)
    with (tmp_path / "large.pt").open("wb") as file:
        file.truncate(65 * 2**20)  # a hole: it takes no room
    with pytest.raises(InputError, match=r"large.pt is larger than 64 MB"):
        read_scores(tmp_path / "large.pt")


def test_what_is_written_is_read_back_the_same(tmp_path: Path) -> None:
    first = published()
    write_scores(first, tmp_path / "scores.pt")
    again = read_scores(tmp_path / "scores.pt")
    np.testing.assert_array_equal(again.scores.mlp, first.scores.mlp)
    np.testing.assert_array_equal(again.scores.head, first.scores.head)
    assert replace(again, scores=first.scores, digest="") == first
    assert [p.name for p in tmp_path.iterdir()] == ["scores.pt"]


def test_the_authors_reader_finds_exactly_its_own_fields(tmp_path: Path) -> None:
    """Their code passes the dict to a dataclass, so a field more or less breaks it; enums are made from plain text."""
    write_scores(published(), tmp_path / "scores.pt")
    plain = torch.load(tmp_path / "scores.pt", weights_only=True)
    assert set(plain) == set(content())
    kinds = Counter(type(value).__name__ for value in plain.values())
    assert kinds == {"Tensor": 2, "str": 2, "int": 5, "float": 2, "dict": 1}
    assert plain["mlp_scores"].shape == (3, 8)
    assert plain["head_scores"].shape == (3, 4)
    topology = [plain[key] for key in ("num_blocks", "hidden_dim", "embed_dim", "num_heads", "head_dim")]
    assert topology == [3, 8, 16, 4, 4]
    assert (plain["min_hidden_dim_keep_ratio"], plain["min_head_keep_ratio"]) == (0.25, 0.0)


def test_nothing_is_overwritten_unless_asked(tmp_path: Path) -> None:
    path = tmp_path / "scores.pt"
    path.write_text("mine")
    with pytest.raises(InputError, match="exists; name another file, or replace it with --force"):
        write_scores(published(), path)
    assert path.read_text() == "mine"
    write_scores(published(), path, force=True)
    assert read_scores(path).model_type == "vit"
    with pytest.raises(InputError, match="cannot be written"):
        write_scores(published(), tmp_path / "no" / "folder" / "scores.pt")


def test_scores_that_do_not_fit_name_both_sides() -> None:
    with pytest.raises(InputError) as error:
        published().check_fit(Topology(3, 4, 9, 16, 4, 50), "my_vit")
    assert "vit" in str(error.value)
    assert "3 blocks of 4 heads (4 wide) and 8 neurons, width 16" in str(error.value)
    assert "my_vit has 3 blocks of 4 heads (4 wide) and 9 neurons, width 16" in str(error.value)
    published().check_fit(Topology(3, 4, 8, 16, 4, 50), "my_vit")


def test_what_holds_no_dict_is_no_score_file(tmp_path: Path) -> None:
    torch.save([torch.ones(2)], tmp_path / "list.pt")
    with pytest.raises(InputError, match=r"^list\.pt is no score file: what it holds is no dict"):
        read_scores(tmp_path / "list.pt")


def test_torch_is_loaded_only_when_a_file_is_read() -> None:
    code = "import sys, snapvit.pipeline.published_runs, snapvit.published.accuracies; print('torch' in sys.modules)"
    answer = subprocess.run(
        [sys.executable, "-c", code], cwd=Path(__file__).parents[1], capture_output=True, text=True, check=True
    )
    assert answer.stdout.strip() == "False"


def test_the_published_table_is_whole() -> None:
    table = published_table()
    assert len(table) == 490
    assert len({row.dataset for row in table}) == len({row.mlp for row in table}) == 7
    assert all(0 < row.top1 < 1 for row in table)
    named = {model.table_name for model in PAPER_MODELS.values()} - {None}
    assert named == {row.model for row in table}
    original = REFERENCE / "published_knn.csv"
    if original.exists():
        shipped = Path(__file__).parents[1] / "snapvit" / "assets" / "published_knn.csv"
        assert shipped.read_bytes() == original.read_bytes()


def test_accuracies_belong_to_the_scores_that_gave_them() -> None:
    dino = published(model_type="dino_vitb16", metadata={"pruning_dataset": "imagenet-1k"})
    rows = published_accuracies(dino)
    assert len(rows) == 49
    assert {row.model for row in rows} == {"DINOv1 ViT-B/16"}
    assert published_accuracies(replace(dino, metadata={"pruning_dataset": "my images"})) == []
    assert published_accuracies(replace(dino, model_type="dino_vits16")) == []
    assert published_accuracies(replace(dino, model_type="bundled")) == []


@pytest.mark.parametrize("name", PAPER_MODELS)
def test_every_paper_model_is_one_of_timms(name: str) -> None:
    import timm

    assert PAPER_MODELS[name].timm in timm.list_pretrained()
