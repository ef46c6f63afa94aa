"""Curves and paired differences of a comparison by loops and a plain bootstrap; the linear probe by scikit-learn."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from scipy.stats import bootstrap
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from snapvit.artifacts import Cut
from snapvit.evaluation.paired import pack_answers
from snapvit.evaluation.probe import STRENGTHS, probe_predictions
from snapvit.evaluation.standings import area_difference, curve_of, difference_at, mean_difference
from snapvit.pipeline.config import PRESETS, RunRequest
from snapvit.report.contestants import reference_in, rivals_in
from snapvit.tables import Comparison, Measurement, Measurements

QUERIES = 203
CUTS = ((0.5, 0.35), (0.2, 0.05), (0.8, 0.65))
MACS = {0.2: 80, 0.5: 50, 0.8: 20}


def answers_of(name: str, seed: int, corrected: bool, mlp: float, probe: bool = False) -> np.ndarray:
    """Made-up answers, which depend on every argument."""
    share = {"a": 0.9, "b": 0.8, "alone": 0.5}[name] - 0.4 * mlp**2 + 0.05 * corrected
    key = [ord(name[0]), seed, corrected, round(100 * mlp), probe]
    return np.random.default_rng(key).random(QUERIES) < share


def measured(answers: np.ndarray, mlp: float, heads: float, macs: int) -> Measurement:
    cut = Cut(mlp, heads, (4, 4), (2, 2))
    packed = pack_answers(answers).tobytes().hex()
    return Measurement(cut, packed, QUERIES, 40, 5, cosine=1 - mlp, params=macs, macs=macs)


@pytest.fixture(scope="module")
def comparison() -> Comparison:
    found = Comparison.empty(Measurements.empty(2, QUERIES, 40, 5, labelled=True), headed=True)
    for name, seeds in (("a", 3), ("b", 3), ("alone", 1)):
        for seed in range(seeds):
            for corrected in (False, True):
                for mlp, heads in CUTS if name != "alone" else CUTS[:2]:
                    row = measured(answers_of(name, seed, corrected, mlp), mlp, heads, MACS[mlp])
                    probe = pack_answers(answers_of(name, seed, corrected, mlp, True)).tobytes() if mlp > 0.3 else None
                    head = pack_answers(~answers_of(name, seed, corrected, mlp)).tobytes()
                    found = found.with_row(name, seed, corrected, row, probe, head)
    return found


def test_a_curve_is_the_mean_of_its_seeds_with_their_range(comparison):
    for corrected in (False, True):
        curve = curve_of(comparison, "a", corrected)
        assert curve.mlp.tolist() == [0.2, 0.5, 0.8] and curve.heads.tolist() == [0.05, 0.35, 0.65]
        assert curve.macs.tolist() == [80, 50, 20] and curve.seeds.tolist() == [3, 3, 3]
        shares = np.array([[answers_of("a", s, corrected, mlp).mean() for s in range(3)] for mlp in curve.mlp])
        np.testing.assert_allclose(curve.mean, shares.mean(axis=1))
        np.testing.assert_allclose([curve.low, curve.high], [shares.min(axis=1), shares.max(axis=1)])
    probe = curve_of(comparison, "b", True, "probe")
    assert probe.mlp.tolist() == [0.5, 0.8]
    np.testing.assert_allclose(probe.mean[1], np.mean([answers_of("b", s, True, 0.8, True) for s in range(3)]))
    np.testing.assert_allclose(curve_of(comparison, "b", True, "cosine").mean, [0.8, 0.5, 0.2])
    np.testing.assert_allclose(
        curve_of(comparison, "b", True, "head").mean, 1 - curve_of(comparison, "b", True, "top1").mean
    )
    assert curve_of(comparison, "nobody", False) is None


def test_a_difference_is_the_second_less_the_first_averaged_over_seeds(comparison):
    for measure in ("top1", "probe"):
        found = difference_at(comparison, ("a", False), ("b", True), 0.8, 0.65, measure)
        one, two = (
            np.array([answers_of(name, s, corrected, 0.8, measure == "probe") for s in range(3)])
            for name, corrected in (("a", False), ("b", True))
        )
        assert found.mean == pytest.approx(two.mean() - one.mean())
        assert found.low < found.mean < found.high
    assert difference_at(comparison, ("a", False), ("alone", False), 0.8, 0.65) is None, "it was not measured there"
    assert difference_at(comparison, ("a", False), ("b", False), 0.2, 0.05, "probe") is None, "no probe was trained"
    same = difference_at(comparison, ("a", False), ("a", False), 0.8, 0.65)
    assert (same.mean, same.low, same.high, same.decided) == (0, 0, 0, False)


def test_an_area_is_that_of_the_trapezoids_over_macs(comparison):
    uncut = measured(np.random.default_rng(1).random(QUERIES) < 0.9, 0.0, 0.0, 100)

    def area(name: str, corrected: bool, whole: bool) -> float:
        accuracy = [np.mean([answers_of(name, s, corrected, mlp) for s in range(3)]) for mlp in (0.8, 0.5, 0.2)]
        macs = [20, 50, 80]
        if whole:
            accuracy, macs = [*accuracy, uncut.top1], [*macs, 100]
        steps = zip(accuracy[:-1], accuracy[1:], macs[:-1], macs[1:], strict=True)
        return sum((left + right) / 2 * (end - start) for left, right, start, end in steps) / (macs[-1] - macs[0])

    for whole in (False, True):
        found = area_difference(comparison, ("a", True), ("b", False), uncut if whole else None)
        assert found.mean == pytest.approx(area("b", False, whole) - area("a", True, whole))
        assert found.high < 0 and found.decided, "b is ten points worse everywhere"
    assert area_difference(comparison, ("a", False), ("alone", False)) is None, "it lacks one of a's cuts"


def test_areas_are_of_the_cuts_that_every_seed_of_the_first_has(comparison):
    """What one seed was measured at beside them counts for nothing."""
    want = {
        way: area_difference(comparison, *way) for way in ((("a", False), ("b", True)), (("b", True), ("a", False)))
    }
    answers = answers_of("b", 1, True, 0.8)
    more = comparison.with_row("b", 1, True, measured(answers, 0.9, 0.75, 10), None, pack_answers(answers).tobytes())
    for way, found in want.items():
        assert area_difference(more, *way) == found
    few = area_difference(comparison, ("alone", False), ("a", False))
    assert few.mean > 0.2, "of the two cuts that the first has"


def of(*names: str) -> Comparison:
    """A comparison of these contenders, with one cut each."""
    found = Comparison.empty(Measurements.empty(2, QUERIES, 40, 5, labelled=True), headed=False)
    for name in names:
        found = found.with_row(name, 0, False, measured(answers_of("a", 0, False, 0.5), 0.5, 0.35, 50), None, None)
    return found


def test_a_search_of_set_length_is_a_rival_unless_the_runs_own_takes_part():
    short = "snapvit search.generations=2"
    assert rivals_in(of("snapvit", short, "lamp"), "snapvit") == ["snapvit", "lamp"]
    assert rivals_in(of("snapvit", short, "lamp"), short) == ["snapvit", short, "lamp"]
    assert rivals_in(of("gauss-newton", short), "gauss-newton") == ["gauss-newton", short]


@pytest.mark.parametrize(
    ("preset", "names", "reference"),
    [
        ("quick", ("lamp", "snapvit"), "snapvit"),
        ("direct", ("snapvit", "gauss-newton"), "gauss-newton"),
        ("direct", ("lamp", "snapvit"), "snapvit"),
        ("direct", ("lamp", "random"), "lamp"),
    ],
)
def test_all_are_held_against_the_runs_own_ranking(preset, names, reference):
    results = SimpleNamespace(request=RunRequest(config=PRESETS[preset]))
    assert reference_in(results, of(*names)) == reference


def test_one_seed_each_is_the_bootstrap_over_queries():
    rng = np.random.default_rng(5)
    a, b = (rng.random((1, QUERIES)) < share for share in (0.7, 0.75))
    found = mean_difference(a.astype(float), b.astype(float), same_seeds=True)
    other = bootstrap((b[0].astype(float) - a[0],), np.mean, method="percentile", n_resamples=20_000, rng=rng)
    assert found.low == pytest.approx(other.confidence_interval.low, abs=0.012)
    assert found.high == pytest.approx(other.confidence_interval.high, abs=0.012)


def test_the_interval_holds_the_difference_nineteen_times_in_twenty():
    rng, held, draws = np.random.default_rng(0), 0, 200
    for i in range(draws):
        level = rng.random(300)
        a, b = ((rng.random((8, 300)) < level * scale).astype(float) for scale in (0.8, 0.9))
        found = mean_difference(a, b, same_seeds=False, seed=i)
        held += found.low <= 0.05 <= found.high  # the mean of level is 0.5
    assert held / draws > 0.9


def test_seeds_that_scatter_widen_the_interval():
    rng = np.random.default_rng(3)
    a = (rng.random((5, 400)) < 0.8).astype(float)
    calm, wild = (
        np.stack([(rng.random(400) < 0.8 + spread * s).astype(float) for s in (-2, -1, 0, 1, 2)])
        for spread in (0, 0.07)
    )
    widths = [mean_difference(a, b, same_seeds=False) for b in (calm, wild)]
    assert widths[1].high - widths[1].low > 1.5 * (widths[0].high - widths[0].low)


def test_a_table_takes_only_rows_that_are_new(comparison):
    again = comparison.with_rows(comparison)
    assert len(again) == len(comparison) == 2 * (3 * 3 + 3 * 3 + 2)
    assert comparison.seeds("a") == [0, 1, 2] and comparison.seeds("alone") == [0] and comparison.seeds("c") == []
    row = comparison.find("b", 2, True, 0.5, 0.35)
    np.testing.assert_array_equal(comparison.table.answers[row], pack_answers(answers_of("b", 2, True, 0.5)))


@pytest.fixture
def blobs() -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(4, 12)) * 0.8
    labels = rng.integers(0, 4, 360)
    rows = (centres[labels] * 3 + rng.normal(size=(360, 12)) * np.linspace(0.5, 20, 12)).astype(np.float32)
    return rows[:240], labels[:240], rows[240:], labels[240:]


def test_the_probe_is_scikit_learns(blobs):
    gallery, labels, queries, truth = blobs
    scaled = StandardScaler().fit(gallery)  # of all of the gallery: the held-out part has no say in what is tested

    def model(strength: float) -> LogisticRegression:
        return LogisticRegression(C=strength, max_iter=2000, solver="newton-cg")

    fit_x, held_x, fit_y, held_y = train_test_split(
        scaled.transform(gallery), labels, test_size=0.25, random_state=0, stratify=labels
    )
    best = max(STRENGTHS, key=lambda c: (model(c).fit(fit_x, fit_y).score(held_x, held_y), -c))
    want = make_pipeline(StandardScaler(), model(best)).fit(gallery, labels).predict(queries)
    found = probe_predictions(gallery, labels, queries)
    assert (found == want).mean() > 0.99 and (found == truth).mean() > 0.7


def test_the_probe_takes_a_class_with_one_image(blobs):
    gallery, labels, queries, _ = blobs
    labels = labels.copy()
    labels[0] = 9
    assert set(probe_predictions(gallery, labels, queries)) <= {0, 1, 2, 3, 9}
