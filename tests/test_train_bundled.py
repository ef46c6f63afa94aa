"""scripts/train_bundled.py: reading, augmentation, and that a few steps learn and save a usable model."""

import gzip
import importlib.util
import json
import math
import struct
import sys
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from timm.models.vision_transformer import VisionTransformer

from snapvit.errors import InputError

SCRIPT = Path(__file__).parents[1] / "scripts" / "train_bundled.py"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("train_bundled", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


@pytest.fixture
def tiny(script):
    """A recipe of the same form that learns within a few steps."""
    config = script.bundled_config() | {"patch_size": 14, "embed_dim": 24, "depth": 2, "num_heads": 2}
    return script.Recipe(config=config, epochs=10, batch=16, learning_rate=5e-3, warmup=5)


def idx_bytes(values):
    header = bytes((0, 0, 8, values.ndim)) + struct.pack(f">{values.ndim}I", *values.shape)
    return header + values.numpy().tobytes()


def made_split(script, n, seed=0):
    """Class c of five: a bright band around row 5c + 4 in weak noise, told apart also when it is moved."""
    g = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % 5
    images = torch.randint(0, 40, (n, 28, 28), generator=g, dtype=torch.uint8)
    for image, label in zip(images, labels, strict=True):
        image[5 * label + 3 : 5 * label + 6] = 250
    return script.Split(images, labels)


def write_split(folder, name, split):
    for what, values in [("images-idx3", split.images), ("labels-idx1", split.labels.to(torch.uint8))]:
        (folder / f"{name}-{what}-ubyte.gz").write_bytes(gzip.compress(idx_bytes(values)))


# --- reading


@pytest.mark.parametrize(
    ("images", "labels", "said"),
    [
        (torch.zeros(3, 28, 28), torch.zeros(4), "3 images"),
        (torch.zeros(0, 28, 28), torch.zeros(0), "0 images"),
        (torch.zeros(3, 32, 28), torch.zeros(3), "32, 28"),
        (torch.zeros(3, 28, 28), torch.tensor([0, 9, 10]), "label 10"),
    ],
)
def test_load_split_refuses_files_that_do_not_fit(script, tmp_path, images, labels, said):
    write_split(tmp_path, "train", script.Split(images.to(torch.uint8), labels))
    with pytest.raises(InputError, match=said):
        script.load_split(tmp_path, "train")


# --- augmentation


def naive_augment(image, mirrored, row, col):
    """Pixel by pixel: mirror the image, then out[y, x] = image[y + row - 1, x + col - 1], black outside."""
    height, width = image.shape
    out = torch.zeros_like(image)
    for y in range(height):
        for x in range(width):
            v, u = y + row - 1, x + col - 1
            if 0 <= v < height and 0 <= u < width:
                out[y, x] = image[v, width - 1 - u if mirrored else u]
    return out


def test_augment_equals_the_naive_one(script):
    images = torch.randint(1, 256, (64, 6, 5), dtype=torch.uint8, generator=torch.Generator().manual_seed(3))
    before = images.clone()
    got = script.augment(images, torch.Generator().manual_seed(7))

    g = torch.Generator().manual_seed(7)  # the documented draws
    mirrored = torch.rand(64, generator=g) < 0.5
    rows, cols = (torch.randint(0, 3, (64,), generator=g) for _ in range(2))
    cases = {*zip(mirrored.tolist(), rows.tolist(), cols.tolist(), strict=True)}
    assert len(cases) == 18  # every case occurs
    want = [naive_augment(*each) for each in zip(images, mirrored, rows, cols, strict=True)]

    assert got.dtype == images.dtype and got.shape == images.shape
    assert torch.equal(got, torch.stack(want))
    assert torch.equal(images, before)
    assert torch.equal(got, script.augment(images, torch.Generator().manual_seed(7)))
    assert not torch.equal(got, script.augment(images, torch.Generator().manual_seed(8)))


def test_to_input_normalises_three_equal_channels(script):
    x = script.to_input(torch.tensor([[[0, 255], [51, 102]]], dtype=torch.uint8))
    want = (torch.tensor([[0, 1], [0.2, 0.4]]) - 0.2860) / 0.3530
    assert x.shape == (1, 3, 2, 2)
    torch.testing.assert_close(x, want.expand(1, 3, 2, 2))


# --- training


def test_schedule_warms_up_then_follows_a_cosine(script):
    recipe = script.Recipe()
    factors = [script.schedule(step, 10_000, recipe) for step in range(10_001)]
    assert factors[0] == pytest.approx(1 / 400 + 1e-3)
    assert max(factors) == pytest.approx(1, abs=5e-3) and abs(factors.index(max(factors)) - 399) <= 1
    assert factors[5000] == pytest.approx(0.5 + 1e-3) and factors[-1] == pytest.approx(1e-3)


def test_an_epoch_shows_each_image_at_most_once(script, tiny):
    seen = list(script.batches(50, tiny, torch.Generator().manual_seed(0)))
    assert [epochs for epochs, _ in seen] == [(i + 1) // 3 for i in range(30)]
    assert len(seen) == script.total_steps(tiny, 50)
    orders = [torch.cat([chosen for _, chosen in seen[i : i + 3]]) for i in (0, 3)]
    assert all(len(order.unique()) == 48 for order in orders) and not torch.equal(*orders)


def test_average_follows_its_closed_form(script, tiny):
    values = torch.randn(5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    average = {"w": values[0].clone()}
    for step in range(1, 5):
        script.update_average(average, {"w": values[step]}, step, tiny)
    decays = [(1 + step) / (10 + step) for step in range(1, 5)]
    shares = [math.prod(decays)] + [(1 - d) * math.prod(decays[i + 1 :]) for i, d in enumerate(decays)]
    torch.testing.assert_close(average["w"], torch.tensor(shares, dtype=torch.float64) @ values)


def learn(script, recipe, split):
    """(model, steps' losses, last step) of the whole recipe; the same seed gives the same numbers."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        model = script.build_model(recipe)
        losses = []
        for step in script.train(model, split, recipe, torch.Generator().manual_seed(recipe.seed)):
            losses.append(step.loss)
    return model, losses, step


def test_a_few_steps_learn_and_the_saved_file_loads_strictly(script, tiny, tmp_path):
    split = made_split(script, 80)
    model, losses, step = learn(script, tiny, split)
    assert (step.number, step.epochs, len(losses)) == (50, 10, 50)
    assert sum(losses[-3:]) < 0.8 * sum(losses[:3])
    assert losses == learn(script, tiny, split)[1]

    path = tmp_path / "weights.safetensors"
    path.write_text("an older file")
    script.save_weights(path, step.average, tiny.config, step.epochs)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    (tmp_path / "plain").touch()
    assert path.stat().st_mode == (tmp_path / "plain").stat().st_mode  # others may read it as usual
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    assert (metadata["mean"], metadata["std"], metadata["epochs"]) == ("0.286", "0.353", "10")
    saved = load_file(path)
    assert {value.dtype for value in saved.values()} == {torch.float16}
    loaded = VisionTransformer(**json.loads(metadata["config"])).eval()
    loaded.load_state_dict(saved, strict=True)

    # `evaluate` scores the weights it is given and leaves the model as it was.
    own = {name: value.clone() for name, value in model.state_dict().items()}
    with torch.inference_mode():
        top1 = (loaded(script.to_input(split.images)).argmax(1) == split.labels).float().mean().item()
    assert script.evaluate(model, loaded.state_dict(), split, batch=33) == pytest.approx(top1)
    assert model.training
    torch.testing.assert_close(model.state_dict(), own, rtol=0, atol=0)


def test_a_failed_save_leaves_the_old_file_alone(script, tiny, tmp_path, monkeypatch):
    write_bytes = Path.write_bytes

    def full_disk(part, content):
        write_bytes(part, content[: len(content) // 2])
        raise OSError("no space left")

    monkeypatch.setattr(Path, "write_bytes", full_disk)
    path = tmp_path / "weights.safetensors"
    path.write_text("an older file")
    with pytest.raises(OSError, match="no space"):
        script.save_weights(path, {"w": torch.zeros(2)}, tiny.config, 1)
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [(path.name, "an older file")]


# --- command line


def test_run_stops_after_the_asked_steps(script, tiny, tmp_path, capsys):
    write_split(tmp_path, "train", made_split(script, 64))
    write_split(tmp_path, "t10k", made_split(script, 30, seed=1))
    out = tmp_path / "weights.safetensors"
    with torch.random.fork_rng(devices=[]):
        script.run(tmp_path, out, tiny, stop_after=3)
    first, last = capsys.readouterr().out.splitlines()
    assert first.startswith("step 0/40: top-1 0.") and "30 t10k images" in first
    assert last.startswith("step 3/40: mean loss of 3 steps ") and ", top-1 0." in last
    with safe_open(out, "pt") as file:
        assert file.metadata()["epochs"] == "0"
    assert "head.weight" in load_file(out)


def test_command_line_hands_its_arguments_on(script, monkeypatch):
    calls = []
    monkeypatch.setattr(script, "run", lambda *args: calls.append(args))
    assert script.main(["in", "out"]) == 0
    assert script.main(["in", "out", "--epochs", "3", "--seed", "5", "--steps", "7"]) == 0
    folder, out = Path("in"), Path("out")
    assert calls == [
        (folder, out, script.Recipe(), None),
        (folder, out, script.Recipe(epochs=3, seed=5), 7),
    ]


def test_command_line_names_the_package_where_the_folder_is_missing(script, tmp_path, capsys):
    assert script.main([str(tmp_path / "none"), str(tmp_path / "out.safetensors")]) == 2
    said = capsys.readouterr().err
    assert "dataset-fashion-mnist" in said and said.count("\n") == 1


@pytest.mark.parametrize("out", ["", "none/out.safetensors"])
def test_command_line_refuses_an_output_it_could_not_write(script, tmp_path, capsys, out):
    assert script.main([str(tmp_path), str(tmp_path / out)]) == 2
    assert "folder" in capsys.readouterr().err


def test_command_line_refuses_too_few_images(script, tmp_path, capsys):
    for name in ("train", "t10k"):
        write_split(tmp_path, name, made_split(script, 12))
    with torch.random.fork_rng(devices=[]):
        assert script.main([str(tmp_path), str(tmp_path / "out.safetensors")]) == 2
    assert "12 training images do not fill one batch of 128" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["a"], ["a", "b", "--steps", "0"], ["a", "b", "--epochs", "x"]])
def test_command_line_leaves_with_2_on_arguments_without_sense(script, arguments):
    with pytest.raises(SystemExit) as left:
        script.main(arguments)
    assert left.value.code == 2
