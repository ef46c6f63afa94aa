"""What could not be used, one sentence each, collected from any thread."""

from __future__ import annotations

import threading
from collections.abc import Callable


class Problems:
    """Sentences by the place they speak of: `run/file`, or whatever the reporter names."""

    def __init__(self) -> None:
        self._sentences: dict[str, str] = {}
        self._lock = threading.Lock()

    def add(self, where: str, sentence: str) -> None:
        """Say something of a place, instead of what was said of it before."""
        with self._lock:
            self._sentences[where] = sentence

    def drop(self, settled: Callable[[str], bool]) -> None:
        """Forget what was said of the places for which `settled` is true."""
        with self._lock:
            self._sentences = {where: text for where, text in self._sentences.items() if not settled(where)}

    def sentences(self) -> tuple[str, ...]:
        """All of them now, oldest place first."""
        with self._lock:
            return tuple(self._sentences.values())
