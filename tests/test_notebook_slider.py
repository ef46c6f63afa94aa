"""The live slider as a widget, without a browser: what Python reads, sets and hears; what the browser is handed."""

from __future__ import annotations

import json

import pytest
from node import SCRIPTS

import snapvit
from snapvit.browser import modules_of
from snapvit.browser.live_sparsity import payload
from snapvit.browser.live_sparsity.of_run import live_data
from snapvit.errors import InputError
from snapvit.notebook.slider import ENTRY, SparsitySlider
from snapvit.pipeline.path import measured_on_path
from snapvit.ui.resources import chosen_live_data


@pytest.fixture
def run(finished):
    return snapvit.open(finished.manifests()[0].run, cache=finished.root)


@pytest.fixture
def slider(run) -> SparsitySlider:
    return run.slider(0.3)


def test_its_place_is_three_numbers_that_a_cut_takes(slider):
    assert (slider.at, slider.mlp, slider.heads) == (0.3, 0.3, 0.15)
    slider.at = 0.651
    assert (slider.at, slider.mlp, slider.heads) == (0.65, 0.65, 0.5)
    slider.at = 0
    assert (slider.at, slider.mlp, slider.heads) == (0, 0, 0)
    assert "0 %" in repr(slider)


def test_who_hears_of_a_move_finds_all_of_it(slider):
    heard = []
    for name in ("at", "mlp", "heads"):
        slider.observe(lambda change: heard.append((change.name, slider.at, slider.mlp, slider.heads)), name)
    slider.set_state({"_thumb": {"value": 0.5, "turn": "browser 1"}})  # as the widget's connection does
    assert sorted(heard) == [("at", 0.5, 0.5, 0.35), ("heads", 0.5, 0.5, 0.35), ("mlp", 0.5, 0.5, 0.35)]
    assert slider._thumb["turn"] == "browser 1", "nothing is sent back to the hand that moved it"
    slider.at = 0.2
    assert slider._thumb["value"] == 0.2 and slider._thumb["turn"].startswith("python")


@pytest.mark.parametrize("place", [-0.01, 0.96, float("nan"), float("inf")])
def test_a_place_beyond_its_ends_is_one_sentence(run, slider, place):
    with pytest.raises(InputError, match=r"from 0 to 0\.95"):
        slider.at = place
    assert slider.at == 0.3
    with pytest.raises(InputError, match=r"from 0 to 0\.95"):
        run.slider(place)


def test_the_shares_are_read_only(slider):
    with pytest.raises(Exception, match="read-only"):
        slider.mlp = 0.5


def test_the_browser_is_handed_what_the_pages_slider_is(shown):
    run = snapvit.open(shown.manifests()[0].run, cache=shown.root)
    given = json.loads(run.slider()._data)
    assert given.pop("file") == f"{run.name}-sparsity"
    assert given == json.loads(json.dumps(payload(chosen_live_data(run.results))))


def test_corrected_cuts_are_shown_where_they_are_asked_for(shipped):
    run = snapvit.open("bundled", cache=shipped.root)
    plain, corrected = (json.loads(run.slider(correct=correct)._data) for correct in (False, True))
    assert corrected["corrected"] and not plain["corrected"]
    assert corrected["points"][-1]["top1"] == plain["other"][-1][1]


def test_a_run_without_measured_cuts_says_so(run, finished):
    finished.forget(run.name, ["evaluation-corrected"])
    assert measured_on_path(run.results)
    with pytest.raises(InputError, match="measured with corrected weights"):
        run.slider(correct=True)


def test_the_scripts_are_those_of_the_page_and_no_others():
    found = modules_of(ENTRY)
    assert {"notebook/slider.js", "live_sparsity/live_sparsity.js", "live_sparsity/charts.js", "svg.js"} <= set(found)
    assert not any(name.startswith(("embedding", "chart_events", "private_names")) for name in found)
    assert all(text == (SCRIPTS / name).read_text(encoding="utf-8") for name, text in found.items())


def test_live_data_is_a_run_and_no_page(run):
    assert len(live_data(run.results).steps) == 191
