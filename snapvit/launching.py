"""Starts the dashboard's server, from a checkout or an installed package."""

from __future__ import annotations

import os
import re
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import NoReturn

from snapvit.environment import READ_ONLY
from snapvit.errors import InputError
from snapvit.extras import not_installed
from snapvit.pipeline.opening import take_shipped
from snapvit.store.store import Store

PACKAGE = Path(__file__).parent
PLACES = (PACKAGE / "dashboard", PACKAGE.parent)  # of serve.py and the pages: in an installed package, in a checkout
OWN_HOSTS = ("localhost", "127.0.0.1")


def launch(store: Store, port: int, read_only: bool, base_path: str, hosts: list[str]) -> NoReturn:
    """Become the server of the dashboard on this cache; one without any run is given the shipped one first.

    base_path: the first part of every address, where a proxy gives the dashboard one. hosts: names under which a proxy
    asks for it, beside this computer's own. Raises InputError without Streamlit, for what is no path or name of a
    host, and as `take_shipped` does.
    """
    if find_spec("streamlit") is None:
        raise not_installed("The dashboard", "streamlit", "app")
    options = server_options(port, base_path, hosts)
    if not store.manifests() and not store.former():
        take_shipped(store)
    environment = os.environ | {"SNAPVIT_CACHE": str(store.root)} | ({READ_ONLY: "1"} if read_only else {})
    place = next(place for place in PLACES if (place / "serve.py").is_file())
    # The settings that always hold lie beside serve.py, where Streamlit looks for them.
    command = [sys.executable, "-m", "streamlit", "run", str(place / "serve.py"), *options]
    os.execve(sys.executable, command, environment)


def server_options(port: int, base_path: str, hosts: list[str]) -> list[str]:
    """Arguments of Streamlit's. Raises InputError for what is no path or no name of a host."""
    options = [f"--server.port={port}"]
    path = base_path.strip("/")
    if path:
        if not re.fullmatch(r"[\w.~-]+(/[\w.~-]+)*", path, re.ASCII):
            raise InputError(f"{base_path!r} is no path of an address; write it as /lab/snapvit.")
        options.append(f"--server.baseUrlPath={path}")
    if hosts:
        for host in hosts:
            if not re.fullmatch(r"[\w.-]+", host, re.ASCII):
                raise InputError(f"{host!r} is no name of a host; write it as class.example.org, without a port.")
        options += [f"--server.allowedHosts={host}" for host in (*OWN_HOSTS, *hosts)]
    return options
