"""Several sources as one, each of them for some of the roles that images play in a run."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

import numpy as np

from snapvit.artifacts import Bools, Ints
from snapvit.data.decoding import Pixels
from snapvit.data.image_source import UNLABELLED, Check, ImageSource, Part, Role, Skipped, go_on


@dataclass(frozen=True)
class Member:
    """A source, and what its images are wanted for. Its parts give what they can: training images no queries."""

    source: ImageSource
    roles: frozenset[Role]
    place: str = ""  # before the names of its files, for people


class JoinedImages(ImageSource):
    """The images of all members, numbered through; classes are one where their names are.

    Images of a member without labels, which can only calibrate, are UNLABELLED. `notes` are told after the members'.
    """

    def __init__(
        self, name: str, members: Sequence[Member], skipped: Iterable[Skipped] = (), notes: Iterable[str] = ()
    ) -> None:
        self.name = name
        self._sources = [member.source for member in members]
        self._starts = [0, *accumulate(len(source) for source in self._sources)]
        self.class_names = tuple(sorted({name for source in self._sources for name in source.class_names}))
        number = {name: i for i, name in enumerate(self.class_names)}
        if any(source.labels is not None for source in self._sources):
            self.labels = np.concatenate([_renumbered(source, number) for source in self._sources])
        self._places, self._skipped = [member.place for member in members], tuple(skipped)
        self.whole = all(source.whole for source in self._sources)
        self._parts = tuple(
            replace(part, ids=range(start + part.ids.start, start + part.ids.stop), roles=part.roles & member.roles)
            for start, member in zip(self._starts, members, strict=False)
            for part in member.source.parts
        )
        given = [note for source in self._sources for note in source.notes]
        idle = [f"{part.name} is not used: other images do what it would." for part in self._parts if not part.roles]
        self.notes = (*given, *notes, *idle)
        if self.whole:
            self.notes += shared_notes(self, np.arange(len(self)))

    def __len__(self) -> int:
        return self._starts[-1]

    @property
    def parts(self) -> tuple[Part, ...]:
        """Those of all members, with the roles that are left to them; none for images that nothing is taken of."""
        return self._parts

    @property
    def skipped(self) -> tuple[Skipped, ...]:
        """What the members and this leave out, as far as anybody looked."""
        found = [
            Skipped(place + s.file, s.reason)
            for source, place in zip(self._sources, self._places, strict=True)
            for s in source.skipped
        ]
        return (*self._skipped, *found)

    def usable(self, ids: Ints, check: Check = go_on) -> Bools:
        """(N,) as the members know it."""
        found, members = np.ones(len(ids), bool), np.searchsorted(self._starts, ids, side="right") - 1
        for member in np.unique(members).tolist():
            rows = members == member
            found[rows] = self._sources[member].usable(ids[rows] - self._starts[member], check)
        return found

    def image(self, index: int) -> Pixels:
        """(h, w, 3) uint8."""
        source, own = self._find(index)
        return source.image(own)

    def reader(self, index: int) -> Callable[[], Pixels] | None:
        """The member's."""
        source, own = self._find(index)
        return source.reader(own)

    def content(self, index: int) -> str:
        """sha256 as the member knows it."""
        source, own = self._find(index)
        return source.content(own)

    def _find(self, index: int) -> tuple[ImageSource, int]:
        member = bisect_right(self._starts, index) - 1
        return self._sources[member], index - self._starts[member]


def shared_notes(source: ImageSource, ids: Ints) -> tuple[str, ...]:
    """Sentences on pictures, of these, that queries share with the gallery of another part: k-NN finds those by
    themselves."""
    if source.labels is None:  # then there is no gallery
        return ()
    galleries = [part for part in source.parts if "gallery" in part.roles]
    asking = [part for part in source.parts if "query" in part.roles and "gallery" not in part.roles]
    there = {source.content(int(i)) for part in galleries for i in _within(ids, part)} if asking else set()
    notes = []
    for part in asking:
        own = _within(ids, part)
        shared = sum(source.content(int(i)) in there for i in own)
        if shared:
            notes.append(f"{shared} of the {len(own)} queries of {part.name} are in the gallery too.")
    return tuple(notes)


def _within(ids: Ints, part: Part) -> Ints:
    return ids[(ids >= part.ids.start) & (ids < part.ids.stop)]


def _renumbered(source: ImageSource, number: dict[str, int]) -> np.ndarray:
    if source.labels is None:
        return np.full(len(source), UNLABELLED)
    return np.array([number[name] for name in source.class_names], np.int64)[source.labels]
