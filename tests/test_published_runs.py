"""Published scores as runs: imported without weights, measured with them, exported, and all of it from the shell."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from snapvit import cli
from snapvit.artifacts import Floors, Scores
from snapvit.elastic.cost import cost_model
from snapvit.elastic.ranking import cut_at
from snapvit.errors import InputError
from snapvit.models.loading import LoadedModel
from snapvit.pipeline.config import NO_IMAGES, RunRequest
from snapvit.pipeline.measure import measure_cut
from snapvit.pipeline.progress import Reporter
from snapvit.pipeline.published_runs import export_scores, import_scores
from snapvit.pipeline.results import list_runs, load_results
from snapvit.pipeline.running import run_pipeline
from snapvit.published.scores import PublishedScores, read_scores, write_scores
from snapvit.store.codec import decode, encode
from snapvit.store.store import Store

REFERENCE = Path(__file__).parents[2] / "shared" / "reference"
VIT_TINY = "vit_tiny_patch16_224"


def scores(
    blocks: int = 12, hidden: int = 768, heads: int = 3, width: int = 192, name: str = VIT_TINY, **changes: object
) -> PublishedScores:
    rng = np.random.default_rng(5)
    tables = Scores(rng.random((blocks, hidden)), rng.random((blocks, heads)))
    return replace(
        PublishedScores(tables, Floors(), name, "standard", width, width // heads, {"seed": 1}, "abc"), **changes
    )


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "imports")


@pytest.fixture
def exported(finished: Store, small_request: RunRequest, tmp_path: Path) -> Path:
    """The finished small run's scores in a file."""
    export_scores(load_results(finished, small_request.run), tmp_path / "scores.pt")
    return tmp_path / "scores.pt"


def shell(capsys: pytest.CaptureFixture, *args: object) -> tuple[int, str, str]:
    capsys.readouterr()
    return cli.main([str(arg) for arg in args]), *capsys.readouterr()


def test_an_import_is_a_run_that_holds_scores_ranking_and_costs(store: Store) -> None:
    run = import_scores(store, scores())
    results = load_results(store, run)
    assert store.problems == ()
    (summary,) = list_runs(store)
    assert (summary.run, summary.state, summary.preset, summary.seed) == (run, "imported scores", "scores", None)
    assert (summary.data, summary.done) == (NO_IMAGES, ("scores", "ranking"))
    assert results.imported
    assert results.ranked
    assert [results.curvature, results.cka, results.search, results.measurements] == [None] * 4
    np.testing.assert_array_equal(results.final_scores.mlp, scores().scores.mlp)
    np.testing.assert_array_equal(results.ranking.mlp, np.argsort(_protected(scores().scores.mlp, 0.05).ravel()))
    assert results.request.run == run
    assert import_scores(store, scores()) == run
    assert len(list_runs(store)) == 1
    assert import_scores(store, scores(digest="other")) != run


def _protected(table: np.ndarray, floor: float) -> np.ndarray:
    """The best of each row lifted above everything else."""
    kept = int(floor * table.shape[1])
    best = table >= np.sort(table, axis=1)[:, [-kept]]
    return table + 10 * best


def test_costs_are_those_of_the_real_model(store: Store) -> None:
    import timm

    from snapvit.models.anatomy import describe

    model = timm.create_model(VIT_TINY, pretrained=False)
    facts = load_results(store, import_scores(store, scores())).facts
    assert facts.costs == cost_model(model, describe(model))
    assert facts.topology.tokens == 197
    assert facts.classes == ()


def test_an_unknown_architecture_has_no_costs_until_it_is_named(store: Store) -> None:
    facts = load_results(store, import_scores(store, scores(name="somebodys-vit"))).facts
    assert (facts.model, facts.costs, facts.topology.tokens) == ("somebodys-vit", None, 0)
    named = load_results(store, import_scores(store, scores(name="somebodys-vit"), VIT_TINY)).facts
    assert named.model == VIT_TINY
    assert named.costs is not None
    # a file whose counts are not those of the model that it names
    assert load_results(store, import_scores(store, scores(hidden=760))).facts.costs is None
    for model, sentence in ((VIT_TINY, "neurons, width 192; vit_tiny"), ("no_such_vit", "no_such_vit")):
        with pytest.raises(InputError, match=sentence):
            import_scores(store, scores(hidden=760), model)


def test_scores_and_their_stage_come_back_as_they_were() -> None:
    first = scores(metadata={"a": [1, None, "x", {"b": 0.5}], "c": True})
    arrays, values = encode(first)
    again = decode(PublishedScores, arrays, json.loads(json.dumps(values)))
    assert replace(again, scores=first.scores) == first
    np.testing.assert_array_equal(again.scores.head, first.scores.head)


def test_nothing_can_be_measured_without_weights(store: Store) -> None:
    run = import_scores(store, scores())
    with pytest.raises(InputError, match=r"holds published scores alone.*run --scores FILE --model NAME"):
        measure_cut(store, run, 0.3, 0.1, Reporter())
    with pytest.raises(InputError, match="holds published scores alone"):
        run_pipeline(load_results(store, run).request, store, Reporter())


def test_an_exported_file_holds_the_runs_own_scores(
    finished: Store, small_request: RunRequest, exported: Path, bundled: LoadedModel
) -> None:
    results, found = load_results(finished, small_request.run), read_scores(exported)
    topology = bundled.anatomy.topology
    for block in range(topology.blocks):
        factor = results.search.factors[block]
        np.testing.assert_allclose(found.scores.mlp[block], results.curvature.mlp[block] * factor, rtol=1e-12)
    found.check_fit(topology, "bundled")
    assert (found.model_type, found.mlp_kind, found.floors) == ("bundled", "standard", Floors())
    assert found.metadata["max_samples"] == 4
    assert found.metadata["ga_max_function_evaluations"] == 12


def test_exported_scores_give_the_same_ranking_and_measurements(
    finished: Store, small_request: RunRequest, exported: Path, tmp_path: Path
) -> None:
    published = read_scores(exported)
    request = replace(small_request, scores=published.digest)
    other, events = Store(tmp_path / "other"), []
    run_pipeline(request, other, Reporter(events.append), published)
    first, again = load_results(finished, small_request.run), load_results(other, request.run)
    assert (again.summary.state, again.summary.done) == (
        "finished",
        ("scores", "ranking", "evaluation", "evaluation-corrected"),
    )
    assert [again.curvature, again.cka, again.search] == [None] * 3
    np.testing.assert_array_equal(again.ranking.mlp, first.ranking.mlp)
    np.testing.assert_array_equal(again.ranking.head, first.ranking.head)
    for name in ("mlp", "heads", "kept_neurons", "kept_heads", "answers", "cosine", "params", "macs"):
        np.testing.assert_array_equal(getattr(again.measurements, name), getattr(first.measurements, name), name)
    assert [e.text for e in events if e.kind == "note"] == []
    # nothing is left to compute, and the file is needed no more
    reporter = Reporter()
    run_pipeline(request, other, reporter)
    assert [event.kind for event in reporter.events] == ["device", *["cached"] * 5]  # and the times
    measured = measure_cut(other, request.run, 0.2, 0.1, Reporter())
    assert measured.cut == cut_at(first.ranking, 0.2, 0.1)


def test_a_run_takes_the_scores_of_an_import(
    small_request: RunRequest, exported: Path, store: Store, tmp_path: Path
) -> None:
    published = read_scores(exported)
    imported = import_scores(store, published)
    assert load_results(store, imported).facts.costs is not None  # the bundled model is known by its name
    request = replace(small_request, scores=published.digest)
    run_pipeline(request, store, Reporter())
    assert {s.run: s.state for s in list_runs(store)} == {imported: "imported scores", request.run: "finished"}
    missing = replace(request, scores="0" * 64)
    with pytest.raises(InputError, match=r"are not in the cache; start it again from their file"):
        run_pipeline(missing, store, Reporter())
    assert len(list_runs(store)) == 2


def test_scores_of_another_model_are_noted_and_of_another_shape_refused(
    small_request: RunRequest, exported: Path, store: Store
) -> None:
    published = replace(read_scores(exported), model_type="dino_vits16")
    events: list = []
    run_pipeline(replace(small_request, scores=published.digest), store, Reporter(events.append), published)
    assert [e.text for e in events if e.kind == "note"] == [
        "the scores say that they are of dino_vits16; here they cut bundled"
    ]
    with pytest.raises(
        InputError, match=r"The scores of vit_tiny.* do not fit bundled: .*3 heads.*bundled has .*6 heads"
    ):
        run_pipeline(replace(small_request, scores="abc"), store, Reporter(), scores())
    assert len(list_runs(store)) == 1


def test_names_and_keys_tell_scores_apart(small_request: RunRequest) -> None:
    with_scores = [replace(small_request, scores=digest) for digest in ("a", "b")]
    assert len({small_request.run, *(r.run for r in with_scores)}) == 3
    assert with_scores[0].run.startswith("bundled-scores-")


def test_the_shell_reads_exports_imports_and_runs(
    finished: Store, small_request: RunRequest, small_settings: tuple[str, ...], tmp_path: Path, capsys
) -> None:
    cache, file = ("--cache", finished.root), tmp_path / "own.pt"
    code, out, _ = shell(capsys, "scores", small_request.run, "--out", file, "--json", *cache)
    assert code == 0
    assert json.loads(out) == {"run": small_request.run, "file": str(file), "model_type": "bundled"}
    before = file.read_bytes()
    code, _, err = shell(capsys, "scores", small_request.run, "--out", file, *cache)
    assert (code, file.read_bytes()) == (2, before)
    assert "exists" in err
    assert shell(capsys, "scores", small_request.run, "--out", file, "--force", *cache)[0] == 0

    cut = ("--mlp", 0.35, "--heads", 0.2, "--json", *cache)
    of_run = json.loads(shell(capsys, "ranking", small_request.run, *cut)[1])
    of_file = json.loads(shell(capsys, "ranking", file, *cut)[1])
    for key in ("kept_neurons", "kept_heads", "mlp", "heads"):
        assert of_file[key] == of_run[key]

    code, out, _ = shell(capsys, "import", file, "--json", *cache)
    assert code == 0
    assert (json.loads(out)["state"], json.loads(out)["costs_known"]) == ("imported scores", True)
    settings = [part for setting in small_settings for part in ("--set", setting)]
    code, out, _ = shell(capsys, "run", "--scores", file, *settings, "--json", *cache)
    assert code == 0
    answer = json.loads(out)
    assert (answer["state"], answer["preset"], len(answer["measured"])) == ("finished", "scores", 3)
    assert "factors" not in answer
    lowered = [*settings, "--set", "floors.heads=0"]
    assert shell(capsys, "run", "--scores", file, *lowered, *cache)[0] == 0
    code, out, _ = shell(capsys, "runs", *cache)
    assert code == 0
    assert out.count("imported scores") == 1
    assert out.count("bundled-scores-") == 3


@pytest.mark.parametrize("command", ["ranking", "import", "run"])
def test_the_shell_refuses_what_is_no_score_file(command: str, tmp_path: Path, capsys) -> None:
    file, cache = tmp_path / "scores.pt", tmp_path / "cache"
    args = {
        "ranking": ("ranking", file, "--mlp", 0.1, "--heads", 0),
        "import": ("import", file),
        "run": ("run", "--scores", file),
    }[command]
    torch.save({"model": torch.ones(2), "a": np.float64}, tmp_path / "foreign.pt")
    for raw, word in (
        (None, "does not exist"),
        (b"text", "damaged"),
        ((tmp_path / "foreign.pt").read_bytes(), "refused"),
    ):
        if raw is not None:
            file.write_bytes(raw)
        code, out, err = shell(capsys, *args, "--cache", cache)
        assert (code, out) == (2, "")
        assert word in err
        assert err.count("\n") == 1
    assert not cache.exists()


def test_the_shell_names_a_run_that_has_no_scores_yet(
    finished: Store, small_request: RunRequest, tmp_path: Path, capsys
) -> None:
    finished.forget(small_request.run, ["search"])
    code, _, err = shell(capsys, "scores", small_request.run, "--out", tmp_path / "x.pt", "--cache", finished.root)
    assert code == 2
    assert "has no final scores yet" in err
    assert not (tmp_path / "x.pt").exists()


def test_the_shell_cuts_the_authors_own_file(capsys, tmp_path: Path) -> None:
    file = REFERENCE / "dino_vitb16.pt"
    if not file.exists():
        pytest.skip(f"{file.name} is not here")
    args = ("ranking", file, "--mlp", 0.35, "--heads", 0.2, "--json", "--cache", tmp_path)
    code, out, err = shell(capsys, *args)
    answer = json.loads(out)
    assert (code, err) == (0, "")
    assert sum(answer["kept_neurons"]) == 36864 - int(0.35 * 36864)
    assert sum(answer["kept_heads"]) == 144 - int(0.2 * 144)
    assert len(answer["kept_neurons"]) == len(answer["kept_heads"]) == 12


def test_a_written_file_of_a_paper_model_bears_the_authors_name(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "scores.pt"
    write_scores(scores(name="dino_vits16"), path)
    run = import_scores(store, scores(384 // 32, 1536, 6, 384, "dino_vits16"))
    assert load_results(store, run).facts.model == "vit_small_patch16_224.dino"
    assert export_scores(load_results(store, run), path, force=True).model_type == "dino_vits16"
    assert read_scores(path).model_type == "dino_vits16"
