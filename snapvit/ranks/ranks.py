"""What a stage asks of the processes that compute it together; here of one, for which everything is its own.

Work comes in items that do not depend on how many processes there are: a batch of images, an individual at a pair of
sparsities, a cut. Each item is computed by one process exactly as a single one would compute it, and what items give
is put together in their order. So a result is the same to the last bit whatever their number, as long as each has as
many threads. No torch here beyond the tensors that are handed in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Protocol, TypeVar

import numpy as np

if TYPE_CHECKING:
    import torch
    from torch import Tensor

T = TypeVar("T")


class Piece(Protocol):
    """Numbers that grow item by item. `merge` after `merge` gives what the items in this order give."""

    numbers: Tensor  # contiguous; zeros where nothing was added yet
    count: int  # of rows that went into it

    def merge(self, count: int, numbers: Tensor) -> None:
        """Add what another piece holds, of so many rows."""

    def fresh(self) -> Piece:
        """An empty one of the same size, type and place."""


class Sum:
    """A piece that is a sum."""

    def __init__(self, numbers: Tensor) -> None:
        self.numbers, self.count = numbers, 0

    def merge(self, count: int, numbers: Tensor) -> None:
        """See Piece."""
        self.numbers += numbers
        self.count += count

    def fresh(self) -> Sum:
        """See Piece."""
        return type(self)(self.numbers.new_zeros(self.numbers.shape))


class Ranks:
    """The processes that make a run together, as each of them sees them: this one is alone."""

    rank = 0  # of this process
    size = 1  # how many there are

    @property
    def first(self) -> bool:
        """Whether this is the process that owns the cache, and that people hear of."""
        return self.rank == 0

    def device(self, usual: torch.device) -> torch.device:
        """Where this process computes, of devices like `usual`."""
        return usual

    def opened(self, make: Callable[[], T]) -> T:
        """What every process makes for itself, the first of each machine before the others: what that one downloads or
        writes down is there for them."""
        return make()

    def told(self, make: Callable[[], bytes]) -> bytes:
        """What `make` gives in the first process, which alone calls it."""
        return make()

    def gather(self, parts: Iterable[bytes]) -> Iterator[bytes]:
        """Everyone's parts in the order of their items, where each process gives those of its `share`.

        They come round by round, as soon as each process has made one.
        """
        yield from parts

    def reduce(self, work: Iterable[None], pieces: Sequence[Piece], direct: bool = True) -> None:
        """Have `pieces` hold what all items of all processes give, merged in the order of items.

        work: computes an item of this process's `share` at each step, adding to the pieces, which are of one type on
        one device. direct: whether adding one item after another is the same to the last bit as merging them; where it
        is not, they are merged here too.
        """
        if direct:
            for _ in work:
                pass
            return
        totals = [piece.fresh() for piece in pieces]
        for _ in work:
            for total, piece in zip(totals, pieces, strict=True):
                total.merge(piece.count, piece.numbers)
                clear(piece)
        for total, piece in zip(totals, pieces, strict=True):
            piece.numbers.copy_(total.numbers)
            piece.count = total.count

    def share(self, items: Sequence[T]) -> Sequence[T]:
        """This process's own of the items: dealt out in turn."""
        return items[self.rank :: self.size]

    def rows(self, ids: np.ndarray, batch: int) -> np.ndarray:
        """This process's own of the rows, which are dealt out in batches; a short one comes last."""
        if self.size == 1:
            return ids
        own = self.share(range(0, len(ids), batch))
        return np.concatenate([ids[:0], *(ids[start : start + batch] for start in own)])

    def complete(self, rows: np.ndarray, shares: Sequence[Sequence[int]]) -> None:
        """Fill in the rows that other processes made: `shares` says which each has made."""
        if self.size == 1:
            return
        own = np.ascontiguousarray(rows[list(shares[self.rank])]).tobytes()
        for share, raw in zip(shares, self.gather([own]), strict=True):
            rows[list(share)] = np.frombuffer(raw, rows.dtype).reshape(len(share), *rows.shape[1:])

    def completed(self, rows: Tensor, shares: Sequence[Sequence[int]]) -> Tensor:
        """The same of a tensor, which is given back where it is."""
        if self.size == 1:
            return rows
        import torch  # which one process alone need not load for this file's sake

        whole = rows.cpu().numpy()
        self.complete(whole, shares)
        return torch.from_numpy(whole).to(rows.device)

    def agreed(self, array: np.ndarray) -> np.ndarray:
        """The first process's array, of the same type and number of axes but for its length."""
        if self.size == 1:
            return array
        raw = self.told(np.ascontiguousarray(array).tobytes)
        return np.frombuffer(raw, array.dtype).reshape(-1, *array.shape[1:])


ALONE = Ranks()


def clear(piece: Piece) -> None:
    """As if nothing had been added."""
    piece.numbers.zero_()
    piece.count = 0


def dealt(costs: Sequence[float], size: int) -> list[list[int]]:
    """Items 0, 1, ... for each of `size` processes, the costliest first to whoever has least to do, each in order."""
    loads, shares = [0.0] * size, [[] for _ in range(size)]
    for item in sorted(range(len(costs)), key=lambda i: (-costs[i], i)):
        least = min(range(size), key=lambda rank: (loads[rank], rank))
        loads[least] += costs[item]
        shares[least].append(item)
    return [sorted(share) for share in shares]
