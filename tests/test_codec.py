"""Nothing is lost between an artifact and its arrays and JSON values."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

from snapvit import artifacts, tables
from snapvit.artifacts import (
    BlockSize,
    CkaMap,
    CostModel,
    Curvature,
    Cut,
    CutCkaMap,
    Displacement,
    Floors,
    GaussNewton,
    LayerStatistics,
    MainDirections,
    MeasuredInteractions,
    NullSearch,
    Preprocess,
    Ranking,
    RunFacts,
    StructureDiff,
    Topology,
)
from snapvit.elastic.ranking import final_scores, rank
from snapvit.evaluation.paired import pack_answers
from snapvit.image_artifacts import AttentionShares, EmbeddingProjection, HeadGradients, ImageLesson, PixelAnswers
from snapvit.machine import Machine
from snapvit.method.search import SearchState, search, start_search
from snapvit.method.xnes import XnesState
from snapvit.models.spec import ModelSpec
from snapvit.pipeline.config import PRESETS, RunConfig, RunRequest, with_settings
from snapvit.store.codec import decode, encode
from snapvit.tables import Comparison, Latencies, Latency, Measurement, Measurements, SearchFitness

RNG = np.random.default_rng(0)
TOPOLOGY = Topology(2, 3, 4, 6, 2, 5)
COSTS = CostModel(1000, 13, 48, 2000, 120, 340)
CURVATURE = Curvature(RNG.random((2, 4), np.float32), RNG.random((2, 3), np.float32), 11)
SCORES = final_scores(CURVATURE, np.linspace(0.5, 1.5, TOPOLOGY.structures))
CUT = Cut(0.5, 0.25, (3, 1), (2, 3))
NO_ROWS = Measurements.empty(2, 30, 200, 20, labelled=True)


def measurement(hits: int | None) -> Measurement:
    answers = None if hits is None else pack_answers(np.arange(30) < hits).tobytes().hex()
    return Measurement(CUT, answers, 30, 200, 20, 0.75, 4321, 8765)


def search_state(generations: int) -> SearchState:
    start = start_search(np.array([1.2, 1.0, 0.8]), None, 4, 2, seed=7)
    return [start, *search(start, lambda x: np.array([x.sum(), np.nan]), generations)][-1]


PREPROCESS = Preprocess((28, 14), (0.1, 0.2, 0.3), (1 / 3, 1e-300, 0.7))
RANKING = rank(SCORES, PRESETS["quick"].floors)
RNG = np.random.default_rng(0)


def noise(*shape: int, dtype: type = np.float32) -> np.ndarray:
    """Numbers of any kind, in [0, 200)."""
    return (200 * RNG.random(shape)).astype(dtype)


def embedding_projection(labels: np.ndarray | None) -> EmbeddingProjection:
    places, rows, cosines = noise(6, 2, dtype=np.float16), noise(2, 3, dtype=np.uint8), noise(2, 3)
    return EmbeddingProjection(noise(6, dtype=np.uint16), 4, labels, places, places, rows, rows, cosines, cosines)


SAMPLES = [
    Floors(),
    Machine("Intel(R) Xeon(R)", 1, "2.14.1", "Linux x86_64"),
    Latency(0.5, 0.35, 2.5, 3.5, 0.71, 0.7, 0.72, 41),
    Latencies.empty(Machine("Gerät ünï", 2, "2.6.0", "Darwin arm64")),
    Latencies.empty(Machine("A", 1, "2.6.0", "b")).with_rows([Latency(0.5, 0.35, 2.5, 3.5, 0.71, 0.7, 0.72, 41)]),
    Comparison.empty(NO_ROWS),
    Comparison.empty(NO_ROWS, headed=True).with_row("lamp", 3, True, measurement(17), b"abcd", b"efgh"),
    Comparison.empty(NO_ROWS).with_fitness("snapvit", 2, np.array([0, 4]), np.array([0.25, np.nan])),
    SearchFitness.empty(),
    PixelAnswers(noise(6, dtype=np.int64), noise(6, dtype=np.int64), noise(1, dtype=np.uint8), 32),
    CutCkaMap(np.where(np.eye(9) > 0, 1, np.nan).astype(np.float32), 16),
    MainDirections(noise(9, 16), noise(9)),
    MeasuredInteractions.empty(9, 16),
    LayerStatistics(noise(3, 4), noise(3, 10), noise(3, 2), noise(3, 3), 8, 136),
    Displacement(noise(9, 9, dtype=np.float64), noise(9, dtype=np.float64), 16),
    GaussNewton(
        noise(3, 4, dtype=np.float64), noise(3, 2, dtype=np.float64), noise(9, 9, dtype=np.float64), 16, probes=2
    ),
    NullSearch(
        noise(4, dtype=np.float64),
        *(noise(3, 4) for _ in range(3)),
        noise(5, 3),
        noise(3, dtype=np.float64),
        noise(5, 3, dtype=np.int64),
        *(noise(3, 9) for _ in range(2)),
    ),
    AttentionShares(
        noise(2, dtype=np.int64),
        noise(2, dtype=np.int64),
        noise(2, 3, 8, 8, dtype=np.uint8),
        noise(2, 3, 2, 4, 4, dtype=np.float16),
        noise(2, 4, 4, dtype=np.float16),
        True,
    ),
    embedding_projection(noise(6, dtype=np.int16)),
    embedding_projection(None),
    ImageLesson(
        7,
        -1,
        (28, 30),
        noise(3, 8, 8, dtype=np.uint8),
        noise(3, 4, dtype=np.int64),
        noise(3, 3, 8, 8, dtype=np.uint8),
        noise(3, 6),
        noise(2, 3, dtype=np.float64),
        109.4,
    ),
    HeadGradients(
        noise(4, dtype=np.int64), noise(4, dtype=np.int64), noise(4, dtype=np.float64), noise(4, 3, 2), noise(3, 2)
    ),
    TOPOLOGY,
    PREPROCESS,
    CURVATURE,
    CkaMap(np.eye(9, dtype=np.float32), 16),
    search_state(3).history,
    SCORES,
    RANKING,
    CUT,
    measurement(17),
    measurement(None),
    NO_ROWS,
    NO_ROWS.with_row(measurement(17)).with_row(measurement(30)),
    COSTS,
    RunFacts("a model", "images of Zürich", TOPOLOGY, COSTS, ("T-shirt/top", 'a "b"', "ünï")),
    RunFacts("m", "d", TOPOLOGY, COSTS, ()),
    RunFacts("m", "none", TOPOLOGY, None, ()),
    search_state(3).strategy,
    search_state(0),
    search_state(3),
    ModelSpec(),
    RunRequest(),
    RunRequest(ModelSpec("vit", "a file.pth", 224), "folder:/x y", PRESETS["paper"]),
    RunRequest(
        config=with_settings(RunConfig(), ["search.population=5", "search.pairs=[[0.1, 0]]", "search.start=cka"])
    ),
    PRESETS["quick"],
]


def assert_same(found: Any, want: Any, where: str = "") -> None:
    """Equal in value, type, dtype and bits, all the way down."""
    assert type(found) is type(want), where
    if dataclasses.is_dataclass(want):
        for field in dataclasses.fields(want):
            assert_same(getattr(found, field.name), getattr(want, field.name), f"{where}.{field.name}")
    elif isinstance(want, np.ndarray):
        assert (found.dtype, found.shape) == (want.dtype, want.shape), where
        assert found.tobytes() == want.tobytes(), where
    elif isinstance(want, tuple):
        assert len(found) == len(want), where
        for i, (f, w) in enumerate(zip(found, want, strict=True)):
            assert_same(f, w, f"{where}[{i}]")
    else:
        assert found == want, where


def through_a_file(artifact: Any) -> Any:
    """What comes back once arrays went through safetensors and values through JSON text."""
    arrays, values = encode(artifact)
    raw = safetensors.numpy.save(arrays, metadata={"values": json.dumps(values)})
    return decode(type(artifact), safetensors.numpy.load(raw), json.loads(json.dumps(values)))


def name_of(sample: object) -> str:
    return type(sample).__name__


@pytest.mark.parametrize("sample", SAMPLES, ids=name_of)
def test_round_trip_is_lossless(sample):
    assert_same(through_a_file(sample), sample)


def test_every_artifact_of_the_house_is_among_the_samples():
    classes = [*vars(artifacts).values(), *vars(tables).values()]
    kinds = {c for c in classes if isinstance(c, type) and dataclasses.is_dataclass(c)}
    kinds -= {BlockSize, StructureDiff}  # made anew from what is stored whenever they are shown
    assert kinds | {SearchState, XnesState, RunRequest, RunConfig} <= {type(sample) for sample in SAMPLES}


def test_arrays_and_values_are_kept_apart_and_named_by_their_place():
    arrays, values = encode(search_state(2))
    assert set(arrays) == {
        *(f"history.{n}" for n in ("factors", "means", "covariances", "individuals", "fitness", "mixings")),
        "strategy.mean",
        "strategy.factor",
    }
    assert set(values) == {"strategy.generation", "strategy.rng"}


def test_an_encoded_artifact_goes_on_to_the_same_numbers():
    state = search_state(2)
    fitness = lambda x: np.abs(x[:2])  # noqa: E731
    (want,) = search(state, fitness, 3)
    (found,) = search(through_a_file(state), fitness, 3)
    assert_same(found, want)


def test_arrays_keep_their_bits_whatever_their_layout():
    table = np.arange(24, dtype=np.float32).reshape(4, 6)
    table[0, 0], table[1, 1], table[2, 2] = np.nan, -np.inf, -0.0
    for layout in (table.T, np.asfortranarray(table), table[::2, ::-1], table[:0]):
        found = through_a_file(CkaMap(layout, 3)).values
        assert (found.dtype, found.shape) == (layout.dtype, layout.shape)
        np.testing.assert_array_equal(found, layout)
        np.testing.assert_array_equal(np.signbit(found), np.signbit(layout))


@dataclass(frozen=True)
class Odd:
    """Hints that the artifacts have only some of."""

    nothing: int | None
    deep: tuple[tuple[tuple[int, ...], ...], ...]
    empty: tuple[str, ...]
    flag: bool
    inner: Preprocess
    ranking: Ranking


def test_none_and_tuples_of_tuples_come_back_as_they_were():
    odd = Odd(None, (((1, 2), (3,)), ((),), ()), (), False, PREPROCESS, RANKING)
    assert_same(through_a_file(odd), odd)


@pytest.mark.parametrize("sample", [CURVATURE, search_state(1), RANKING], ids=name_of)
def test_a_missing_part_is_an_error_that_names_it(sample):
    arrays, values = encode(sample)
    for name in {*arrays, *values} - {"history.mixings"}:  # which has a default
        with pytest.raises(KeyError, match=name.replace(".", r"\.")):
            decode(
                type(sample),
                {k: v for k, v in arrays.items() if k != name},
                {k: v for k, v in values.items() if k != name},
            )


def test_what_was_written_before_a_field_existed_gets_its_default():
    _, values = encode(RunRequest(ModelSpec("vit"), config=with_settings(PRESETS["paper"], ["search.seed=3"])))
    del values["scores"], values["model.image_size"], values["config.search.seed"]
    want = RunRequest(ModelSpec("vit"), config=PRESETS["paper"])
    assert decode(RunRequest, {}, values) == want
    without_a_part = {name: value for name, value in values.items() if not name.startswith("model.")}
    assert decode(RunRequest, {}, without_a_part) == RunRequest(config=PRESETS["paper"])
