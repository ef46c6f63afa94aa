"""Reading images ahead of what they are for: by threads, or by torch's DataLoader where there are many.

Worker processes are started afresh (`forkserver`, or `spawn` where there is none): a fork of a process with threads
would inherit locks that nobody ever opens. A process started so begins by importing the main module of the one that
starts it. That is harmless for the command line and a notebook. It would run a plain script a second time, and in
Streamlit's server, which makes whatever page it draws the main module, it would run that page: there threads have to
do. They decode side by side too, as decoders and resizing let go of the interpreter's lock.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from torch.utils.data import DataLoader, Dataset

from snapvit.artifacts import Ints
from snapvit.data.decoding import Pixels
from snapvit.data.image_source import ImageSource
from snapvit.errors import InputError

AHEAD = 2  # batches that are read while one is worked on; of each worker process
THREADS = min(4, os.cpu_count() or 1)
MOST_WORKERS = 8
MANY = 4096  # images from which on workers are worth the seconds that they take to start
PROGRAMS = {"snapvit", "pytest"}  # console scripts, whose work stands behind the usual guard

T = TypeVar("T")
Work = Callable[[Pixels], Pixels]  # must be picklable, as an instance of a module's class is
log = logging.getLogger(__name__)


def pictures_ahead(
    source: ImageSource, parts: Sequence[Ints], work: Work, workers: int | None = None
) -> Iterator[np.ndarray]:
    """`work` of the images of each part (B, ...), stacked, part by part in their order.

    workers: processes; None: as many as are worth it here. Whoever stops early ends them. Raises InputError as
    `source.image` does.
    """
    workers = worthwhile_workers(sum(map(len, parts))) if workers is None else workers
    done = 0
    if workers:
        readers = [[source.reader(int(i)) for i in part] for part in parts]
        if readers and None not in readers[0]:
            try:
                for batch in _by_processes(_Parts(readers, work), workers):
                    yield batch
                    done += 1
            except (RuntimeError, OSError) as error:  # a worker could not start, or was killed
                log.warning("images are read without worker processes (%s)", str(error).splitlines()[0])
    for images in ahead(lambda i: work(source.image(i)), parts[done:]):
        yield np.stack(images)


def ahead(work: Callable[[int], T], parts: Sequence[Ints]) -> Iterator[list[T]]:
    """`work` of each id, part by part in their order, done by threads at most `AHEAD` parts ahead of the caller."""
    with ThreadPoolExecutor(THREADS) as pool:
        waiting: deque = deque()
        try:
            for part in parts:
                waiting.append([pool.submit(work, int(i)) for i in part])
                if len(waiting) > AHEAD:
                    yield [future.result() for future in waiting.popleft()]
            while waiting:
                yield [future.result() for future in waiting.popleft()]
        finally:  # the caller may stop early, for example when a run is cancelled
            for futures in waiting:
                for future in futures:
                    future.cancel()


def worthwhile_workers(images: int) -> int:
    """Processes to read so many images with: half the processors where that is more than one, 0 where threads do."""
    workers = min(MOST_WORKERS, (os.cpu_count() or 1) // 2)
    return workers if workers > 1 and images >= MANY and main_may_be_imported() else 0


def main_may_be_imported() -> bool:
    """Whether a fresh process may import the main module of this one, as it does before it does anything else."""
    main = sys.modules.get("__main__")
    spec, file = getattr(main, "__spec__", None), getattr(main, "__file__", None)
    if file is None:
        return True
    if spec is not None:
        return spec.name.endswith(".__main__") and not spec.name.startswith("streamlit")
    return os.path.splitext(os.path.basename(file))[0] in PROGRAMS


@dataclass(frozen=True)
class _Parts(Dataset):
    """Parts of a set of images, each read as a whole by one worker."""

    readers: list[list[Callable[[], Pixels]]]
    work: Work

    def __len__(self) -> int:
        return len(self.readers)

    def __getitem__(self, part: int) -> np.ndarray | InputError:
        try:
            return np.stack([self.work(read()) for read in self.readers[part]])
        except InputError as error:  # as it is: what torch makes of an error is no sentence
            return error


def _by_processes(parts: _Parts, workers: int) -> Iterator[np.ndarray]:
    start = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
    # Arrays rather than tensors, which would go through shared memory, of which containers have little.
    batches = iter(
        DataLoader(
            parts,
            batch_size=None,
            num_workers=workers,
            prefetch_factor=AHEAD,
            multiprocessing_context=start,
            collate_fn=_as_it_is,
        )
    )
    try:
        for batch in batches:
            if isinstance(batch, InputError):
                raise batch
            yield batch
    finally:
        del batches  # ends the workers


def _as_it_is(batch: Any) -> Any:
    return batch
