"""Opening a page without a browser and reading what it shows."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path

import numpy as np
from streamlit.testing.v1 import AppTest

ROOT = Path(__file__).parents[1]
NAMES = ("sparsity", "heads", "cka", "correlation", "embedding", "compare", "export", "method")
PAGES = ["app.py", *(f"pages/{name}.py" for name in NAMES)]


def opened(page: str, **query: str) -> AppTest:
    """The page as a first visit to its address draws it, which may not fail."""
    app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=120)
    for name, value in query.items():
        app.query_params[name] = value
    if page != "app.py":
        app.switch_page(page)
    app.run()
    assert not app.exception
    return app


def as_read(text: str) -> str:
    """Markdown without the signs that only keep a name from being read as markdown."""
    return re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", text).replace("\u2060", "")


def words(app: AppTest) -> str:
    """All text of the page."""
    texts = (app.title, app.header, app.subheader, app.markdown, app.caption)
    calls = (app.info, app.success, app.warning, app.error)
    notes = [str(number.delta) for number in app.metric]
    return as_read("\n".join([str(element.value) for kind in texts + calls for element in kind] + notes))


def metric(app: AppTest, label: str) -> str:
    """Value of the number with this label."""
    return next(m.value for m in app.metric if m.label == label)


def charts(app: AppTest) -> dict[str, dict]:
    """Title to specification of every Plotly figure."""
    specs = [json.loads(chart.proto.spec) for chart in app.get("plotly_chart")]
    return {spec["layout"]["title"]["text"]: spec for spec in specs}


def array(values: object) -> np.ndarray:
    """A trace's values, which numpy arrays bring along as base64."""
    if isinstance(values, dict):
        shape = [int(n) for n in str(values.get("shape", "-1")).split(",")]
        return np.frombuffer(base64.b64decode(values["bdata"]), np.dtype(values["dtype"])).reshape(shape)
    return np.array(values, dtype=float)


def handed(app: AppTest, key: str) -> dict:
    """What the component with this key is given."""
    (found,) = [element.proto for element in app.get("bidi_component") if element.proto.id.endswith(f"-{key}")]
    return json.loads(found.json)


def filled(app: AppTest, chart: str) -> np.ndarray:
    """(frames, n, n) what the browser writes into a heat map whose numbers come beside it."""
    numbers = handed(app, f"unseen_events_{chart}")["numbers"]
    matrices = _unpacked(handed(app, f"unseen_stack_{numbers['of']}"))
    if numbers["less"] is not None:
        matrices = matrices - _unpacked(handed(app, f"unseen_stack_{numbers['less']}"))[0]
    return matrices[:, *np.ix_(numbers["order"], numbers["order"])]


def _unpacked(stack: dict) -> np.ndarray:
    size = stack["size"]
    whole = np.frombuffer(base64.b64decode(stack["upper"]), "<i2").reshape(-1, size * (size - 1) // 2)
    matrices = np.zeros((len(whole), size, size))
    matrices[:, *np.triu_indices(size, 1)] = np.where(whole == -32768, np.nan, whole * stack["step"])
    matrices += matrices.transpose(0, 2, 1)
    diagonal = [np.nan if value is None else value for value in stack["diagonal"]]
    matrices[:, range(size), range(size)] = diagonal
    return matrices
