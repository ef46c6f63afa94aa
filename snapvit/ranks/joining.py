"""Joining the processes that `torchrun` started, and leaving them: at the end, on a stop, or when one is lost.

What has to be known beside the work goes through the store in which the processes found each other: why one ended
early, the exit code with which all are to end, and each one's pulse. torchrun keeps that store itself, so it outlives
any of them.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from datetime import timedelta
from types import FrameType
from typing import Any

from snapvit.errors import Lost
from snapvit.ranks.ranks import ALONE, Ranks
from snapvit.streams import tell

NAMES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")  # as torchrun sets them
PULSE_SECONDS, SILENT_SECONDS = 2.0, 30.0  # between two beats; without any, a process counts as lost
GRACE_SECONDS = 10.0  # for a process that is asked to end, before it is ended in the middle of a batch
PATIENCE = timedelta(hours=2)  # for one that lives: of two that share work, one may have much more to do
LOST = 1  # exit code
OVER = "over"  # in the place of a beat: this process ends by itself
GOES_ON = "what was finished is kept, and the same command, with any number of processes, goes on from there."


@contextlib.contextmanager
def joined(environment: Mapping[str, str] = os.environ) -> Iterator[Crew]:
    """The processes that this one belongs to; by itself where nobody started it as one of several.

    Within, Ctrl-C is the first process's to answer. Whoever leaves says with which exit code: `Crew.leave`.
    """
    if int(environment.get("WORLD_SIZE") or 1) == 1 or any(name not in environment for name in NAMES):
        yield Crew(ALONE)
        return
    crew = _Several(environment)
    try:
        yield crew
    except BaseException:
        crew.leave(LOST)
        raise
    finally:
        crew.close()


class Crew:
    """Ranks, and how to leave them."""

    def __init__(self, ranks: Ranks) -> None:
        self.ranks = ranks

    def leave(self, code: int, why: str = "") -> int:
        """Say that this process ends with this exit code, and why where that is early. Returns the code to end with."""
        return code


class _Several(Crew):
    def __init__(self, environment: Mapping[str, str]) -> None:
        import torch
        import torch.distributed as dist

        from snapvit.ranks.together import Together

        rank, self.size = int(environment["RANK"]), int(environment["WORLD_SIZE"])
        signal.signal(signal.SIGINT, self._interrupted if rank == 0 else signal.SIG_IGN)
        if rank == 0:
            signal.signal(signal.SIGTERM, self._terminated)
        backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
        try:
            dist.init_process_group(backend, timeout=PATIENCE)
        except (RuntimeError, ValueError) as error:
            where = f"{environment['MASTER_ADDR']}:{environment['MASTER_PORT']}"
            reason = str(error).splitlines()[0]
            raise Lost(f"The {self.size} processes did not find each other at {where} ({reason}).") from error
        self._store: Any = dist.PrefixStore("snapvit", dist.distributed_c10d._get_default_store())
        self._pulse = Pulse(self._store.clone(), rank, self.size)
        self._pulse.start()
        super().__init__(Together(rank, self.size, int(environment["LOCAL_RANK"]), self._failed))

    def leave(self, code: int, why: str = "") -> int:
        """See Crew."""
        self._pulse.over.set()
        with contextlib.suppress(RuntimeError):  # whoever kept the store may be gone
            if self.ranks.first and code:
                self._store.set("ended", str(code))
            elif not self.ranks.first and self._pulse.asked() is None and code and why:
                self._store.set("failed", f"Process {self.ranks.rank + 1} of {self.size} stopped: {why}")
        return code if self.ranks.first or self._pulse.code is None else self._pulse.code

    def close(self) -> None:
        """Let go of the others."""
        import torch.distributed as dist

        with contextlib.suppress(RuntimeError):
            dist.destroy_process_group()
        with contextlib.suppress(RuntimeError):
            self._store.set(f"pulse/{self.ranks.rank}", OVER)
            if self.ranks.first:  # may keep the store, in which the others look for the exit code
                end = time.monotonic() + GRACE_SECONDS / 2
                while time.monotonic() < end and not all(map(self._is_over, range(1, self.size))):
                    time.sleep(0.05)

    def _is_over(self, rank: int) -> bool:
        key = f"pulse/{rank}"
        return self._store.check([key]) and self._store.get(key) == OVER.encode()

    def _failed(self, error: Exception) -> Exception:
        """What it means that torch.distributed failed."""
        failed = ""
        with contextlib.suppress(RuntimeError):
            for _ in range(10):  # who stops says why just before its connections close
                if self._store.check(["failed"]):
                    failed = self._store.get("failed").decode()
                    break
                if self._store.check(["ended"]):
                    break
                time.sleep(0.1)
        if failed:
            return Lost(f"{failed} {GOES_ON[0].upper()}{GOES_ON[1:]}")
        return Lost(f"One of the {self.size} processes was lost; {GOES_ON}")

    def _interrupted(self, number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # torchrun sends another one
        raise KeyboardInterrupt

    def _terminated(self, number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise Lost(f"The {self.size} processes were told to end, as they are when one of them is lost; {GOES_ON}")


class Pulse(threading.Thread):
    """A thread that shows that this process lives, and ends it where the others are gone or have been told to end.

    A killed process's connections close, which is noticed at once by whoever waits for it. This is for machines that
    vanish, for processes that stand still, and for those that compute while the others end.
    """

    def __init__(self, store: Any, rank: int, size: int) -> None:
        """store: with a connection of its own, which no other thread waits for."""
        super().__init__(name="snapvit-pulse", daemon=True)
        self._store, self._rank, self._size = store, rank, size
        self._watched = range(1, size) if rank == 0 else [0]
        self.over = threading.Event()  # this process is about to end by itself
        self.code: int | None = None  # with which the first process has asked all to end
        self._heard: dict[int, tuple[bytes, float]] = {}  # each one's last beat, and when it was new

    def run(self) -> None:
        """Beat and listen until this process ends."""
        for beat in range(1 << 62):
            try:
                self._store.set(f"pulse/{self._rank}", str(beat))
                if self._rank and self.asked() is not None:
                    self._end(self.code)
                silent = self._silent()
            except RuntimeError:  # the store is gone, and with it whoever kept it
                silent = [0]
                if self._rank == 0:
                    return
            if silent and not self.over.is_set():
                self._end_without(silent[0])
            if self.over.wait(PULSE_SECONDS):
                return

    def asked(self) -> int | None:
        """The exit code with which the first process has asked all to end; None while it has not."""
        if self.code is None and self._store.check(["ended"]):
            self.code = int(self._store.get("ended"))
        return self.code

    def _silent(self) -> list[int]:
        """Those whose pulse has not been felt for too long."""
        now = time.monotonic()
        keys = {rank: f"pulse/{rank}" for rank in self._watched}
        for rank, key in keys.items():
            beat = self._store.get(key) if self._store.check([key]) else b""
            if self._heard.get(rank, (None, 0.0))[0] != beat:
                self._heard[rank] = beat, now
        late = {rank: beat for rank, (beat, when) in self._heard.items() if now - when > SILENT_SECONDS}
        return [rank for rank, beat in late.items() if beat != OVER.encode()]

    def _end_without(self, rank: int) -> None:
        if self._rank == 0:
            with contextlib.suppress(RuntimeError):
                self._store.set("ended", str(LOST))
            silence = f"has not been heard of for {SILENT_SECONDS:g} s"
            tell(f"snapvit: Process {rank + 1} of the {self._size} {silence}; {GOES_ON}")
        os._exit(LOST)  # the other threads may wait for that process for good; the cache is whole at any moment

    def _end(self, code: int) -> None:
        if not self.over.wait(GRACE_SECONDS):
            os._exit(code)
