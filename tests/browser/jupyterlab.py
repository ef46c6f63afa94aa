"""A JupyterLab server of its own, with settings and kernels of nobody's."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError

import nbformat
from nbformat.sign import NotebookNotary

from scripts.browser import ROOT, free_port, open_local

START_SECONDS = 60
SETTINGS = {
    "notification": {"fetchNews": "false", "checkForUpdates": False},
    "themes": {"adaptive-theme": True},  # light or dark as the browser prefers it
}


@contextmanager
def jupyterlab(folder: Path, env: Mapping[str, str]) -> Iterator[str]:
    """The address of a server whose files lie in `folder`; `env` is what its kernels find in their environment."""
    own, port = folder / ".own", free_port()
    for name, values in SETTINGS.items():
        path = own / "settings" / "@jupyterlab" / "apputils-extension" / f"{name}.jupyterlab-settings"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(values))
    places = {name: str(own / name) for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR")}
    places |= {"IPYTHONDIR": str(own), "JUPYTERLAB_SETTINGS_DIR": str(own / "settings")}
    places |= {"JUPYTERLAB_WORKSPACES_DIR": str(own / "workspaces"), "PYTHONPATH": str(ROOT)}
    options = {
        "ServerApp.port": port,
        "ServerApp.open_browser": False,
        "ServerApp.root_dir": folder,
        "ServerApp.allow_root": True,
        "IdentityProvider.token": "",
        "ServerApp.terminals_enabled": False,
        "ServerApp.log_level": "ERROR",
    }
    command = [sys.executable, "-m", "jupyterlab", *(f"--{name}={value}" for name, value in options.items())]
    log = own / "log.txt"
    with log.open("wb") as out:
        server = subprocess.Popen(command, cwd=folder, env=os.environ | places | dict(env), stdout=out, stderr=out)
    try:
        _wait(server, f"http://127.0.0.1:{port}", log)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(30)


def _wait(server: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and server.poll() is None:
        try:
            with open_local(f"{url}/api", timeout=2):
                return
        except (URLError, OSError):
            time.sleep(0.1)
    raise RuntimeError(f"JupyterLab does not answer; its log:\n{log.read_text()}")


def trust(folder: Path, path: Path) -> None:
    """Have this folder's server show a stored notebook's widgets, as `Trust Notebook` in its menu does."""
    data = folder / ".own" / "JUPYTER_DATA_DIR"
    data.mkdir(parents=True, exist_ok=True)
    notary = NotebookNotary(data_dir=str(data))
    notary.sign(nbformat.read(path, as_version=4))
    notary.store.close()


def write_notebook(path: Path, *cells: str) -> None:
    """A notebook of these cells of code, for the kernel that every ipykernel brings."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(notebook, path)
