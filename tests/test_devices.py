"""What may be asked of devices, on machines with more of them than this one."""

from __future__ import annotations

import platform
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from snapvit import devices
from snapvit.devices import (
    check_computing,
    chosen,
    device_for,
    device_label,
    home_of_doubles,
    in_doubles,
    timing_machine,
)
from snapvit.environment import exact_products
from snapvit.errors import InputError
from snapvit.evaluation import knn
from snapvit.evaluation.knn import Nearest, _by_products
from snapvit.machine import this_machine
from snapvit.pipeline.config import PRESETS, RunRequest, with_settings
from snapvit.pipeline.request import make_request
from snapvit.pipeline.table import TABLE, key_of

NODES = {"model": "m"} | {f"images.{name}": "i" for name in ("curvature", "search", "cka", "gallery", "queries")}


@pytest.fixture
def box(monkeypatch):
    """A machine with two GPUs, where nobody set SNAPVIT_DEVICE."""
    monkeypatch.delenv("SNAPVIT_DEVICE")
    monkeypatch.setattr(devices, "devices", lambda: ("cpu", "cuda:0", "cuda:1"))


@pytest.mark.parametrize(
    ("asked", "device"),
    [
        (None, "cuda:0"),
        ("auto", "cuda:0"),
        ("cpu", "cpu"),
        ("cuda", "cuda:0"),
        ("cuda:1", "cuda:1"),
        (" CUDA:1", "cuda:1"),
    ],
)
def test_a_name_is_one_of_the_machines_devices(box, asked, device):
    assert chosen(asked) == device


def test_auto_is_the_cpu_where_there_is_nothing_else(monkeypatch):
    for there in (("cpu",), ("cpu", "mps")):
        monkeypatch.setattr(devices, "devices", lambda there=there: there)
        assert chosen("auto") == "cpu"
    assert chosen("mps") == "mps"


def test_the_variable_is_what_is_asked_for_where_nothing_is(box, monkeypatch):
    monkeypatch.setenv("SNAPVIT_DEVICE", "cuda:1")
    assert chosen() == "cuda:1"
    assert chosen("cpu") == "cpu"
    assert (device_for("cuda"), device_for("cpu")) == ("cuda:1", "cpu")
    monkeypatch.setenv("SNAPVIT_DEVICE", "gpu")
    with pytest.raises(
        InputError, match=r"'gpu' was asked for by SNAPVIT_DEVICE, and there are cpu, cuda:0, cuda:1 here"
    ):
        chosen()


@pytest.mark.parametrize("asked", ["cuda:2", "mps", "tpu", "cuda:", "cuda:x"])
def test_a_device_that_is_not_there_is_named_with_those_that_are(box, asked):
    with pytest.raises(InputError) as caught:
        chosen(asked)
    assert str(caught.value) == (
        f"The device {asked!r} was asked for, and there are cpu, cuda:0, cuda:1 here; name one of these, or auto."
    )


def test_a_stored_run_is_opened_on_its_kind_else_on_the_cpu(box):
    assert (device_for("cuda"), device_for("cpu"), device_for("mps")) == ("cuda:0", "cpu", "cpu")
    check_computing("cuda:1", "cuda", "a-run")
    with pytest.raises(InputError, match="a-run was computed on mps, which this machine does not have"):
        check_computing("cpu", "mps", "a-run")


def test_pages_learn_without_torch_that_there_is_only_the_cpu():
    code = "import sys; from snapvit import devices as d; d.DRIVERS = (); print(d.devices(), 'torch' in sys.modules)"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.startswith("('cpu',")
    assert answer.stdout.split()[-1] == "False"
    assert device_label("cpu") == "CPU"


@pytest.mark.parametrize(
    ("gpus", "mps", "there"),
    [(2, False, ("cpu", "cuda:0", "cuda:1")), (0, False, ("cpu",)), (0, True, ("cpu", "mps"))],
)
def test_torch_says_what_there_is(monkeypatch, gpus, mps, there):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    assert devices.devices.__wrapped__() == there
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: f"GPU of {device}")
    assert device_label("cuda:1") == "GPU of cuda:1 (cuda:1)"
    assert timing_machine("cpu") == this_machine()
    monkeypatch.setattr(devices, "devices", lambda: there)
    assert timing_machine("cuda").device == ("GPU of cuda:0" if gpus else "CPU")


def test_a_mac_is_known_without_torch(monkeypatch):
    monkeypatch.delitem(sys.modules, "torch")
    monkeypatch.setattr(devices, "DRIVERS", ())
    for system, machine, there in (("Darwin", "arm64", ("cpu", "mps")), ("Darwin", "x86_64", ("cpu",))):
        monkeypatch.setattr(platform, "system", lambda system=system: system)
        monkeypatch.setattr(platform, "machine", lambda machine=machine: machine)
        assert devices.devices.__wrapped__() == there


def test_kind_and_precision_belong_to_a_runs_name_and_keys_only_where_they_are_unusual():
    usual, cuda = make_request(), make_request(device="cuda:1")
    half = make_request(precision="bfloat16")
    assert usual == make_request(device="cpu", precision="auto") == make_request(precision="float32")
    assert usual.run == RunRequest().run == "bundled-quick-902b1069"
    assert (cuda.device, half.config.precision, half.kind) == ("cuda", "bfloat16", "quick")
    assert len({usual.run, cuda.run, half.run}) == 3

    def keys(request):
        return {name: key_of(stage, request, NODES) for name, stage in TABLE.items() if not stage.args}

    same = {name for name, key in keys(half).items() if key == keys(usual)[name]}
    assert {"curvature", "cka"} <= same
    assert not {"search", "ranking", "evaluation"} & same
    assert keys(cuda) == keys(usual), "its kind is a part of the model's node"


def test_times_of_a_gpu_are_not_the_processors():
    here = this_machine()
    assert here.id == replace(here, device="").id
    beside = this_machine(device="NVIDIA H200")
    assert beside.id != here.id
    assert beside.label == f"NVIDIA H200 beside {here.label}"


@pytest.mark.parametrize("precision", ["half", "float16", 7])
def test_a_precision_that_there_is_not_is_refused(precision):
    with pytest.raises(InputError, match="it must be float32 or bfloat16"):
        with_settings(PRESETS["quick"], [f"precision={precision}"])


def test_products_are_of_whole_float32_numbers_once_said():
    torch.backends.cudnn.allow_tf32 = True
    exact_products()
    assert not torch.backends.cudnn.allow_tf32
    assert not torch.backends.cuda.matmul.allow_tf32
    assert torch.get_float32_matmul_precision() == "highest"


def test_sums_are_kept_where_there_is_float64(monkeypatch):
    numbers = torch.ones(2)
    assert in_doubles(numbers).dtype == torch.float64
    assert str(home_of_doubles(torch.device("cuda:1"))) == "cuda:1"
    assert home_of_doubles(torch.device("mps")) == "cpu"


@pytest.mark.parametrize("block", [10, 10_000])
def test_neighbours_by_products_are_those_of_faiss(monkeypatch, block):
    monkeypatch.setattr(knn, "BLOCK_NUMBERS", block)
    rng = np.random.default_rng(0)
    gallery, queries = (rng.standard_normal((n, 6)).astype(np.float32) for n in (40, 7))
    gallery /= np.linalg.norm(gallery, axis=1, keepdims=True)
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    cosines, rows = _by_products(queries, gallery, 5, "cpu")
    want_rows, want_cosines = Nearest(gallery, 5).of(queries)
    np.testing.assert_array_equal(rows, want_rows)
    np.testing.assert_allclose(cosines, want_cosines, rtol=1e-5)
