"""The command line: one JSON object on standard output, progress beside it, one sentence for what cannot be done."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from snapvit import cli
from snapvit.elastic.ranking import cut_at
from snapvit.models.loading import BUNDLED_CHECKPOINT
from snapvit.pipeline import measure as measure_module
from snapvit.pipeline.results import load_ranking, load_results
from snapvit.pipeline.store import Store

ROOT = Path(__file__).parents[1]
RUNS_KEYS = {"run", "model", "data", "preset", "seed", "state"}
EVALUATE_KEYS = {
    "run",
    "mlp",
    "heads",
    "top1",
    "interval",
    "k",
    "gallery",
    "queries",
    "cosine",
    "params",
    "macs",
    "kept_neurons",
    "kept_heads",
}


def settings_of(settings: tuple[str, ...]) -> list[str]:
    return [part for setting in settings for part in ("--set", setting)]


class Cli:
    """Runs commands in this process and keeps what they print."""

    def __init__(self, capsys: pytest.CaptureFixture, cache: Path) -> None:
        self._capsys, self.cache = capsys, cache

    def __call__(self, *args: str) -> tuple[int, str, str]:
        self._capsys.readouterr()
        code = cli.main([*args, "--cache", str(self.cache)])
        return code, *self._capsys.readouterr()

    def json(self, *args: str) -> tuple[dict, str]:
        """The one JSON object of a command that goes well, and what it said beside it."""
        code, out, err = self(*args, "--json")
        assert code == 0, err
        content = json.loads(out, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
        assert isinstance(content, dict)
        return content, err


@pytest.fixture
def command(capsys, finished):
    """Commands on a cache of the test's own with the finished small run."""
    return Cli(capsys, finished.root)


def start(args: list[str]) -> subprocess.Popen:
    """`python -m snapvit` in a process of its own, which listens to SIGINT whatever this one's parent ignores."""
    return subprocess.Popen(
        [sys.executable, "-m", "snapvit", *args],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def end(process: subprocess.Popen) -> tuple[int, str, str]:
    try:
        out, err = process.communicate(timeout=120)
    finally:
        process.kill()
    return process.returncode, out, err


# What goes well


def test_models_names_every_family_and_what_is_checked_of_it(command):
    content, _ = command.json("models")
    by_name = {family["name"]: family for family in content["families"]}
    assert list(by_name) == ["DINO", "DINOv2", "DINOv3", "SigLIP 2", "DeiT", "DeiT-III", "AugReg"]
    assert "vit_giant_patch14_reg4_dinov2.lvd142m" in by_name["DINOv2"]["models"]
    for family in content["families"]:
        assert len(family["checked"]) >= 2
        for checked in family["checked"]:
            assert checked["architecture"] in family["models"]
            assert set(checked["checks"]) <= set(content["checks"])
    code, out, _ = command("models")
    assert code == 0
    assert all(name in out for name in by_name)


def test_models_are_listed_without_loading_torch():
    code = "import sys; from snapvit.cli import main; main(['models']); sys.exit('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "DINOv3" in done.stdout


def test_run_prints_its_numbers_and_speaks_of_progress_elsewhere(command, small_settings, small_request):
    content, err = command.json("run", *settings_of(small_settings), "--seed", "3")
    assert content.keys() >= RUNS_KEYS | {"generations", "fitness", "factors", "measured"}
    assert (content["model"], content["data"], content["preset"]) == ("bundled", "bundled", "custom")
    assert (content["seed"], content["state"], content["generations"]) == (3, "finished", 3)
    results = load_results(Store(command.cache), content["run"])
    assert content["factors"] == results.search.factors.tolist()
    assert content["fitness"] == results.search.individual_fitness.min()
    assert [row["mlp"] for row in content["measured"]] == [0.0, 0.475, 0.95]
    assert content["run"] != small_request.run
    for said in ("curvature is in the cache", "search begins", "generation 3 of 3", "sparsity 95.0%"):
        assert said in err
    assert all(line.startswith("snapvit: ") for line in err.splitlines())


def test_run_without_json_is_for_people(command, small_settings, small_request):
    code, out, err = command("run", *settings_of(small_settings))
    assert code == 0
    assert out.startswith(f"Run {small_request.run} is finished: 3 generations, fitness ")
    assert "top-1" in out
    assert "is in the cache" in err
    assert "is in the cache" not in out


def test_seed_and_its_setting_are_the_same(command, small_settings):
    by_option, _ = command.json("run", *settings_of(small_settings), "--seed", "4")
    by_setting, err = command.json("run", *settings_of((*small_settings, "search.seed=4")))
    assert by_setting == by_option
    assert by_setting["seed"] == 4
    assert "begins" not in err


def test_fitness_that_is_not_finite_is_no_json_number_and_is_left_out(command, small_settings, monkeypatch):
    settings = settings_of((*small_settings, "evaluation.points=2", "evaluation.queries=8", "evaluation.gallery=24"))

    def partly(self: object, factors: np.ndarray) -> np.ndarray:
        return np.array([0.5, np.nan if factors[0] > 1.2 else 0.25])

    monkeypatch.setattr("snapvit.pipeline.stages.Fitness.__call__", partly)
    content, _ = command.json("run", *settings, "--seed", "1")
    assert 0 < content["non_finite"] < 12
    assert content["fitness"] == 0.375
    monkeypatch.setattr("snapvit.pipeline.stages.Fitness.__call__", lambda self, factors: np.full(2, np.nan))
    content, _ = command.json("run", *settings, "--seed", "2")
    assert (content["non_finite"], content["fitness"]) == (12, None)
    assert "no finite fitness" in command("run", *settings, "--seed", "2")[1]


def test_runs_lists_what_is_there(command, small_settings, small_request):
    content, err = command.json("runs")
    assert err == ""
    (only,) = content["runs"]
    assert only.keys() == RUNS_KEYS
    assert only == {
        "run": small_request.run,
        "model": "bundled",
        "data": "bundled",
        "preset": "custom",
        "seed": 0,
        "state": "finished",
    }
    Store(command.cache).forget(small_request.run, "ranking")
    assert command.json("runs")[0]["runs"][0]["state"] == "unfinished"
    code, out, _ = command("runs")
    assert code == 0
    assert small_request.run in out
    assert "unfinished" in out


def test_an_empty_cache_has_no_runs_and_says_what_to_do(capsys, tmp_path):
    command = Cli(capsys, tmp_path / "none")
    assert command.json("runs") == ({"runs": []}, "")
    assert "python -m snapvit run" in command("runs")[1]
    assert not (tmp_path / "none").exists()


def test_runs_names_a_damaged_run_and_lists_the_others(command, small_request):
    (command.cache / "other").mkdir()
    (command.cache / "other" / "manifest.json").write_text("{")
    content, err = command.json("runs")
    assert [run["run"] for run in content["runs"]] == [small_request.run]
    assert "other/manifest.json cannot be used" in err


def test_evaluate_reads_a_measured_cut(command, small_request, monkeypatch):
    monkeypatch.setattr(measure_module, "Meter", None)
    content, _ = command.json("evaluate", small_request.run, "--mlp", "0.475", "--heads", "0.325")
    assert content.keys() >= EVALUATE_KEYS
    table = load_results(Store(command.cache), small_request.run).measurements
    row = table.find(0.475, 0.325)
    assert (content["run"], content["mlp"], content["heads"]) == (small_request.run, 0.475, 0.325)
    assert (content["k"], content["gallery"], content["queries"]) == (5, 60, 20)
    assert content["top1"] == row.hits / 20
    low, high = content["interval"]
    assert 0 <= low < content["top1"] < high <= 1
    assert (content["params"], content["macs"], content["cosine"]) == (row.params, row.macs, row.cosine)
    assert (content["kept_neurons"], content["kept_heads"]) == (list(row.cut.kept_neurons), list(row.cut.kept_heads))


def test_evaluate_measures_a_new_cut_stores_it_and_then_reads_it(command, small_request, monkeypatch):
    args = ("evaluate", small_request.run, "--mlp", "0.41", "--heads", "0.2")
    first, _ = command.json(*args)
    assert sum(first["kept_neurons"]) == 12 * 576 - int(0.41 * 12 * 576)
    assert sum(first["kept_heads"]) == 72 - 14
    assert len(load_results(Store(command.cache), small_request.run).measurements) == 4
    monkeypatch.setattr(measure_module, "Meter", None)
    assert command.json(*args)[0] == first
    code, out, _ = command(*args)
    assert code == 0
    assert f"top-1 {first['top1']:.1%}" in out
    assert len(out.splitlines()) == 1


def test_ranking_tells_what_each_block_keeps(command, small_request):
    args = ("ranking", small_request.run, "--mlp", "0.5", "--heads", "0.25")
    content, err = command.json(*args)
    assert err == ""
    assert content.keys() >= {"kept_neurons", "kept_heads"}
    cut = cut_at(load_ranking(Store(command.cache), small_request.run), 0.5, 0.25)
    assert (content["kept_neurons"], content["kept_heads"]) == (list(cut.kept_neurons), list(cut.kept_heads))
    assert (sum(content["kept_neurons"]), sum(content["kept_heads"])) == (6 * 576, 54)
    whole, _ = command.json("ranking", small_request.run, "--mlp", "0", "--heads", "0")
    assert (whole["kept_neurons"], whole["kept_heads"]) == ([576] * 12, [6] * 12)
    code, out, _ = command(*args)
    assert code == 0
    lines = [line.split() for line in out.splitlines()]
    assert [int(line[2]) for line in lines] == content["kept_neurons"]
    assert [int(line[4]) for line in lines] == content["kept_heads"]


# What cannot be done


def assert_refused(answer: tuple[int, str, str], *told: str) -> None:
    code, out, err = answer
    assert code == 2
    assert out == ""
    assert len(err.splitlines()) == 1, err
    assert err.startswith("snapvit: ")
    assert err.rstrip().endswith((".", "?"))
    assert "Traceback" not in err
    for part in told:
        assert part in err


@pytest.mark.parametrize("form", [(), ("--json",)])
@pytest.mark.parametrize("name", ["evaluate", "ranking"])
@pytest.mark.parametrize(
    ("mlp", "heads", "told"), [("1.0", "0", "1.0"), ("-0.1", "0", "-0.1"), ("0", "1.5", "1.5"), ("nan", "0", "nan")]
)
def test_a_ratio_outside_its_range_is_refused(command, small_request, name, mlp, heads, told, form):
    answer = command(name, small_request.run, "--mlp", mlp, "--heads", heads, *form)
    assert_refused(answer, "sparsity", told, "at least 0 and below 1")


@pytest.mark.parametrize("name", ["evaluate", "ranking"])
@pytest.mark.parametrize("run", ["nope", "../cache", "", "."])
def test_an_unknown_run_is_refused_with_the_runs_there_are(command, small_request, name, run):
    assert_refused(command(name, run, "--mlp", "0.1", "--heads", "0"), repr(run), small_request.run)


def test_in_an_empty_cache_an_unknown_run_is_answered_with_what_to_do(capsys, tmp_path):
    assert_refused(Cli(capsys, tmp_path)("evaluate", "x", "--mlp", "0", "--heads", "0"), "the cache is empty", "run")


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (("--model", "vit_enormous_patch1"), "vit_enormous_patch1"),
        (("--model", "bundled", "--image-size", "99"), "99"),
        (("--checkpoint", "no-such-file.pth"), "no-such-file.pth does not exist"),
        (("--model", "vit_tiny_patch16_224", "--checkpoint", "no-such-file.safetensors"), "does not exist"),
        (("--data", "nowhere"), "'nowhere'"),
        (("--set", "search.generations"), "no value"),
        (("--set", "search.speed=3"), "search.speed"),
        (("--set", "search.generations=0"), "search.generations is 0"),
        (("--set", "search.pairs=[[1, 0]]"), "search.pairs"),
        (("--set", "evaluation.gallery=10"), "k = 20"),
        (("--seed", "-1"), "search.seed is -1"),
    ],
)
def test_a_run_that_cannot_be_computed_is_refused(capsys, tmp_path, args, told):
    command = Cli(capsys, tmp_path)
    assert_refused(command("run", *args), told)
    assert command.json("runs") == ({"runs": []}, "")


@pytest.mark.parametrize("model", ["bundled", "vit_tiny_patch16_224"])
def test_a_checkpoint_of_the_wrong_shape_is_refused(capsys, tmp_path, model):
    with safe_open(BUNDLED_CHECKPOINT, framework="pt") as file:
        metadata = file.metadata()
    weights = load_file(BUNDLED_CHECKPOINT)
    weights["blocks.0.mlp.fc1.weight"] = torch.zeros(3, 5)
    save_file(weights, tmp_path / "odd.safetensors", metadata)
    answer = Cli(capsys, tmp_path)("run", "--model", model, "--checkpoint", str(tmp_path / "odd.safetensors"))
    assert_refused(answer, "odd.safetensors does not fit the model", " where (")


@pytest.mark.parametrize("args", [("run",), ("evaluate", "x", "--mlp", "0", "--heads", "0")])
def test_a_cache_that_cannot_be_written_is_refused(capsys, tmp_path, args):
    (tmp_path / "file").write_text("")
    code, out, err = Cli(capsys, tmp_path / "file" / "cache")(*args)
    assert (code, out) == (2, "")
    assert "Traceback" not in err
    if args == ("run",):
        assert_refused((code, out, err), str(tmp_path / "file" / "cache"), "--cache")


def test_a_damaged_ranking_is_named_beside_the_sentence(command, small_request):
    store = Store(command.cache)
    path = command.cache / small_request.run / store.entry(small_request.run, "ranking").file
    path.write_bytes(b"damaged")
    code, out, err = command("ranking", small_request.run, "--mlp", "0", "--heads", "0")
    assert (code, out) == (2, "")
    assert f"{small_request.run}/{path.name} cannot be used" in err


def test_unknown_options_end_with_2_as_well(command, capsys):
    for args in ([], ["fly"], ["run", "--preset", "slow"], ["evaluate", "x", "--mlp", "half", "--heads", "0"]):
        with pytest.raises(SystemExit) as caught:
            cli.main(args)
        assert caught.value.code == 2
        assert capsys.readouterr().out == ""


def test_cancelling_ends_with_130(command, small_settings, monkeypatch):
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("snapvit.pipeline.stages.run_pipeline", interrupted)
    code, out, err = command("run", *settings_of(small_settings))
    assert (code, out) == (130, "")
    assert "cancelled" in err


# In processes of their own


def test_one_seed_gives_the_same_numbers_in_two_processes(tmp_path, small_settings):
    args = ["run", "--json", "--seed", "7", *settings_of(small_settings)]
    first, second = (start([*args, "--cache", str(tmp_path / name)]) for name in "ab")
    (code_a, out_a, err), (code_b, out_b, _) = end(first), end(second)
    assert (code_a, code_b) == (0, 0), err
    a, b = json.loads(out_a), json.loads(out_b)
    for row in (*a["measured"], *b["measured"]):
        assert row.pop("latency_ms") > 0
    assert a == b
    assert "generation 3 of 3" in err


def test_an_interrupted_run_ends_with_130_and_goes_on_when_asked_again(capsys, tmp_path, small_settings):
    settings = settings_of((*small_settings, "search.generations=16", "evaluation.points=2"))
    process = start(["run", "--json", "--cache", str(tmp_path), *settings])
    said = []
    for line in process.stderr:
        said.append(line)
        if "generation 2 of 16" in line:
            process.send_signal(signal.SIGINT)
            break
    code, out, err = end(process)
    assert code == 130, "".join(said) + err
    assert out == ""
    assert "Traceback" not in err
    assert "snapvit: cancelled" in err
    (run,) = Store(tmp_path).runs()
    done = load_results(Store(tmp_path), run).search.generations
    assert 2 <= done < 16
    content, err = Cli(capsys, tmp_path).json("run", *settings)
    assert f"search goes on after generation {done}\n" in err
    assert (content["run"], content["generations"], content["state"]) == (run, 16, "finished")


def test_a_cut_is_measured_even_where_the_cache_cannot_be_written(finished, small_request, monkeypatch, capsys):
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Store, "_write_file", full)
    arguments = [
        "evaluate",
        small_request.run,
        "--mlp",
        "0.4",
        "--heads",
        "0.1",
        "--cache",
        str(finished.root),
        "--json",
    ]
    assert cli.main(arguments) == 0
    out, err = capsys.readouterr()
    assert 0 <= json.loads(out)["top1"] <= 1
    assert "No space left on device" in err
