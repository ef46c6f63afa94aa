"""Opening a page without a browser and reading what it shows."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import numpy as np
from streamlit.testing.v1 import AppTest

ROOT = Path(__file__).parents[1]
PAGES = ["app.py", *(f"pages/{name}.py" for name in ("sparsity", "heads", "cka", "correlation", "embedding", "method"))]


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


def words(app: AppTest) -> str:
    """All text of the page."""
    texts = (app.title, app.header, app.subheader, app.markdown, app.caption)
    calls = (app.info, app.success, app.warning, app.error)
    return "\n".join(str(element.value) for kind in texts + calls for element in kind)


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
