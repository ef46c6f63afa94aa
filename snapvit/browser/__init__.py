"""What browsers run and draw, on the dashboard's pages as in a notebook: scripts, styles, markup. No Streamlit.

The modules in `scripts/` import one another and are never put together: a page's browser fetches them as files, a
notebook's is handed them by `snapvit.notebook.slider`.
"""

from __future__ import annotations

import re
from pathlib import Path
from posixpath import dirname, join, normpath

FOLDER = Path(__file__).parent
SCRIPTS = FOLDER / "scripts"
IMPORTED = re.compile(r'\bfrom "(\.{1,2}/[^"]+)"')


def read(package: str, *names: str) -> str:
    """Files beside the `__init__.py` of a component's package, one after the other."""
    return "".join((Path(package).parent / name).read_text(encoding="utf-8") for name in names)


def modules_of(entry: str) -> dict[str, str]:
    """The sources of a module of `scripts/` and of all that it imports, by their paths in there."""
    found: dict[str, str] = {}
    waiting = [entry]
    while waiting:
        path = waiting.pop()
        if path not in found:
            found[path] = (SCRIPTS / path).read_text(encoding="utf-8")
            waiting += [normpath(join(dirname(path), to)) for to in IMPORTED.findall(found[path])]
    return found
