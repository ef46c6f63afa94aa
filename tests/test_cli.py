"""The command line: one JSON object on standard output, progress beside it, one sentence for what cannot be done."""

from __future__ import annotations

import dataclasses
import errno
import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from command_line import Cli, end, settings_of, start

from snapvit import cli, commands
from snapvit.elastic.ranking import cut_at
from snapvit.formats import percent
from snapvit.pipeline import measure as measure_module
from snapvit.pipeline.results import StoredRun, load_results
from snapvit.pipeline.stages.ranking import RANKING
from snapvit.store.store import Store
from snapvit.tables import Measurements

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
    for said in ("curvature is in the cache", "search begins", "generation 3 of 3", "sparsity 95 %"):
        assert said in err
    assert all(line.startswith("snapvit: ") for line in err.splitlines())


@pytest.mark.parametrize(("count", "named"), [(0, 0), (1, 1), (4, 4), (5, 5), (23, 5)])
def test_at_most_five_cuts_are_named_from_the_mildest_to_the_hardest(count, named):
    rng = np.random.default_rng(count)
    table = Measurements.empty(2, 10, 20, 5, labelled=True)
    mlp, heads = rng.permutation(count) / 50, rng.permutation(count) / 60
    table = dataclasses.replace(table, mlp=mlp, heads=heads)
    rows = commands._some_cuts(table)
    assert len(set(rows)) == len(rows) == named
    assert mlp[rows].tolist() == sorted(mlp[rows].tolist())
    if count:
        assert (mlp[rows[0]], mlp[rows[-1]]) == (mlp.min(), mlp.max())


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

    def partly(self: object, factors: np.ndarray, at: list[int]) -> np.ndarray:
        return np.array([0.5, np.nan if factors[0] > 1.2 else 0.25])[at]

    monkeypatch.setattr("snapvit.method.fitness.Fitness.__call__", partly)
    content, _ = command.json("run", *settings, "--seed", "1")
    assert 0 < content["non_finite"] < 12
    assert content["fitness"] == 0.375
    monkeypatch.setattr("snapvit.method.fitness.Fitness.__call__", lambda self, factors, at: np.full(len(at), np.nan))
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
    Store(command.cache).forget(small_request.run, ["ranking"])
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
    assert f"top-1 {percent(first['top1'])}" in out
    assert len(out.splitlines()) == 1


def test_ranking_tells_what_each_block_keeps(command, small_request):
    args = ("ranking", small_request.run, "--mlp", "0.5", "--heads", "0.25")
    content, err = command.json(*args)
    assert err == ""
    assert content.keys() >= {"kept_neurons", "kept_heads"}
    cut = cut_at(StoredRun.open(Store(command.cache), small_request.run).need(RANKING), 0.5, 0.25)
    assert (content["kept_neurons"], content["kept_heads"]) == (list(cut.kept_neurons), list(cut.kept_heads))
    assert (sum(content["kept_neurons"]), sum(content["kept_heads"])) == (6 * 576, 54)
    whole, _ = command.json("ranking", small_request.run, "--mlp", "0", "--heads", "0")
    assert (whole["kept_neurons"], whole["kept_heads"]) == ([576] * 12, [6] * 12)
    code, out, _ = command(*args)
    assert code == 0
    lines = [line.split() for line in out.splitlines()]
    assert [int(line[2]) for line in lines] == content["kept_neurons"]
    assert [int(line[4]) for line in lines] == content["kept_heads"]


def test_cancelling_ends_with_130(command, small_settings, monkeypatch):
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("snapvit.pipeline.running.run_pipeline", interrupted)
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
    (run,) = (manifest.run for manifest in Store(tmp_path).manifests())
    done = load_results(Store(tmp_path), run).search.generations
    assert 2 <= done < 16
    content, err = Cli(capsys, tmp_path).json("run", *settings)
    assert f"search goes on after generation {done}\n" in err
    assert (content["run"], content["generations"], content["state"]) == (run, 16, "finished")


def test_a_cut_is_measured_even_where_the_cache_cannot_be_written(finished, small_request, monkeypatch, capsys):
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("snapvit.store.store.write_whole", full)
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
