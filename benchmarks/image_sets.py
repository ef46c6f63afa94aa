"""A folder of 200,000 tiny files in 1,000 classes: opening it, a run on it, and pages of that run.

What grows with the files (opening and splitting) is extrapolated, in proportion, to the 1.28 million of ImageNet's
training images; the files here are smaller than photographs, whose decoding no opening waits for.
"""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.memory import peak_gigabytes
from benchmarks.timing import Line, Spread, Unavailable
from scripts.browser import ROOT
from snapvit.pipeline.config import PRESETS, RunRequest, path_pair, with_settings

IMAGES, CLASSES, IMAGENET = 200_000, 1_000, 1_281_167
SIDE = 28  # pixels, which the bundled model reads
GALLERY, QUERIES = 6_000, 2_000
TO_OPEN, TO_OPEN_AGAIN = 60.0, 15.0  # seconds, of ImageNet's number of files
AGAIN = ", drawn again"


@cache
def _folder() -> tempfile.TemporaryDirectory:
    """The folder `images`, made once; every file has its own content. A cache beside it, `cache`."""
    made = tempfile.TemporaryDirectory(prefix="image-sets-")
    rng = np.random.default_rng(0)
    start = time.perf_counter()
    for label in range(CLASSES):
        folder = Path(made.name) / "images" / f"class {label:04}"
        folder.mkdir(parents=True)
        coarse = rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)
        for i in range(IMAGES // CLASSES):
            if i % 10 == 0:  # pictures of their own; between them others that differ by a mark behind the picture
                noisy = (coarse.astype(int) + rng.integers(-60, 60, (4, 4, 3))).clip(0, 255).astype(np.uint8)
                buffer = io.BytesIO()
                Image.fromarray(noisy).resize((SIDE, SIDE), Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=60)
            (folder / f"{i:05}.jpg").write_bytes(buffer.getvalue() + f"{label}-{i}".encode())
    print(f"  {IMAGES:,} files made in {time.perf_counter() - start:.0f} s", file=sys.stderr)
    return made


@cache
def _measured() -> dict[str, dict[str, float]]:
    """Everything, each in a fresh process, in the order of a person's day."""
    place = _folder().name
    return {name: _child(name, place) for name in ("open", "again", "run", "pages")}


def _child(which: str, place: str) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.image_sets", which, place]
    answer = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
    if answer.returncode:
        raise Unavailable(f"measuring {which} failed, see above")
    return json.loads(answer.stdout)


def first_opening() -> Line:
    """The index is made and the images are split; value: of 1.28 million."""
    return _opening("open", "first opening of 1.28 million files", TO_OPEN)


def opening_again() -> Line:
    """The same in a new process, with the index in the cache."""
    return _opening("again", "opening 1.28 million files again", TO_OPEN_AGAIN)


def _opening(which: str, subject: str, target: float) -> Line:
    found, scale = _measured()[which], IMAGENET / IMAGES
    names = {"open": "names of all files", "split": "split"}
    times = tuple((f"{IMAGES:,}: {name}", Spread.of([found[key]])) for key, name in names.items())
    grown = found["memory after"] - found["memory before"]
    return Line(
        subject=subject,
        value=scale * (found["open"] + found["split"]),
        unit="s",
        target=target,
        times=times,
        note=f"extrapolated from {IMAGES:,} files in {CLASSES:,} folders, measured once, files in the system's cache; "
        f"memory +{1000 * grown:.0f} MB here",
    )


def run() -> Line:
    """The direct preset of the bundled model: 6,000 gallery images, 2,000 queries, with corrected cuts."""
    found = _measured()["run"]
    return Line(
        subject=f"memory, run on {IMAGES:,} files",
        value=found["memory"],
        unit="GB",
        target=1.5,
        note=f"opened in {found['open']:.1f} s, {found['looked at']:,.0f} images looked at on the way; the run took "
        f"{found['run']:.0f} s",
    )


def pages() -> Line:
    """The run form on the folder and pages of that run, drawn again without a browser; value: the slowest."""
    found = _measured()["pages"]
    again = {name.removesuffix(AGAIN): taken for name, taken in found.items() if name.endswith(AGAIN)}
    slowest = max(again, key=again.get)
    return Line(
        subject=f"drawing a page again, {CLASSES:,} classes",
        value=again[slowest],
        unit="s",
        target=1.0,
        times=tuple((name, Spread.of([taken])) for name, taken in found.items()),
        note=f"slowest: {slowest}; the first drawings begin with what a fresh process imports, the form's with opening "
        f"and splitting {IMAGES:,} files",
    )


def main(which: str, place: str) -> None:
    """Measure one thing here and print it as JSON."""
    root, cache_folder = Path(place) / "images", Path(place) / "cache"
    measures = {"open": _open_here, "again": _open_here, "run": _run_here, "pages": _pages_here}
    print(json.dumps(measures[which](root, cache_folder)))


def _open_here(root: Path, cache_folder: Path) -> dict[str, float]:
    from sklearn.model_selection import train_test_split  # noqa: F401  not what is measured

    from snapvit.data.sources import open_source
    from snapvit.data.splits import split_source

    before = peak_gigabytes()
    taken, source = _timed(lambda: open_source(f"folder:{root}", cache_folder))
    assert (len(source), len(source.class_names)) == (IMAGES, CLASSES)
    split, _ = _timed(lambda: split_source(source, 0))
    return {"open": taken, "split": split, "memory before": before, "memory after": peak_gigabytes()}


def _run_here(root: Path, cache_folder: Path) -> dict[str, float]:
    from snapvit.pipeline.progress import Reporter
    from snapvit.pipeline.running import complete_run
    from snapvit.pipeline.workspace import Workspace
    from snapvit.store.store import Store

    request = _request(root)
    opening, workspace = _timed(lambda: Workspace.open(request, cache=cache_folder))
    running, _ = _timed(lambda: complete_run(workspace, Store(cache_folder), Reporter()))
    used = np.unique(np.concatenate(list(workspace.ids.values())))
    return {"open": opening, "run": running, "looked at": len(used), "memory": peak_gigabytes()}


def _request(root: Path) -> RunRequest:
    settings = [f"evaluation.gallery={GALLERY}", f"evaluation.queries={QUERIES}", "evaluation.points=3"]
    return RunRequest(data=f"folder:{root}", config=with_settings(PRESETS["direct"], settings))


def _pages_here(root: Path, cache_folder: Path) -> dict[str, float]:
    import os

    from streamlit.testing.v1 import AppTest

    from snapvit.jobs.tasks import StageTask, Workbench
    from snapvit.pipeline.stage import Want
    from snapvit.pipeline.stages.embedding_projection import EMBEDDING_PROJECTION
    from snapvit.pipeline.stages.pixel_knn import PIXEL_KNN
    from snapvit.pipeline.table import of_cut
    from snapvit.store.store import Store

    os.environ["SNAPVIT_CACHE"] = str(cache_folder)
    run = _request(root).run
    projection = Want(of_cut(EMBEDDING_PROJECTION, True), path_pair(0.475))
    StageTask(run, (Want(PIXEL_KNN), projection)).perform(Workbench(Store(cache_folder)))
    found = {}
    app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=600)
    app.query_params["run"] = run
    found["run page"], _ = _timed(app.run)
    app.selectbox(key="image_kind").set_value("folder:").run()
    app.text_input(key="image_folder").set_value(str(root))
    found["run form, the folder named"], _ = _timed(app.run)
    found["run form" + AGAIN], _ = _timed(app.run)
    for page, query in {"sparsity": {}, "embedding": {}, "compare": {}, "method": {"step": "easy"}}.items():
        app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=600)
        for name, value in ({"run": run} | query).items():
            app.query_params[name] = value
        app.switch_page(f"pages/{page}.py")
        found[page], _ = _timed(app.run)
        found[page + AGAIN], _ = _timed(app.run)
        assert not app.exception, app.exception
    return found


def _timed(work: Callable) -> tuple[float, object]:
    start = time.perf_counter()
    done = work()
    return time.perf_counter() - start, done


if __name__ == "__main__":
    main(*sys.argv[1:])
