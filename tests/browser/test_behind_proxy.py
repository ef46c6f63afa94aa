"""`snapvit app` for a class: on a cache that is still empty, behind a proxy under a path, only to be looked at."""

from __future__ import annotations

import http.client
import os
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

from scripts.browser import Server, free_port

from .conftest import assert_calm, settle
from .reverse_proxy import ReverseProxy

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser
PATH, NAME = "/lab/snapvit", "class.localhost"  # a name that browsers look up on this machine


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder, port = tmp_path_factory.mktemp("class"), free_port()
    options = ["--read-only", "--base-path", PATH, "--host", NAME, "--cache", str(folder / "cache")]
    command = [sys.executable, "-m", "snapvit", "app", "--port", str(port), *options]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SNAPVIT_")}
    server = Server(folder / "log.txt", command, port, environment, PATH.strip("/"))
    server.wait_healthy()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def proxy(server: Server) -> Iterator[ReverseProxy]:
    with ReverseProxy(PATH, server.port) as proxy:
        yield proxy


def test_pages_links_and_scripts_stay_under_the_path(proxy: ReverseProxy, open_page: Callable[..., Page]) -> None:
    address = f"http://{NAME}:{proxy.port}{PATH}"
    page = open_page(f"{address}/")
    page.locator('[data-testid="live-curve"] .path').wait_for()
    assert "only looks: nothing can be started" in page.get_by_test_id("stMain").inner_text()
    assert not page.get_by_role("button", name="Start", exact=True).count()
    page.get_by_role("link", name="CKA").first.click()
    page.get_by_role("heading", name="Which structures say the same?").wait_for()
    settle(page)
    assert page.url.startswith(f"{address}/cka?")
    page.get_by_role("button", name="Light / dark").click()
    page.wait_for_function("() => Object.keys(localStorage).some((name) => name.includes('/lab/snapvit/cka'))")
    page.get_by_role("heading", name="Which structures say the same?").wait_for()
    assert page.url.startswith(f"{address}/cka?")
    assert proxy.elsewhere == []
    assert_calm(page)


@pytest.mark.parametrize(
    ("method", "path", "host", "status"),
    [
        ("GET", "/_stcore/health", NAME, 200),
        ("GET", "/_stcore/health", "localhost", 200),
        ("GET", "/_stcore/health", "evil.example", 403),
        ("PUT", "/_stcore/upload_file/session/file", NAME, 403),
        ("DELETE", "/_stcore/upload_file/session/file", NAME, 403),
        ("POST", "/", NAME, 403),
    ],
)
def test_what_the_server_takes(server: Server, method: str, path: str, host: str, status: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    connection.request(method, PATH + path, headers={"Host": f"{host}:80"})
    assert connection.getresponse().status == status
