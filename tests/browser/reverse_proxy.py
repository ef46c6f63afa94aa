"""A reverse proxy as small as can be: one path of its own goes to a server, under the name that the browser used."""

from __future__ import annotations

import asyncio
import contextlib
import re
import threading

from scripts.browser import free_port

HEAD_BYTES = 65_536


class ReverseProxy:
    """Passes requests under `path` on to `port` of this machine; others are answered 404 and noted in `elsewhere`."""

    def __init__(self, path: str, port: int) -> None:
        self.port = free_port()
        self.elsewhere: list[str] = []
        self._path, self._target = path, port
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)

    def __enter__(self) -> ReverseProxy:
        self._thread.start()
        self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join(10)

    async def _serve(self) -> None:
        self._loop, self._ended = asyncio.get_running_loop(), asyncio.Event()
        await asyncio.start_server(self._answer, "127.0.0.1", self.port, limit=HEAD_BYTES)
        self._ready.set()
        await self._ended.wait()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ended = OSError, asyncio.IncompleteReadError, asyncio.CancelledError
        with contextlib.suppress(*ended), contextlib.closing(writer):
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            asked = head.split()[1]
            if not asked.startswith(self._path):
                self.elsewhere.append(asked)
                writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                await writer.drain()
                return
            if not re.search(r"^upgrade:", head, re.I | re.M):  # one request a connection, so that each path is seen
                head = re.sub(r"^connection:[^\r\n]*", "Connection: close", head, flags=re.I | re.M)
            onward, back = await asyncio.open_connection("127.0.0.1", self._target)
            back.write(head.encode("latin-1"))
            with contextlib.closing(back):
                await asyncio.wait(
                    [asyncio.ensure_future(_pipe(reader, back)), asyncio.ensure_future(_pipe(onward, writer))],
                    return_when=asyncio.FIRST_COMPLETED,
                )


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError, asyncio.CancelledError):
        while data := await reader.read(HEAD_BYTES):
            writer.write(data)
            await writer.drain()
