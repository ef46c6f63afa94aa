"""Several processes through torch.distributed: what each computed goes to whoever puts it together, in order.

Nothing is all-reduced, as the order of an all-reduce's sums follows from the number of processes. A piece of a sum
belongs to one process, to which all others send theirs of every item (design of an all-to-all, so no process sends or
receives more than one item's pieces a round, however many processes there are), and who adds them in the order of
items. Numbers of a GPU go over nccl, all others over gloo.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from snapvit.ranks.ranks import Piece, Ranks, clear

T = TypeVar("T")
EXCHANGED_BYTES = 256 * 2**20  # of one process's pieces, together in one exchange
TOLD, MET, GATHERED, REDUCED = range(4)  # what a process is about, so that two that are about different things notice


class Together(Ranks):
    """One of several processes, in a group that torch.distributed made."""

    def __init__(self, rank: int, size: int, local_rank: int, on_failure: Callable[[Exception], Exception]) -> None:
        """on_failure: what to raise where torch.distributed fails, from what it says."""
        self.rank, self.size = rank, size
        self.sent = 0  # bytes from this process to others, one that goes to several counting for each
        self._local_rank, self._on_failure = local_rank, on_failure
        self._steps = 0

    def device(self, usual: torch.device) -> torch.device:
        """A GPU of its own for each process of a machine."""
        if usual.type != "cuda":
            return usual
        device = torch.device("cuda", self._local_rank % torch.cuda.device_count())
        torch.cuda.set_device(device)
        return device

    def opened(self, make: Callable[[], T]) -> T:
        """See Ranks."""
        made = make() if self._local_rank == 0 else None
        self._everyones(MET, [])
        return make() if self._local_rank != 0 else made

    def told(self, make: Callable[[], bytes]) -> bytes:
        """See Ranks."""
        raw = make() if self.first else b""
        size = int(self._everyones(TOLD, [len(raw)])[0, 0])
        buffer = _as_tensor(raw) if self.first else torch.empty(size, dtype=torch.uint8)
        if size:
            self._broadcast(buffer, 0)
        return raw if self.first else buffer.numpy().tobytes()

    def gather(self, parts: Iterable[bytes]) -> Iterator[bytes]:
        """See Ranks."""
        parts = iter(parts)
        while True:
            raw = next(parts, None)
            sizes = self._everyones(GATHERED, [-1 if raw is None else len(raw)])[:, 0].tolist()
            longest = max(sizes)
            if longest > 0:
                own = torch.zeros(longest, dtype=torch.uint8)
                own[: len(raw or b"")] = _as_tensor(raw or b"")
                found = [torch.empty_like(own) for _ in range(self.size)]
                with self._heard():
                    dist.all_gather(found, own)
                self.sent += longest * (self.size - 1)
            for rank, size in enumerate(sizes):
                if size >= 0:
                    yield found[rank][:size].numpy().tobytes() if size else b""
            if min(sizes) < 0:
                return

    def reduce(self, work: Iterable[None], pieces: Sequence[Piece], direct: bool = True) -> None:
        """See Ranks."""
        work = iter(work)
        totals = {k: piece.fresh() for k, piece in enumerate(pieces) if self._owner(k) == self.rank}
        counts = [0] * len(pieces)
        while True:
            begun = next(work, self) is not self  # an item yields None
            seen = self._everyones(REDUCED, [int(begun), *(piece.count for piece in pieces)])
            present, theirs = seen[:, 0].bool().tolist(), seen[:, 1:].tolist()
            if any(present):
                for group in _groups(pieces):
                    self._exchange(group, pieces, totals, present, theirs)
                counts = [before + sum(more) for before, more in zip(counts, zip(*theirs, strict=True), strict=True)]
            for piece in pieces:
                clear(piece)
            if not all(present):
                break
        for k, piece in enumerate(pieces):
            if k in totals:
                piece.numbers.copy_(totals[k].numbers)
            if piece.numbers.numel():
                self._broadcast(piece.numbers, self._owner(k))
            piece.count = counts[k]

    def _exchange(
        self,
        group: Sequence[int],
        pieces: Sequence[Piece],
        totals: dict[int, Piece],
        present: Sequence[bool],
        counts: Sequence[Sequence[int]],
    ) -> None:
        """Send these pieces to their owners, and merge what comes for the own ones from those that have an item."""
        by_owner = [[k for k in group if self._owner(k) == owner] for owner in range(self.size)]
        sizes = [sum(pieces[k].numbers.numel() for k in owned) for owned in by_owner]
        own, like = by_owner[self.rank], pieces[0].numbers
        given = [size if present[self.rank] else 0 for size in sizes]
        taken = [sizes[self.rank] if there else 0 for there in present]
        order = [k for owned in by_owner for k in owned] if present[self.rank] else []
        outgoing = torch.cat([like.new_empty(0), *(pieces[k].numbers.flatten() for k in order)])
        incoming = like.new_empty(sum(taken))
        with self._heard():
            dist.all_to_all_single(incoming, outgoing, taken, given)
        self.sent += (sum(given) - given[self.rank]) * like.element_size()
        for rank, theirs in enumerate(incoming.split(taken)):
            if present[rank]:
                parts = theirs.split([pieces[k].numbers.numel() for k in own])
                for k, part in zip(own, parts, strict=True):
                    totals[k].merge(counts[rank][k], part.view_as(pieces[k].numbers))

    def _owner(self, piece: int) -> int:
        return piece % self.size

    def _everyones(self, about: int, numbers: Sequence[int]) -> Tensor:
        """(W, n) what each process says at this point, where all must be about the same thing."""
        self._steps += 1
        own = torch.tensor([self._steps, about, *numbers], dtype=torch.int64)
        found = [torch.empty_like(own) for _ in range(self.size)]
        with self._heard():
            dist.all_gather(found, own)
        self.sent += own.numel() * own.element_size() * (self.size - 1)
        said = torch.stack(found)
        if not (said[:, :2] == said[0, :2]).all():
            raise AssertionError(f"the processes are about different things: {said[:, :2].tolist()}")
        return said[:, 2:]

    def _broadcast(self, numbers: Tensor, source: int) -> None:
        with self._heard():
            dist.broadcast(numbers, source)
        if source == self.rank:
            self.sent += numbers.numel() * numbers.element_size() * (self.size - 1)

    @contextmanager
    def _heard(self) -> Iterator[None]:
        try:
            yield
        except RuntimeError as error:
            raise self._on_failure(error) from error


def _groups(pieces: Sequence[Piece]) -> Iterator[list[int]]:
    """Pieces that are exchanged together."""
    group, held = [], 0
    for k, piece in enumerate(pieces):
        size = piece.numbers.numel() * piece.numbers.element_size()
        if group and held + size > EXCHANGED_BYTES:
            yield group
            group, held = [], 0
        group.append(k)
        held += size
    if group:
        yield group


def _as_tensor(raw: bytes) -> Tensor:
    return torch.frombuffer(bytearray(raw), dtype=torch.uint8) if raw else torch.empty(0, dtype=torch.uint8)
