"""Image files on disk as a source: a small set is looked at whole when it is opened, a large one as it is used."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from snapvit.artifacts import Bools, Ints
from snapvit.data.decoding import Pixels
from snapvit.data.image_source import Check, ImageSource, Skipped, equal_notes, go_on
from snapvit.data.seen_files import SOUND, PictureFile, Seen, SeenFiles, shown
from snapvit.errors import InputError

WHOLE = 5_000  # images of a set that is looked at whole: a minute or two the first time, nothing to speak of later


class ImageFiles(ImageSource):
    """Numbered image files, in the order of `files`.

    Of at most `WHOLE` each is looked at when they are opened: those that cannot be decoded have no number, and a class
    without a usable file is left out. Of more, each named file has a number, and those that are asked for are looked
    at (`usable`).
    """

    def __init__(
        self,
        name: str,
        seen: SeenFiles,
        files: Sequence[str],
        labels: Ints | None,
        class_names: Sequence[str] = (),
        skipped: Sequence[Skipped] = (),
        below: str = "",
        check: Check = go_on,
    ) -> None:
        """files: paths below the root of `seen`. labels (N,). below: the folder, under that root, that people named.

        check: called after each file that is looked at; may raise to stop.
        """
        self.name, self._seen, self._files = name, seen, files
        self.labels, self.class_names = labels, tuple(class_names)
        self._skipped, self._below = tuple(skipped), below
        self._unusable: dict[int, Skipped] = {}  # that were found, by their numbers
        self.whole = len(files) <= WHOLE
        if self.whole:
            self._take_sound(check)
            self.notes = equal_notes(self, np.arange(len(self)))

    def _take_sound(self, check: Check) -> None:
        usable = self.usable(np.arange(len(self._files)), check)
        self._files = [file for file, sound in zip(self._files, usable, strict=True) if sound]
        unusable, self._unusable = tuple(self._unusable.values()), {}
        if self.labels is not None:
            labels = self.labels[usable]
            there = np.unique(labels)
            empty = sorted(set(range(len(self.class_names))) - set(there.tolist()))
            unusable += tuple(Skipped(self.class_names[i], "this class has no usable image") for i in empty)
            self.labels = np.searchsorted(there, labels)
            self.class_names = tuple(self.class_names[i] for i in there)
        self._skipped += unusable

    def __len__(self) -> int:
        return len(self._files)

    @property
    def skipped(self) -> tuple[Skipped, ...]:
        """What was found beside the images, and images that cannot be used, as far as anybody looked."""
        found = dict(self._unusable)  # another thread may look at more
        return (*self._skipped, *(found[i] for i in sorted(found)))

    def usable(self, ids: Ints, check: Check = go_on) -> Bools:
        """(N,) whether each image can be decoded; those that nobody looked at are looked at now."""
        files = [self._files[int(i)] for i in ids]
        self._seen.look(files, check)
        verdicts = [self._seen.get(file).verdict for file in files]
        for i, file, verdict in zip(ids, files, verdicts, strict=True):
            if verdict != SOUND:
                self._unusable[int(i)] = Skipped(self._shown(file), verdict)
        return np.array([verdict == SOUND for verdict in verdicts], bool)

    def image(self, index: int) -> Pixels:
        """(h, w, 3) uint8. Raises InputError where the file cannot be used, or changed since it was looked at."""
        return self.reader(index)()

    def reader(self, index: int) -> PictureFile:
        """What reads one image, here or in another process."""
        file = self._files[index]
        return PictureFile(f"{self._seen.root}/{file}", self._shown(file), self.name, self._sound(index))

    def content(self, index: int) -> str:
        """sha256 of the file, as it was when it was looked at."""
        return self._sound(index).sha256

    def _sound(self, index: int) -> Seen:
        file = self._files[index]
        seen = self._seen.get(file)
        if seen is None or seen.verdict != SOUND:
            if not self.usable(np.array([index]))[0]:
                reason = self._unusable[int(index)].reason
                raise InputError(f"The image {self._shown(file)} of {self.name} cannot be used: {reason}.")
            seen = self._seen.get(file)
        return seen

    def _shown(self, file: str) -> str:
        return shown(file[len(self._below) + 1 :] if self._below else file)
