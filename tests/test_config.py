"""What a person may ask for: presets, settings by name, the names of runs, and the slider's path."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from snapvit.artifacts import PAPER_PAIRS, Floors
from snapvit.errors import InputError
from snapvit.models.spec import ModelSpec
from snapvit.pipeline.config import (
    PRESETS,
    RunConfig,
    RunRequest,
    SearchConfig,
    path_pair,
    path_points,
    setting_names,
    with_settings,
)

# Every setting: a text, what it must become, and the bounds of a whole number.
SETTINGS = {
    "curvature.criterion": ("accumulated", "accumulated"),
    "curvature.images": ("77", 77),
    "curvature.global_views": ("3", 3),
    "curvature.local_views": ("0", 0),
    "curvature.seed": ("5", 5),
    "cka.images": ("33", 33),
    "search.generations": ("21", 21),
    "search.population": ("9", 9),
    "search.images": ("12", 12),
    "search.pairs": ("[[0.5, 0], [0.25, 0.125]]", ((0.5, 0.0), (0.25, 0.125))),
    "search.components": ("64", 64),
    "search.start": ("cka", "cka"),
    "search.fitness": ("corrected", "corrected"),
    "search.seed": ("8", 8),
    "floors.neurons": ("0.25", 0.25),
    "floors.heads": ("0", 0.0),
    "correction.form": ("sequential", "sequential"),
    "correction.images": ("70", 70),
    "correction.damping": ("p95", "p95"),
    "correction.share": ("1", 1.0),
    "evaluation.k": ("7", 7),
    "evaluation.gallery": ("300", 300),
    "evaluation.queries": ("40", 40),
    "evaluation.points": ("5", 5),
    "interactions.images": ("48", 48),
    "interactions.probes": ("2", 2),
    "interactions.seed": ("6", 6),
    "ranking.method": ("lamp", "lamp"),
    "ranking.seed": ("7", 7),
    "split_seed": ("3", 3),
    "calibration_seed": ("4", 4),
    "precision": ("bfloat16", "bfloat16"),
}
LEAST = {
    "curvature.images": 1,
    "curvature.global_views": 1,
    "curvature.local_views": 0,
    "curvature.seed": 0,
    "cka.images": 2,
    "search.generations": 1,
    "search.population": 2,
    "search.images": 2,
    "search.components": 1,
    "search.seed": 0,
    "correction.images": 1,
    "evaluation.k": 1,
    "evaluation.gallery": 1,
    "evaluation.queries": 1,
    "evaluation.points": 2,
    "interactions.images": 2,
    "interactions.probes": 1,
    "interactions.seed": 0,
    "ranking.seed": 0,
    "split_seed": 0,
    "calibration_seed": 0,
}
MOST = {
    "curvature.global_views": 8,
    "curvature.local_views": 64,
    "curvature.seed": 2**32 - 1,
    "search.generations": 10_000,
    "search.population": 10_000,
    "evaluation.points": 1001,
    "interactions.probes": 10_000,
    "interactions.seed": 2**32 - 1,
    "ranking.seed": 2**32 - 1,
    "split_seed": 2**32 - 1,
    "calibration_seed": 2**32 - 1,
}


def value_of(config: RunConfig, name: str) -> object:
    section, _, key = name.partition(".")
    return getattr(getattr(config, section), key) if key else getattr(config, section)


def refused(settings: list[str], *told: str) -> None:
    """The settings are refused with one sentence that holds every one of `told`."""
    with pytest.raises(InputError) as caught:
        with_settings(PRESETS["quick"], settings)
    message = str(caught.value)
    assert "\n" not in message
    assert message.endswith(".")
    for part in told:
        assert part in message, message


def test_paper_preset_has_the_papers_numbers():
    paper = PRESETS["paper"]
    assert (paper.curvature.images, paper.curvature.global_views, paper.curvature.local_views) == (1000, 2, 10)
    assert (paper.curvature.criterion, paper.search.components, paper.search.start) == ("fisher", 192, "identity")
    assert paper.search.pairs == ((0.15, 0.0), (0.35, 0.2), (0.55, 0.4), (0.65, 0.5))
    assert paper.search.population is None
    assert (paper.floors.neurons, paper.floors.heads) == (0.05, 0.2)
    assert paper.evaluation.k == 20
    assert paper.evaluation.points >= 33  # the design's least for a live slider


def test_presets_know_their_names_whatever_the_search_seed():
    assert {"look", "quick", "direct", "paper"} <= set(PRESETS)
    for name, config in PRESETS.items():
        assert config.preset == name
        assert with_settings(config, ["search.seed=41"]).preset == name
        for setting, (text, _) in SETTINGS.items():
            changed = with_settings(config, [f"{setting}={text}"])
            same = (setting.endswith("seed") and setting != "split_seed") or setting == "precision"
            assert changed.preset == (name if same else "custom"), setting


def test_every_setting_has_a_name_and_can_be_set():
    assert set(setting_names()) == set(SETTINGS)
    assert len(setting_names()) == len(SETTINGS)
    for name, (text, want) in SETTINGS.items():
        for base in PRESETS.values():
            changed = with_settings(base, [f"{name}={text}"])
            found = value_of(changed, name)
            assert found == want, name
            assert type(found) is type(want), name
            for other in SETTINGS:
                if other != name:
                    assert value_of(changed, other) == value_of(base, other), (name, other)


def test_settings_add_up_and_the_last_of_one_name_wins():
    config = with_settings(PRESETS["quick"], ["cka.images=3", "evaluation.k=4", "cka.images=9"])
    assert (config.cka.images, config.evaluation.k) == (9, 4)
    assert with_settings(PRESETS["quick"], []) == PRESETS["quick"]
    assert with_settings(config, ["search.population=null"]).search.population is None


@pytest.mark.parametrize(
    "setting", ["generations=3", "search=3", "search.=3", ".=3", "=3", "search.speed=3", "split_seed.x=3", "preset=x"]
)
def test_an_unknown_name_is_refused_with_all_that_are_known(setting):
    refused([setting], repr(setting.partition("=")[0]), *SETTINGS)


@pytest.mark.parametrize("setting", ["search.generations", "", "split_seed"])
def test_a_setting_without_a_value_is_refused_with_the_form_to_write(setting):
    refused([setting], repr(setting), "=VALUE")


@pytest.mark.parametrize("name", LEAST)
@pytest.mark.parametrize("text", ["", "many", "2.5", "1e3", "true", "null", "[3]", "NaN", "Infinity"])
def test_a_whole_number_must_be_one(name, text):
    if (name, text) == ("search.population", "null"):  # left to the number of structures
        assert with_settings(PRESETS["quick"], [f"{name}={text}"]).search.population is None
        return
    refused([f"{name}={text}"], name, "whole number", f"at least {LEAST[name]}" if name not in MOST else "between")


def test_a_number_of_thousands_of_digits_is_refused_like_any_other():
    refused(["evaluation.points=" + "9" * 5000], "evaluation.points", "between 2 and 1001")


@pytest.mark.parametrize("name", LEAST)
def test_whole_numbers_keep_to_their_range(name):
    least, most = LEAST[name], MOST.get(name)
    assert value_of(with_settings(PRESETS["quick"], [f"{name}={least}"]), name) == least
    refused([f"{name}={least - 1}"], name, str(least), str(least - 1))
    if most is not None:
        assert value_of(with_settings(PRESETS["quick"], [f"{name}={most}"]), name) == most
        refused([f"{name}={most + 1}"], name, f"between {least} and {most}", str(most + 1))


@pytest.mark.parametrize("name", ["floors.neurons", "floors.heads"])
def test_floors_are_shares(name):
    for text in ("0", "1", "0.125"):
        assert value_of(with_settings(PRESETS["quick"], [f"{name}={text}"]), name) == float(text)
    for text in ("-0.01", "1.01", "much", "null", "true", "NaN", "[0.1]", ""):
        refused([f"{name}={text}"], name.partition(".")[2], "between 0 and 1")


def test_choices_are_named():
    refused(["curvature.criterion=exact"], "'exact'", "fisher", "accumulated")
    refused(["search.start=3"], "3", "identity", "cka")


@pytest.mark.parametrize(
    "text", ["0.5", "[0.5, 0.2]", "[[0.5]]", "[[0.1, 0.2, 0.3]]", "half", '[["a", 0]]', "null", "[[[0.1], 0]]"]
)
def test_pairs_must_be_pairs_of_numbers(text):
    refused([f"search.pairs={text}"], "search.pairs", "[[0.15, 0], [0.35, 0.2]]")


def test_pairs_keep_to_their_range():
    refused(["search.pairs=[]"], "at least one pair")
    for bad in (
        "[[1, 0]]",
        "[[0.5, 1.0]]",
        "[[-0.1, 0]]",
        "[[0.2, 0.1], [0.2, -0.5]]",
        "[[NaN, 0]]",
        "[[0, Infinity]]",
    ):
        refused([f"search.pairs={bad}"], "search.pairs", "at least 0 and below 1")


def test_a_loss_between_views_needs_two_of_them():
    refused(["curvature.local_views=0", "curvature.global_views=1"], "2 views")
    assert with_settings(PRESETS["quick"], ["curvature.local_views=1", "curvature.global_views=1"])


def test_the_first_bad_setting_is_the_one_named():
    refused(["cka.images=5", "cka.images=-5", "evaluation.k=-7"], "cka.images is -5")


def test_equal_requests_have_equal_names():
    a = RunRequest(config=with_settings(PRESETS["quick"], ["floors.heads=0", "search.pairs=[[0, 0]]", "cka.images=9"]))
    b = RunRequest(
        config=with_settings(PRESETS["quick"], ["cka.images=9", "search.pairs=[[0.0,0.0]]", "floors.heads=0.00"])
    )
    whole, point = (
        RunRequest(config=RunConfig(floors=Floors(zero, zero), search=SearchConfig(pairs=((zero, zero),))))
        for zero in (0, 0.0)
    )
    for one, other in ((a, b), (whole, point), (RunRequest(), RunRequest(config=PRESETS["quick"]))):
        assert one == other
        assert one.run == other.run


def test_different_requests_have_different_names():
    base = RunRequest()
    requests = [base, replace(base, data="folder:a"), replace(base, config=PRESETS["paper"])]
    specs = [ModelSpec("deit_tiny_patch16_224"), ModelSpec(checkpoint="a.pth"), ModelSpec(checkpoint="b.pth")]
    requests += [replace(base, model=spec) for spec in [*specs, ModelSpec(image_size=28)]]
    requests += [
        replace(base, config=with_settings(base.config, [f"{name}={text}"])) for name, (text, _) in SETTINGS.items()
    ]
    names = [request.run for request in requests]
    assert len(set(names)) == len(names)


def test_a_run_is_named_after_its_model_and_preset_and_makes_a_plain_folder():
    assert RunRequest().run.startswith("bundled-quick-")
    assert RunRequest(config=PRESETS["paper"]).run.startswith("bundled-paper-")
    odd = RunRequest(ModelSpec("hf-hub:../../Some One/Модель" + "x" * 300), config=with_settings(RunConfig(), [])).run
    assert odd.startswith("hf-hub-some-one-")
    assert len(odd) < 80
    assert not set(odd) - set("abcdefghijklmnopqrstuvwxyz0123456789-")


@pytest.mark.parametrize("count", [2, 3, 4, 5, 8, 9, 33, 38, 39, 100, 1001])
def test_path_is_even_from_0_to_95_percent_and_halves_its_gaps(count):
    points = path_points(count)
    np.testing.assert_allclose(sorted(points), np.linspace(0, 0.95, count), atol=5.1e-5)
    assert points[:2] == [0.0, 0.95]
    places = np.round(np.array(points) * (count - 1) / 0.95).astype(int).tolist()
    assert sorted(places) == list(range(count))
    seen = [0, count - 1]
    for place in places[2:]:
        low = max(p for p in seen if p < place)
        high = min(p for p in seen if p > place)
        assert abs((place - low) - (high - place)) <= 1, "a new point stands in the middle of a gap"
        widest = max(np.diff(sorted(seen)))
        assert high - low >= widest - 1, "the widest gaps are halved first"
        seen.append(place)


def test_default_path_goes_in_steps_of_2_5_percent():
    assert PRESETS["paper"].evaluation.points == 39
    assert sorted(path_points(39)) == [round(0.025 * i, 3) for i in range(39)]


def test_one_sparsity_stands_for_the_papers_pairs():
    assert tuple(path_pair(mlp) for mlp, _ in PAPER_PAIRS) == PAPER_PAIRS
    assert path_pair(0.0) == (0.0, 0.0)
    assert path_pair(0.1) == (0.1, 0.0)
    assert path_pair(0.95) == (0.95, 0.8)
    for sparsity in path_points(39):
        mlp, heads = path_pair(sparsity)
        assert mlp == sparsity
        assert heads == pytest.approx(max(0.0, sparsity - 0.15), abs=1e-9)
