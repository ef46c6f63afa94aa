"""`python -m reliability.hostile_worker`: opens the files it is told, one after the other, and says what came of each.

A line of JSON in (kind, path), one out (outcome, peak memory in MB). What kills or hangs it is seen by who started it.
"""

from __future__ import annotations

import json
import resource
import shutil
import sys
import tempfile
import warnings
from pathlib import Path

from snapvit.artifacts import Preprocess
from snapvit.data.archive import unpack_upload
from snapvit.data.decoding import UnusableImage, decode
from snapvit.data.pixels import as_tensor, fit_image
from snapvit.data.sources import open_source
from snapvit.elastic.ranking import rank
from snapvit.errors import InputError
from snapvit.models.loading import load_model
from snapvit.models.spec import BUNDLED, ModelSpec
from snapvit.pipeline.published_runs import import_scores
from snapvit.published.scores import read_scores
from snapvit.store.store import Store

PREPROCESS = Preprocess((32, 32), (0.5,) * 3, (0.5,) * 3)


def opened(kind: str, path: Path) -> None:
    """Do with a file what the explorer does when a person names it."""
    if kind == "scores":
        published = read_scores(path)
        rank(published.scores, published.floors)
        with tempfile.TemporaryDirectory() as cache:
            import_scores(Store(cache), published)
    elif kind == "described":
        load_model(ModelSpec(BUNDLED, str(path)))
    elif kind == "named":
        load_model(ModelSpec("test_vit", str(path), image_size=32))
    elif kind == "picture":
        fit_image(as_tensor(decode(path.read_bytes())), PREPROCESS)
    else:
        with tempfile.TemporaryDirectory() as cache:
            source = open_source(unpack_upload(path.read_bytes(), Path(cache)), Path(cache))
            for index in range(len(source)):
                source.image(index)


def main() -> None:
    """Answer until nobody asks any more."""
    warnings.simplefilter("ignore")
    answers, sys.stdout = sys.stdout, sys.stderr  # what libraries print is no answer
    for line in sys.stdin:
        asked = json.loads(line)
        try:
            opened(asked["kind"], Path(asked["path"]))
            outcome = "taken"
        except (InputError, UnusableImage) as error:
            outcome = "refused" if "\n" not in str(error) else f"crash: more than one line: {error}"
        except Exception as error:  # that is what is looked for
            outcome = f"crash: {type(error).__name__}: {str(error)[:200]}"
        shutil.rmtree(Path(asked["path"]).parent, ignore_errors=True)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps({"outcome": outcome, "peak": peak}), file=answers, flush=True)


if __name__ == "__main__":
    main()
