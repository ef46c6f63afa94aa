"""Every page on an empty and on the shipped cache, without a browser."""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

ROOT = Path(__file__).parents[1]
SHIPPED = ROOT / "cache"
PAGES = ["app.py", *(f"pages/{name}.py" for name in ("sparsity", "heads", "cka", "correlation", "embedding", "method"))]


@pytest.fixture(autouse=True)
def fresh_resources() -> Iterator[None]:
    st.cache_resource.clear()  # the caches of one process outlive a test
    yield
    st.cache_resource.clear()


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    cache = tmp_path / "cache"
    shutil.copytree(SHIPPED, cache)
    monkeypatch.setenv("SNAPVIT_CACHE", str(cache))
    return cache


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SNAPVIT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def opened(page: str, **query: str) -> AppTest:
    app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=60)
    for name, value in query.items():
        app.query_params[name] = value
    if page == "app.py":
        return app.run()
    app.switch_page(page)
    return app.run()


def words(app: AppTest) -> str:
    kinds = (app.title, app.header, app.subheader, app.markdown, app.caption, app.info, app.warning, app.error)
    return "\n".join(str(element.value) for kind in kinds for element in kind)


@pytest.mark.parametrize("page", PAGES)
def test_an_empty_cache_says_what_to_do(page: str, empty: Path) -> None:
    app = opened(page)
    assert not app.exception
    assert "no run to show yet" in words(app)
    assert not app.get("plotly_chart")
    assert not list(empty.glob("*")), "looking must not write"


@pytest.mark.parametrize("page", PAGES)
def test_the_shipped_run_is_shown_at_once(page: str, shipped: Path) -> None:
    app = opened(page)
    assert not app.exception
    assert "no run to show yet" not in words(app)
    assert "unfinished" not in words(app)
    assert app.selectbox(key="run_picker").value.startswith("bundled-paper-")


def test_the_run_page_draws_accuracy_and_fitness(shipped: Path) -> None:
    app = opened("app.py")
    titles = [chart.proto.spec for chart in app.get("plotly_chart")]
    assert any("What each cut costs in accuracy" in spec for spec in titles)
    assert any("How the search found its factors" in spec for spec in titles)
    assert app.button(key="start").disabled is False


def test_the_address_chooses_sparsity_and_head(shipped: Path) -> None:
    app = opened("pages/heads.py", s="0.3", at="3-4")
    assert not app.exception
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
def test_a_foreign_address_falls_back_calmly(page: str, query: dict[str, str], shipped: Path) -> None:
    app = opened(page, **query)
    assert not app.exception
    assert "no run to show yet" not in words(app)


def test_crosses_follow_the_sparsity(shipped: Path) -> None:
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


def test_a_damaged_file_is_named_and_the_rest_is_shown(shipped: Path) -> None:
    run = next(shipped.glob("bundled-paper-*"))
    search = next(run.glob("search-*.safetensors"))
    search.write_bytes(search.read_bytes()[:1000])
    app = opened("app.py")
    assert not app.exception
    assert search.name in words(app)
    assert any("What each cut costs" in chart.proto.spec for chart in app.get("plotly_chart"))
    heads = opened("pages/heads.py")
    assert not heads.exception


def test_an_unfinished_run_says_what_is_missing_and_can_go_on(shipped: Path) -> None:
    run = next(shipped.glob("bundled-paper-*"))
    manifest = json.loads((run / "manifest.json").read_text())
    for stage in ("search", "ranking", "evaluation"):
        (run / manifest["stages"].pop(stage)["file"]).unlink()
    (run / "manifest.json").write_text(json.dumps(manifest))
    app = opened("app.py")
    assert not app.exception
    assert "No accuracy is measured yet" in words(app)
    assert app.button(key=f"go_on_{run.name}").disabled is False
    sparsity = opened("pages/sparsity.py")
    assert not sparsity.exception
    assert "no ranking yet" in words(sparsity)
    heads = opened("pages/heads.py")
    assert not heads.exception
    assert heads.get("plotly_chart")
