"""The front door: what `snapvit.open` and `snapvit.run` give equals what the pipeline, the pages and commands give."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import tomllib
from pathlib import Path

import numpy as np
import pytest
import torch
from command_line import Cli

import snapvit
from snapvit.errors import Cancelled, InputError
from snapvit.evaluation.knn import wilson_interval
from snapvit.evaluation.standings import difference_at
from snapvit.notebook import watching
from snapvit.notebook.run import Run
from snapvit.notebook.watching import STOPPED, watched
from snapvit.pipeline.config import RunRequest, path_pair
from snapvit.pipeline.opening import SHIPPED, take_shipped
from snapvit.pipeline.results import load_results
from snapvit.pipeline.stages.comparison import COMPARISON
from snapvit.store.store import Store, default_root

ROOT = Path(__file__).parents[1]


@pytest.fixture
def run(finished: Store, small_request: RunRequest) -> Run:
    return snapvit.open(small_request.run, cache=finished.root)


@pytest.fixture(scope="module")
def bundled_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The shipped run in a cache of its own."""
    return snapvit.open(cache=tmp_path_factory.mktemp("bundled"))


def in_a_fresh_process(code: str, *options: str) -> str:
    answer = subprocess.run([sys.executable, *options, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr
    return answer.stdout.strip()


# Importing


def test_importing_it_imports_nothing_else_that_takes_time():
    code = (
        "import sys; before = set(sys.modules); import snapvit; new = set(sys.modules) - before; "
        "print(sorted({m.partition('.')[0] for m in new} - set(sys.stdlib_module_names)), "
        "sorted(m for m in new if m.startswith('snapvit.')))"
    )
    assert in_a_fresh_process(code) == "['snapvit'] []"


def test_the_library_works_without_what_the_dashboard_and_figures_need(finished, small_request):
    """Every module but those of the dashboard and of figures, and a run with its cut, without the extras."""
    closed = ("ui", "server", "private_names", "figures", "report")
    files = [path.relative_to(ROOT).with_suffix("").parts for path in (ROOT / "snapvit").rglob("*.py")]
    names = sorted(".".join(parts) for parts in files if parts[1] not in closed and parts[-1] != "__main__")
    for name in ("figures", "slider"):
        names.remove(f"snapvit.notebook.{name}")
    code = f"""
import importlib, sys
from importlib.machinery import PathFinder

class WithoutExtras(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        absent = name.partition(".")[0] in ("streamlit", "plotly", "umap", "pandas", "anywidget")
        return None if absent else super().find_spec(name, path, target)

sys.meta_path[sys.meta_path.index(PathFinder)] = WithoutExtras
for name in {names}:
    importlib.import_module(name)
import snapvit
from snapvit.errors import InputError
run = snapvit.open({small_request.run!r}, {str(finished.root)!r})
assert run.cut(0.5, 0.35).params < run.cut(0, 0).params
asks = lambda: run.figures, lambda: run.accuracy, lambda: run.report("r.html"), lambda: snapvit.runs(), run.slider
for ask in asks:
    try:
        ask()
    except InputError as error:
        print(error)
"""
    said = in_a_fresh_process(code).splitlines()
    assert [line.partition(" needs ")[0] for line in said] == [
        "A figure",
        "A table",
        "A report",
        "A table",
        "The slider",
    ]
    assert all("pip install 'snapvit-explorer[notebook]'" in line for line in said)


def test_the_report_command_says_what_it_lacks(command: Cli, small_request, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "plotly", None)
    code, _, err = command("report", small_request.run, "--out", str(tmp_path / "r.html"))
    assert code == 2 and "A report needs plotly" in err and len(err.splitlines()) == 1


# Opening and running


def test_the_same_words_are_the_same_run_in_the_same_cache(finished, small_request, small_settings):
    """It finds the run that the pipeline made, and computes nothing."""
    before = Store(finished.root).manifest(small_request.run).entries
    run = snapvit.run(preset="quick", settings=small_settings, cache=finished.root, progress=False)
    assert run.name == small_request.run and run.request == small_request
    entries = Store(finished.root).manifest(small_request.run).entries
    assert {name: entries[name].sha256 for name in ("curvature", "search", "ranking")} == {
        name: before[name].sha256 for name in ("curvature", "search", "ranking")
    }
    assert snapvit.runs(finished.root)["run"].tolist() == [small_request.run]
    assert snapvit.open(run.folder).name == run.name, "by its folder, in the cache that holds it"


def test_the_shipped_run_is_copied_into_any_cache_once(tmp_path):
    store = Store(tmp_path / "new")
    assert take_shipped(store) == SHIPPED == snapvit.open(cache=store.root).name
    shipped = ROOT / "cache" / SHIPPED
    copied = {path.name: path.read_bytes() for path in (store.root / SHIPPED).iterdir()}
    assert copied == {path.name: path.read_bytes() for path in shipped.iterdir() if not path.name.startswith(".")}
    (store.root / SHIPPED / "manifest.json").touch()
    stamp = (store.root / SHIPPED / "manifest.json").stat().st_mtime_ns
    take_shipped(store)
    assert (store.root / SHIPPED / "manifest.json").stat().st_mtime_ns == stamp


def test_a_cache_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"cannot be copied into .*file .*; name another cache\."):
        snapvit.open(cache=tmp_path / "file")


def test_a_checkout_has_its_own_cache_and_an_installed_package_the_users(monkeypatch, tmp_path):
    monkeypatch.delenv("SNAPVIT_CACHE", raising=False)
    assert default_root() == ROOT / "cache"
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.setattr("snapvit.store.store.__file__", str(tmp_path / "site" / "snapvit" / "store" / "store.py"))
    assert default_root() == tmp_path / "snapvit" / "runs"


@pytest.mark.parametrize(
    ("ask", "words"),
    [
        (lambda cache: snapvit.open("nothing", cache=cache), "no run named 'nothing'"),
        (lambda cache: snapvit.run(preset="slow", cache=cache), "no preset 'slow'; there are quick, direct"),
        (lambda cache: snapvit.run(model="vit_nowhere", cache=cache, progress=False), "vit_nowhere"),
        (lambda cache: snapvit.run(images=Path("/nowhere/at/all"), cache=cache, progress=False), "/nowhere/at/all"),
        (lambda cache: snapvit.run(method="best", cache=cache), "ranking.method is 'best'"),
        (lambda cache: snapvit.load_exported(cache), "no folder that was exported"),
    ],
)
def test_what_cannot_be_had_is_one_sentence(ask, words, tmp_path):
    with pytest.raises(InputError) as caught:
        ask(tmp_path)
    assert words in str(caught.value) and len(str(caught.value).splitlines()) == 1


def test_an_interrupt_stops_a_run_and_the_same_call_goes_on(small_settings, tmp_path, monkeypatch):
    settings = [*small_settings, "search.generations=3"]
    whole = snapvit.run(settings=settings, cache=tmp_path / "whole", progress=False)

    class Interrupted(watching.Bar):
        def event(self, kind: str, text: str, **values: float) -> None:
            super().event(kind, text, **values)
            if kind == "generation":  # as Ctrl-C, or a notebook's stop button, sends it
                os.kill(os.getpid(), signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    with monkeypatch.context() as patch:
        patch.setattr(watching, "Bar", Interrupted)
        with pytest.raises(Cancelled) as caught:
            snapvit.run(settings=settings, cache=tmp_path / "broken")
    assert str(caught.value) == STOPPED and signal.getsignal(signal.SIGINT) is before
    stopped = load_results(Store(tmp_path / "broken"), whole.name)
    assert stopped.curvature is not None and stopped.ranking is None
    gone_on = snapvit.run(settings=settings, cache=tmp_path / "broken", progress=False)
    np.testing.assert_array_equal(gone_on.search.factors, whole.search.factors)
    np.testing.assert_array_equal(gone_on.ranking.mlp, whole.ranking.mlp)


def test_work_in_another_thread_leaves_interrupts_alone():
    seen = []

    def work() -> None:
        with watched(False):
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [signal.getsignal(signal.SIGINT)]


def test_the_bar_goes_from_nothing_to_the_whole_and_no_further(capsys):
    with watched(True) as reporter:
        reporter.plan(3.0)
        reporter.begin("search", 3.0)
        for _ in range(3):
            reporter.advance(1.0000001)
        reporter.event("note", "two files are left out")
        bar = reporter._bar
        assert bar.n == bar.total == 3
    out, err = capsys.readouterr()
    assert "two files are left out" in out and "100%" in err and "search" in err and "Warning" not in err


@pytest.mark.parametrize("error", [InputError("One sentence."), Cancelled(STOPPED)])
def test_ipython_shows_one_sentence(error):
    core = pytest.importorskip("IPython.core.interactiveshell")
    shell = core.InteractiveShell()
    shown = []
    shell._showtraceback = lambda etype, value, lines: shown.append(lines)
    try:
        raise error
    except type(error):
        shell.showtraceback()
    assert shown == [[str(error)]]


# Artifacts and cuts


def test_its_artifacts_are_those_of_the_run(run, finished):
    results = load_results(finished, run.name)
    np.testing.assert_array_equal(run.curvature.mlp, results.curvature.mlp)
    np.testing.assert_array_equal(run.cka.values, results.cka.values)
    np.testing.assert_array_equal(run.search.covariances, results.search.covariances)
    np.testing.assert_array_equal(run.final_scores.head, results.final_scores.head)
    np.testing.assert_array_equal(run.ranking.mlp, results.ranking.mlp)


def test_accuracy_is_what_evaluate_says(run, command: Cli):
    table = run.accuracy
    assert sorted(set(table.correct)) == [False, True] and table.on_path.all()
    for row in table.itertuples():
        asked = ["evaluate", run.name, "--mlp", str(row.mlp), "--heads", str(row.heads)]
        said, _ = command.json(*asked, *(["--correct"] if row.correct else []))
        assert (row.top1, row.cosine, row.params, row.macs) == tuple(
            said[name] for name in ("top1", "cosine", "params", "macs")
        )
        assert [row.low, row.high] == said["interval"]


@pytest.mark.parametrize("correct", [False, True])
def test_a_cut_is_really_smaller_and_does_what_the_elastic_model_does(run, correct):
    cut, whole = run.cut(0.62, 0.41, correct), run.cut(0, 0)
    measured = cut.measurement  # not on the path, so measured now
    assert sum(p.numel() for p in cut.parameters()) == cut.params == measured.params < whole.params
    assert cut.macs == measured.macs
    assert sum(block.mlp.fc2.in_features for block in cut.model.blocks) == sum(cut.cut.kept_neurons)
    assert cut.interval == wilson_interval(measured.hits, measured.queries) and cut.top1 == measured.top1
    assert run._stored.measurement(0.62, 0.41, correct) == measured, "and kept in the run"

    images = run.images(measured.queries)  # the very queries that the cosine is a mean over
    assert len(images) == measured.queries
    with torch.no_grad():
        cosine = torch.cosine_similarity(whole.embed(images), cut.embed(images)).mean().item()
        assert cut(images).shape == (len(images), 10)
    assert cosine == pytest.approx(cut.cosine, abs=1e-5)
    text = repr(cut)
    assert ("corrected" in text) == correct and "62 % of neurons" in text and "<table>" in cut._repr_html_()


def test_a_cut_trains_and_leaves_the_run_as_it_is(run):
    cut = run.cut(0.5, 0.35)
    before = [p.detach().clone() for p in run.cut(0.5, 0.35).parameters()]
    cut(run.images(4)).square().mean().backward()
    torch.optim.SGD(cut.parameters(), lr=0.1).step()
    again = list(run.cut(0.5, 0.35).parameters())
    assert all(torch.equal(one, two) for one, two in zip(before, again, strict=True))
    assert any(not torch.equal(one, two) for one, two in zip(before, cut.parameters(), strict=True))


def test_an_exported_cut_is_the_cut(run, tmp_path, capsys):
    folder = run.export(tmp_path / "out", 0.5, 0.35, correct=True)
    assert "parameters" in capsys.readouterr().out
    loaded, cut, images = snapvit.load_exported(folder), run.cut(0.5, 0.35, correct=True), run.images(4)
    with torch.no_grad():
        torch.testing.assert_close(loaded(images), cut(images), rtol=0, atol=0)
    with pytest.raises(InputError, match="give mlp and heads together"):
        run.export(tmp_path / "half", mlp=0.5)


@pytest.mark.parametrize(
    ("ask", "words"),
    [
        (lambda run: run.cut(1.0, 0), "must be at least 0 and below 1"),
        (lambda run: run.dependence("guess"), "no map by 'guess'"),
        (lambda run: run.dependence("measured"), r"run\.interactions\(\)"),
        (lambda run: run.figures.compare(), r"run\.compare\(\)"),
        (lambda run: run.figures.heads(0.5, "size"), "it has local, factor, score"),
        (lambda run: run.figures.kept(0.5, "blocks"), "neurons and heads"),
        (lambda run: run.figures.correlation(generation=99), "There is no generation 99"),
        (lambda run: run.compare(["best"]), "no method 'best'"),
    ],
)
def test_what_a_run_has_not_got_is_one_sentence(run, ask, words):
    with pytest.raises(InputError, match=words):
        ask(run)


def test_a_run_without_a_search_says_what_ranks_it(small_settings, tmp_path):
    run = snapvit.run(method="magnitude", settings=small_settings, cache=tmp_path, progress=False)
    with pytest.raises(InputError, match="its ranking is made by Magnitude"):
        _ = run.search
    assert run.figures.heads(0.5).layout.title.text == "Final score of every head"
    assert "magnitude" in repr(run) and "finished" in run._repr_html_()


# Questions


def test_a_comparison_is_the_pipelines(run, finished):
    table = run.compare(["random", "snapvit"], points=(0.5,), progress=False)
    found = load_results(finished, run.name).stored.load(COMPARISON)
    assert table.contender.tolist() == ["snapvit", "snapvit", "random", "random"]
    for row in table.itertuples():
        at = found.find(row.contender, 0, row.correct, *path_pair(0.5))
        assert row.mean == found.table.row(at).top1 and (row.mlp, row.heads) == path_pair(0.5)
        gap = difference_at(found, ("snapvit", row.correct), (row.contender, row.correct), row.mlp, row.heads)
        if row.contender == "random":
            assert (row.difference, row.difference_low, row.difference_high, row.decided) == (
                gap.mean,
                gap.low,
                gap.high,
                gap.decided,
            )
        else:
            assert np.isnan(row.difference) and row.decided is None
    assert [trace.name for trace in run.figures.compare().data if trace.name] == ["SnapViT", "Random"]
    assert len(run.figures.gaps(sparsity=0.5).data)


def test_interactions_are_measured_and_held_against_every_estimate(run, command: Cli):
    found = run.interactions(pairs=30, progress=False)
    assert np.isfinite(found.measured.interactions).sum() == 60, "30 pairs, symmetric"
    said, _ = command.json("interactions", run.name, "--pairs", "30")
    by_name = {"search": "Search's estimate", "displacement": "Displacement", "cka": "CKA"}
    rho = found.agreement.set_index("estimate").rho
    for name, label in by_name.items():
        assert rho[label] == said["agreement"][name]["rho"]
    np.testing.assert_array_equal(run.dependence("measured"), found.measured.interactions)
    assert "Displacement" in found._repr_html_()


def test_a_report_is_written(run, tmp_path):
    path = run.report(tmp_path / "report.html", 0.95, 0.8)
    assert path == tmp_path / "report.html" and run.name in path.read_text()
    with pytest.raises(InputError, match=r"report\.html"):
        run.report(path)


# Figures


def _percent_below(values: np.ndarray) -> np.ndarray:
    """By counting: how many are smaller, and half of those alike; as precise as figures are."""
    smaller, alike = values[None] < values[:, None], values[None] == values[:, None]
    return (100 * (smaller.sum(axis=1) + alike.sum(axis=1) / 2) / len(values)).astype(np.float32)


def test_figures_show_the_runs_numbers(bundled_run):
    run, figures = bundled_run, bundled_run.figures
    topology = run.topology
    heads = figures.heads(0.65, "factor").data[0]
    np.testing.assert_array_equal(heads.z, run.search.factors[topology.blocks :].reshape(12, 6).T)
    removed = figures.heads(0.65).data[1]
    gone = run.ranking.head[: 72 - sum(run.cut(0.65, 0.5).cut.kept_heads)]
    assert sorted(zip(removed.x - 1, removed.y - 1, strict=True)) == sorted(divmod(int(i), 6) for i in gone)

    path = run.accuracy.query("on_path and not correct and mlp <= 0.95")
    curve = next(trace for trace in figures.path(0.5).data if trace.name == "As cut")
    np.testing.assert_allclose(curve.y, 100 * path.top1, rtol=1e-12)
    assert tuple(figures.kept(0.65, "heads").data[0].y) == run.cut(0.65, 0.5).cut.kept_heads

    order = np.argsort(topology.structure_depth(), kind="stable")
    for figure, values in (
        (figures.cka(), run.cka.values),
        (figures.correlation(generation=7), run.search.correlation(7)),
        (figures.interactions("displacement"), run.dependence("displacement")),
    ):
        np.testing.assert_allclose(figure.data[0].z, values[np.ix_(order, order)].astype(np.float32))
    few = figures.correlation(frames=4)
    assert [frame.name for frame in few.frames] == ["0", "10", "20", "30"]
    assert len(figures.correlation().frames) == 31
    first, second = np.triu_indices(topology.structures, 1)
    maps = (run.dependence(by)[first, second] for by in ("displacement", "measured"))
    ranks = {tuple(pair) for pair in np.column_stack([_percent_below(m) for m in maps]).tolist()}
    dots = figures.agreement("displacement").data
    drawn = [pair for trace in dots for pair in zip(trace.x.tolist(), trace.y.tolist(), strict=True)]
    assert len(drawn) == 500 and set(drawn) <= ranks
    assert len(figures.search().data) >= 2


# The package


def test_the_wheel_carries_the_shipped_run_and_extras_come_from_the_files_that_make_installs():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    tools = project["tool"]["setuptools"]
    assert tools["package-data"]["snapvit.shipped"] == [f"{SHIPPED}/*"]
    assert project["project"]["scripts"] == {"snapvit": "snapvit.__main__:main"}

    def requirements(name: str) -> set[str]:
        found = set()
        for line in (ROOT / name).read_text().splitlines():
            line = line.partition("#")[0].strip()
            found |= requirements(line.removeprefix("-r ")) if line.startswith("-r ") else {line} - {""}
        return found

    def named(files: dict) -> set[str]:
        names = [files["file"]] if isinstance(files["file"], str) else files["file"]
        return set().union(*map(requirements, names))

    dynamic = tools["dynamic"]
    library, extras = named(dynamic["dependencies"]), dynamic["optional-dependencies"]
    assert library | named(extras["app"]) == requirements("requirements.txt")
    assert requirements("requirements.txt") | named(extras["export"]) <= requirements("requirements-dev.txt")
    assert named(extras["notebook"]) <= named(extras["app"])
    assert not {"streamlit", "plotly", "umap-learn"} & {line.partition(">")[0] for line in library}
    from snapvit.__main__ import main

    assert callable(main)
