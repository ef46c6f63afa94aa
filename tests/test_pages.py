"""Every page on an empty and on the shipped cache, without a browser."""

from __future__ import annotations

import base64
import json
import threading
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from page_checks import PAGES, charts, opened, words
from scipy.stats import binomtest
from store_samples import edit_manifest, path_of

from scripts.bundled_run import REQUEST
from snapvit.formats import percent
from snapvit.pipeline.config import with_settings
from snapvit.pipeline.results import StoredRun, list_runs
from snapvit.store.codec import encode
from snapvit.store.store import Store
from snapvit.tables import Measurements
from snapvit.ui.resources import jobs


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fresh_resources: None) -> Path:
    monkeypatch.setenv("SNAPVIT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.mark.parametrize("page", PAGES)
def test_an_empty_cache_says_what_to_do(page: str, empty: Path) -> None:
    app = opened(page)
    assert "no run to show yet" in words(app)
    assert not app.get("plotly_chart")
    assert not list(empty.glob("*")), "looking must not write"


@pytest.mark.parametrize("page", PAGES)
def test_the_shipped_run_is_shown_at_once(page: str, shipped: Store) -> None:
    app = opened(page)
    assert "no run to show yet" not in words(app)
    assert "unfinished" not in words(app)
    assert app.selectbox(key="run_picker").value.startswith("bundled-paper-")


def test_the_run_page_says_what_cuts_cost_and_how_the_search_went_once_asked(shipped: Store) -> None:
    app = opened("app.py")
    text = words(app)
    table = shipped.load(REQUEST.run, "evaluation", Measurements)
    for pair in ((0.0, 0.0), (0.35, 0.2), (0.65, 0.5), (0.95, 0.8)):
        m = table.find(*pair)
        want = binomtest(m.hits, m.queries).proportion_ci(0.95, method="wilson")
        assert f"**{percent(m.hits / m.queries)}** ({percent(want.low)} to {percent(want.high)})" in text
    assert app.button(key="start").disabled is False
    assert not app.get("plotly_chart"), "the first page is quick because it does not wait for Plotly"
    app.session_state[f"search_{REQUEST.run}"] = True
    assert "How the search found its factors" in charts(app.run())


def test_the_address_chooses_sparsity_and_head(shipped: Store) -> None:
    app = opened("pages/heads.py", s="0.3", at="3-4")
    assert app.slider[0].value == 30
    assert "Block 3, head 4" in words(app)
    assert "It goes when" in words(app) or "This head never goes" in words(app)


@pytest.mark.parametrize(
    "query",
    [
        {"s": "nonsense"},
        {"s": "nan"},
        {"s": "7"},
        {"s": "-1"},
        {"at": "0-0"},
        {"at": "99-99"},
        {"at": "x"},
        {"run": "no-such-run"},
        {"run": "../../etc"},
    ],
)
@pytest.mark.parametrize("page", PAGES)
def test_a_foreign_address_falls_back_calmly(page: str, query: dict[str, str], shipped: Store) -> None:
    app = opened(page, **query)
    assert "no run to show yet" not in words(app)


@pytest.mark.parametrize("page", PAGES)
def test_a_link_to_a_run_that_is_not_here_says_so_and_offers_what_is(page: str, shipped: Store) -> None:
    app = opened(page, run="no-such-run")
    assert "Run no-such-run is not in this cache" in words(app)
    assert not app.metric
    assert not app.get("plotly_chart")
    assert app.query_params["run"] == "no-such-run", "a reload says the same"
    app.button(key=f"instead_{REQUEST.run}").click().run()
    assert not app.exception
    assert "not in this cache" not in words(app)
    assert app.query_params["run"] == REQUEST.run


def test_the_default_is_the_newest_finished_run(shipped: Store) -> None:
    """The symptom: a run that was cancelled before its first stage was shown in the place of the finished one."""
    stored = StoredRun.open(shipped, REQUEST.run)
    other = replace(REQUEST, config=with_settings(REQUEST.config, ["search.seed=5"]))
    shipped.create(other.run, encode(other)[1], stored.manifest.facts, stored.manifest.nodes)
    assert max(list_runs(shipped), key=lambda s: s.created).run == other.run
    app = opened("pages/sparsity.py")
    assert app.query_params["run"] == REQUEST.run
    assert opened("pages/heads.py", run=other.run).query_params["run"] == other.run, "asked for, it is shown"


@dataclass(frozen=True)
class Waiting:
    """Work on a run, until it may go on."""

    run: str
    go_on: threading.Event = field(compare=False)
    label: str = "Waiting"
    brief: bool = False

    def perform(self, bench: object) -> None:
        self.go_on.wait(60)


def test_a_finished_run_stays_finished_while_something_is_added_to_it(shipped: Store) -> None:
    go_on = threading.Event()
    jobs().submit(Waiting(REQUEST.run, go_on))
    text = words(opened("app.py"))
    go_on.set()
    jobs().close()
    assert ":material/check_circle: finished, " in text
    assert "under way" not in text


def test_crosses_follow_the_sparsity(shipped: Store) -> None:
    def crosses(percent: str) -> int:
        app = opened("pages/heads.py", s=percent)
        traces = json.loads(app.get("plotly_chart")[0].proto.spec)["data"]
        marked = next(trace for trace in traces if trace.get("name") == "removed by this cut")
        x = marked["x"]
        if isinstance(x, dict):  # base64 of a numpy array
            return len(base64.b64decode(x["bdata"])) // {"i1": 1, "i2": 2, "i4": 4, "i8": 8}[x["dtype"]]
        return len(x)

    assert crosses("0.1") == 0  # heads lag 15 points behind
    assert crosses("0.65") == 36  # half of 72


def test_a_damaged_file_is_named_and_the_rest_is_shown(shipped: Store) -> None:
    run = next(shipped.root.glob("bundled-paper-*"))
    search = next(run.glob("search-*.safetensors"))
    search.write_bytes(search.read_bytes()[:1000])
    app = opened("app.py")
    assert search.name in words(app)
    assert "Some cuts in numbers" in words(app)
    assert "How the search went" not in [fold.label for fold in app.expander]
    opened("pages/heads.py")


def test_an_unfinished_run_says_what_is_missing_and_can_go_on(shipped: Store) -> None:
    run = next(shipped.root.glob("bundled-paper-*"))
    for stage in ("search", "ranking", "evaluation"):
        path_of(shipped, run.name, stage).unlink()
    edit_manifest(
        shipped, run.name, lambda m: [m["entries"].pop(stage) for stage in ("search", "ranking", "evaluation")] and None
    )
    app = opened("app.py")
    assert "Nothing can be cut yet" in words(app)
    assert app.button(key=f"go_on_{run.name}").disabled is False
    sparsity = opened("pages/sparsity.py")
    assert "no ranking yet" in words(sparsity)
    assert opened("pages/heads.py").get("plotly_chart")
