"""The server that `make app` starts: who may talk to it, who may frame it, and what closed tabs leave behind."""

from __future__ import annotations

import http.client
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from waiting import wait_for

from scripts.browser import AppServer


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AppServer]:
    folder = tmp_path_factory.mktemp("server")
    env = {"SNAPVIT_CACHE": str(folder / "cache"), "STREAMLIT_SERVER_DISCONNECTED_SESSION_TTL": "1"}
    server = AppServer(folder / "log.txt", "serve.py", env)
    try:
        server.wait_healthy()
        yield server
    finally:
        server.stop()


def address(server: AppServer) -> str:
    return server.url.removeprefix("http://")


def asked(server: AppServer, path: str, host: str) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection(address(server), timeout=30)
    connection.putrequest("GET", path, skip_host=True)
    connection.putheader("Host", host)
    connection.endheaders()
    return connection.getresponse()


def websocket(server: AppServer, origin: str | None, host: str | None = None) -> tuple[int, socket.socket]:
    """The status of the answer to a request for a session, and the open connection."""
    name, port = address(server).split(":")
    connection = socket.create_connection((name, int(port)), timeout=30)
    lines = [
        "GET /_stcore/stream HTTP/1.1",
        f"Host: {host or address(server)}",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
        *([f"Origin: {origin}"] if origin else []),
    ]
    connection.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
    return int(connection.recv(4096).split()[1]), connection


@pytest.mark.parametrize("path", ["/", "/heads", "/_stcore/health", "/_stcore/host-config", "/nowhere"])
def test_nobody_else_may_frame_it(server, path):
    answer = asked(server, path, address(server))
    assert answer.status in (200, 404)
    assert answer.headers["X-Frame-Options"] == "SAMEORIGIN"
    assert "frame-ancestors 'self'" in answer.headers["Content-Security-Policy"]
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8501", "localhost.evil.example", "", "[::1"])
def test_only_its_own_names_are_answered(server, host):
    assert asked(server, "/", host).status in (400, 403)
    assert asked(server, "/", "localhost:1").status == 200


def test_only_its_own_pages_get_a_session(server):
    own = server.url
    port = address(server).split(":")[1]
    for origin, host, status in (
        (own, None, 101),
        (None, None, 101),  # no browser
        (f"http://localhost:{port}", f"localhost:{port}", 101),
        ("http://127.0.0.1:1", None, 403),
        ("http://localhost:9999", None, 403),
        ("http://evil.example", None, 403),
        ("null", None, 403),
        ("http://evil.example", "evil.example", 403),
    ):
        found, connection = websocket(server, origin, host)
        connection.close()
        assert found == status, (origin, host)


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts open files where Linux lists them")
def test_closed_tabs_let_go_of_what_they_held(server):
    def held() -> int:
        return len(os.listdir(f"/proc/{server.pid}/fd"))

    before = held()
    tabs = [websocket(server, server.url)[1] for _ in range(20)]
    wait_for(lambda: held() >= before + 20)
    for tab in tabs:
        tab.close()
    wait_for(lambda: held() <= before + 6)
