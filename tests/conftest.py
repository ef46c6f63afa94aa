"""Models, images and references that several tests share. Everything is small and seeded."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from command_line import Cli
from store_samples import two_runs
from timm.layers import Attention, AttentionRope, GluMlp, SwiGLU, SwiGLUPacked
from timm.models.deit import VisionTransformerDistilled
from timm.models.eva import Eva, EvaAttention
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from snapvit.elastic import latency
from snapvit.elastic.vit import StackByUnit
from snapvit.models.anatomy import Anatomy, describe
from snapvit.models.loading import LoadedModel, load_model, weights_digest
from snapvit.models.spec import ModelSpec
from snapvit.pipeline.config import PRESETS, RunRequest, with_settings
from snapvit.pipeline.progress import Reporter
from snapvit.pipeline.running import run_pipeline
from snapvit.pipeline.stages.correction import CORRECTION
from snapvit.store.store import Store

# The CPU, also where there is a GPU, and in the processes that tests start.
os.environ["SNAPVIT_DEVICE"] = "cpu"
# Times are no matter of most tests, so one round of them is enough; test_latency sets its own.
latency.LEAST_ROUNDS = latency.MOST_ROUNDS = 1
# The models here are so small that more threads only wait for one another: ten times slower beside another program.
torch.set_num_threads(1)

TINY = {"img_size": 16, "patch_size": 8, "embed_dim": 24, "depth": 3, "num_heads": 3, "num_classes": 5}


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Of two processes (`make test`) one has the browser, so there is never a second; all else goes file by file."""
    for item in items:
        browser = item.get_closest_marker("browser") is not None
        item.add_marker(pytest.mark.xdist_group("browser" if browser else item.path.stem))


def randomise(model: nn.Module, seed: int) -> None:
    """Give every parameter, biases and scales too, values that leave no part of the model idle."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if parameter.ndim == 1:
                is_scale = name.endswith(("weight", "gamma"))
                parameter.copy_(1 + 0.3 * noise if is_scale else 0.3 * noise)
            elif parameter.ndim == 3:  # tokens and position embeddings
                parameter.copy_(0.5 * noise)
            else:
                parameter.copy_(noise / parameter[0].numel() ** 0.5)
        for name, buffer in model.named_buffers():
            if name.endswith("k_bias"):  # zero in timm; any other number must go with its head as well
                buffer.copy_(0.3 * torch.randn(buffer.shape, generator=generator))


@pytest.fixture(scope="session")
def randomise_model() -> Callable[[nn.Module, int], None]:
    """For models that a test builds itself."""
    return randomise


@pytest.fixture(scope="session")
def make_vit() -> Callable[..., VisionTransformer]:
    """Builds a fresh frozen tiny VisionTransformer; settings replace those of TINY."""

    def make(seed: int = 0, **settings: object) -> VisionTransformer:
        with torch.random.fork_rng():
            model = VisionTransformer(**(TINY | settings))
        randomise(model, seed)
        return model.eval().requires_grad_(False)

    return make


def _vit(**settings: object) -> VisionTransformer:
    return VisionTransformer(**(TINY | settings))


def _eva(**settings: object) -> Eva:
    return Eva(**(TINY | settings))


def _with_attention(model: nn.Module, kind: type[nn.Module], **settings: object) -> nn.Module:
    for block in model.blocks:
        block.attn = kind(TINY["embed_dim"], num_heads=3, qkv_bias=True, scale_norm=False, **settings)
    return model


ROTARY = {"use_rot_pos_emb": True, "num_reg_tokens": 2}
DINOV3 = ROTARY | {"rope_type": "dinov3", "rope_rotate_half": True, "use_abs_pos_emb": False, "dynamic_img_size": True}

# Every form in which timm keeps neurons and heads that anatomy admits and VisionTransformer's defaults do not show.
FORMS: dict[str, Callable[[], nn.Module]] = {
    "packed MLP, gate first": lambda: _vit(mlp_layer=SwiGLUPacked),
    "packed MLP, gate last": lambda: _vit(mlp_layer=GluMlp),
    "packed MLP, no bias": lambda: _vit(mlp_layer=SwiGLUPacked, proj_bias=False),
    "split MLP": lambda: _vit(mlp_layer=SwiGLU, init_values=0.1),
    "gated attention": lambda: _with_attention(_vit(), Attention, gated=True),
    "heads wider than their share": lambda: _with_attention(_vit(), Attention, attn_head_dim=12),
    "distilled": lambda: VisionTransformerDistilled(**TINY),
    "Eva, biases apart": lambda: _eva(),
    "Eva, no bias": lambda: _eva(qkv_bias=False, class_token=False),
    "Eva, biases apart and added apart": lambda: _with_attention(_eva(), EvaAttention, qkv_bias_separate=True),
    "Eva, separate qkv": lambda: _eva(qkv_fused=False, qk_norm=True, norm_layer=nn.LayerNorm),
    "Eva, separate qkv without bias": lambda: _eva(qkv_fused=False, qkv_bias=False, **ROTARY),
    "Eva, gated attention": lambda: _with_attention(_eva(), EvaAttention, gated=True),
    "Eva, rotary": lambda: _eva(init_values=0.1, **ROTARY),
    "Eva, as DINOv3": lambda: _eva(init_values=0.1, use_fc_norm=False, swiglu_mlp=True, swiglu_align_to=8, **DINOV3),
    "Eva, packed MLP": lambda: _eva(swiglu_mlp=True, global_pool="token"),
    "Eva, attention pool": lambda: _eva(global_pool="map"),
    "AttentionRope": lambda: _eva(attn_type="rope", qk_norm=True, **ROTARY),
    "AttentionRope, separate qkv": lambda: _eva(
        attn_type="rope", qkv_fused=False, init_values=0.1, attn_only_layer_scale=True, **ROTARY
    ),
    "AttentionRope, gated": lambda: _with_attention(_eva(), AttentionRope, gated=True),
}


@pytest.fixture(scope="session")
def make_form() -> Callable[[str], nn.Module]:
    """Builds a fresh frozen tiny model of one of FORMS, in double precision."""

    def make(name: str) -> nn.Module:
        with torch.random.fork_rng():
            model = FORMS[name]()
        randomise(model, 0)
        return model.double().eval().requires_grad_(False)

    return make


@pytest.fixture(params=FORMS)
def form(request: pytest.FixtureRequest, make_form: Callable[[str], nn.Module]) -> nn.Module:
    """Each of FORMS in turn."""
    return make_form(request.param)


@contextmanager
def _counted(model: nn.Module) -> Iterator[list[int]]:
    seen: list[int] = []
    attention = F.scaled_dot_product_attention

    def counting_attention(q: Tensor, k: Tensor, v: Tensor, **kwargs: object) -> Tensor:
        *leading, queries, width = q.shape
        pairs = int(np.prod(leading)) * queries * k.shape[-2]
        seen.append(pairs * width + pairs * v.shape[-1])
        return attention(q, k, v, **kwargs)

    def hook(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        """Each number put out by a layer took as many as the layer has weights for it."""
        if isinstance(layer, nn.Conv2d):
            seen.append(output.numel() * layer.weight[0].numel())
        else:
            seen.append(output.numel() * inputs[0].shape[-1])

    for module in model.modules():
        if hasattr(module, "fused_attn"):
            module.fused_attn = True
    kinds = (nn.Linear, nn.Conv2d, StackByUnit)
    hooks = [m.register_forward_hook(hook) for m in model.modules() if isinstance(m, kinds)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(F, "scaled_dot_product_attention", counting_attention)
        yield seen
    for h in hooks:
        h.remove()


@pytest.fixture(scope="session")
def count_macs() -> Callable[[nn.Module, Tensor], int]:
    """Counts the multiply-accumulates of linear layers, convolutions and attention products while a model runs."""

    def count(model: nn.Module, images: Tensor) -> int:
        with _counted(model) as seen:
            model(images)
        return sum(seen)

    return count


@pytest.fixture
def tiny_vit(make_vit: Callable[..., VisionTransformer]) -> VisionTransformer:
    return make_vit()


@pytest.fixture
def anatomy(tiny_vit: VisionTransformer) -> Anatomy:
    return describe(tiny_vit)


@pytest.fixture
def images() -> Tensor:
    """(6, 3, 16, 16) like normalised images."""
    return torch.randn(6, 3, 16, 16, generator=torch.Generator().manual_seed(7))


@pytest.fixture(scope="session")
def bundled() -> Iterator[LoadedModel]:
    """The bundled model, shared by all tests, so that none may leave a trace on it."""
    loaded = load_model(ModelSpec())
    yield loaded
    assert weights_digest(loaded.model) == loaded.digest, "a test changed the shared bundled model"


@pytest.fixture(scope="session")
def masked_copy() -> Callable[..., nn.Module]:
    """Builds what a cut model must equal: a full copy in which lost neurons and heads no longer reach the output."""

    def masked(
        model: nn.Module, kept_neurons: Sequence[Sequence[int]], kept_heads: Sequence[Sequence[int]]
    ) -> nn.Module:
        copy = deepcopy(model)
        for block, neurons, heads in zip(copy.blocks, kept_neurons, kept_heads, strict=True):
            width = block.attn.head_dim
            for neuron in set(range(block.mlp.fc2.in_features)) - {int(n) for n in neurons}:
                block.mlp.fc2.weight.data[:, neuron] = 0
            for head in set(range(block.attn.num_heads)) - {int(h) for h in heads}:
                block.attn.proj.weight.data[:, head * width : (head + 1) * width] = 0
        return copy

    return masked


@pytest.fixture(scope="session")
def naive_kept() -> Callable[..., list[list[int]]]:
    """The units of each block that a cut leaves, by sorting lists as the design says; shares are exact fractions."""

    def kept(scores: np.ndarray, floor: float, ratio: float) -> list[list[int]]:
        blocks, width = scores.shape
        protected_each = max(1, int(Fraction(str(floor)) * width)) if floor else 0
        protected = set()
        for b in range(blocks):
            leaving_first = sorted(range(width), key=lambda i, b=b: (scores[b, i], i))
            protected |= {(b, i) for i in leaving_first[width - protected_each :]}
        everything = [(b, i) for b in range(blocks) for i in range(width)]
        leaving = sorted((u for u in everything if u not in protected), key=lambda u: (scores[u], u))
        gone = set(leaving[: int(Fraction(str(ratio)) * len(everything))])
        return [[i for i in range(width) if (b, i) not in gone] for b in range(blocks)]

    return kept


SMALL = (
    "curvature.images=4",
    "curvature.local_views=1",
    "cka.images=16",
    "search.generations=3",
    "search.population=4",
    "search.images=8",
    "search.pairs=[[0.35, 0.2], [0.65, 0.5]]",
    "correction.images=32",
    "evaluation.k=5",
    "evaluation.gallery=60",
    "evaluation.queries=20",
    "evaluation.points=3",
    "interactions.images=6",
    "interactions.probes=2",
)


@pytest.fixture(scope="session")
def small_settings() -> tuple[str, ...]:
    """Settings with which the bundled model's whole pipeline takes two seconds."""
    return SMALL


@pytest.fixture(scope="session")
def small_request() -> RunRequest:
    return RunRequest(config=with_settings(PRESETS["quick"], list(SMALL)))


@pytest.fixture(scope="session")
def finished_cache(tmp_path_factory: pytest.TempPathFactory, small_request: RunRequest) -> Path:
    """A cache with the small run in it, computed without a break. Only to be read and copied."""
    root = tmp_path_factory.mktemp("finished")
    store = Store(root)
    run_pipeline(small_request, store, Reporter())
    store.forget(small_request.run, [CORRECTION.name])  # 8 MB in every test's copy; it is collected again on demand
    return root


@pytest.fixture
def fresh_resources() -> Iterator[None]:
    """The pages' caches, empty before and after: those of one process outlive a test."""
    import streamlit as st  # not for the tests that need none

    st.cache_resource.clear()
    yield
    st.cache_resource.clear()


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fresh_resources: None) -> Store:
    """A copy of the cache that the project ships, which the pages show."""
    root = shutil.copytree(Path(__file__).parents[1] / "cache", tmp_path / "cache")
    monkeypatch.setenv("SNAPVIT_CACHE", str(root))
    return Store(root)


@pytest.fixture
def finished(finished_cache: Path, tmp_path: Path) -> Store:
    """A cache of the test's own with the finished small run."""
    return Store(shutil.copytree(finished_cache, tmp_path / "cache"))


@pytest.fixture
def shown(finished: Store, monkeypatch: pytest.MonkeyPatch, fresh_resources: None) -> Store:
    """The finished small run, which the pages show."""
    monkeypatch.setenv("SNAPVIT_CACHE", str(finished.root))
    return finished


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A cache with two made-up runs, `one` and `two`, for the tests of the store."""
    return two_runs(tmp_path / "cache")


@pytest.fixture
def command(capsys: pytest.CaptureFixture, finished: Store) -> Cli:
    """Commands on a cache of the test's own with the finished small run."""
    return Cli(capsys, finished.root)
