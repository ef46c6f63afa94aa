"""Artifacts between the processes that make a run together: the first one's told to all, and everyone's in order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from snapvit.ranks.ranks import Ranks
from snapvit.store.packing import pack, unpack

A = TypeVar("A")


def told(ranks: Ranks, kind: type[A], find: Callable[[], A | None]) -> A | None:
    """What the first process finds, which alone looks."""
    if ranks.size == 1:
        return find()
    found: list[A | None] = []  # of the first process, which need not unpack it

    def packed() -> bytes:
        found.append(find())
        return b"" if found[0] is None else pack(found[0])

    raw = ranks.told(packed)
    if found:
        return found[0]
    return unpack(kind, raw) if raw else None


def everyones(ranks: Ranks, kind: type[A], own: Iterable[A]) -> Iterator[A]:
    """All processes' artifacts in the order of their items, where each makes those of its share."""
    if ranks.size == 1:
        yield from own
    else:
        for raw in ranks.gather(map(pack, own)):
            yield unpack(kind, raw)
