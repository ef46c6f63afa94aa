"""What the command line cannot do: one sentence on standard error, nothing on standard output, exit code 2."""

from __future__ import annotations

import pytest
import torch
from command_line import Cli
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from snapvit import cli
from snapvit.models.loading import BUNDLED_CHECKPOINT
from snapvit.store.store import Store


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
