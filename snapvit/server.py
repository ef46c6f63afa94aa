"""What stands between the dashboard and whoever asks for it, as far as Streamlit lets an app have a say.

Only pages of its own address may talk to it or frame it, and tabs that were closed let go of what they held.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import re
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import streamlit as st

from snapvit.environment import only_shows
from snapvit.private_names import forget_expired_sessions

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADERS = (
    (b"x-frame-options", b"SAMEORIGIN"),
    (b"content-security-policy", b"frame-ancestors 'self'"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),
)
READS = ("GET", "HEAD", "OPTIONS")
SWEEP_SECONDS = 30  # at most, between two looks


class Guard:
    """Answers only requests to a name in `server.allowedHosts`, and websockets only from a page of the same address.

    Behind a proxy that is the address in the browser, which the proxy passes on as the Host. Where the dashboard only
    shows what is there, no upload reaches it.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        host, origin = headers.get(b"host", ""), headers.get(b"origin")
        strange = scope["type"] == "websocket" and origin is not None and origin.partition("://")[2] != host
        changes = only_shows() and scope["type"] == "http" and scope["method"] not in READS  # an upload is a PUT
        if not _is_allowed(host) or strange or changes:
            await _refuse(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                there = {name.lower() for name, _ in message.get("headers", ())}
                added = [header for header in HEADERS if header[0] not in there]
                message = message | {"headers": [*message.get("headers", ()), *added]}
            await send(message)

        await self._app(scope, receive, send_guarded)


def _is_allowed(host: str) -> bool:
    allowed = st.get_option("server.allowedHosts")
    name = host.rpartition(":")[0] if re.search(r":\d+$", host) else host
    return not allowed or name in allowed


async def _refuse(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": 1008})
        return
    body = b"This server answers to its own address alone, and takes only what it is meant to take."
    headers = [(b"content-type", b"text/plain"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 403, "headers": headers})
    await send({"type": "http.response.body", "body": body})


@contextlib.asynccontextmanager
async def sweeping(app: Any) -> AsyncIterator[None]:
    """While the server runs, have Streamlit forget expired sessions, which it does by itself only at the next visit."""
    task = asyncio.create_task(_sweep())
    try:
        yield
    finally:
        task.cancel()


async def _sweep() -> None:
    seconds = min(SWEEP_SECONDS, st.get_option("server.disconnectedSessionTTL"))
    while True:
        await asyncio.sleep(seconds)
        forget_expired_sessions()
        gc.collect()  # a session and its script hold each other
