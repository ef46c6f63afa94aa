"""Results that are computed on request from finished stages, such as the CKA map of one cut.

They lie in the run's folder beside the stages, each under a key made from the keys of what it was computed from, so
that one computed before its run changed is not taken for the run's. This module imports no torch.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Generic, TypeVar

from snapvit.store.store import Store

A = TypeVar("A")
Setting = float | int | str


@dataclass(frozen=True)
class Derived(Generic[A]):
    """One kind of such results: an artifact for each tuple of settings."""

    name: str
    kind: type[A]
    parents: tuple[str, ...]  # stages that it is computed from
    schema: int = 1  # rises when the meaning of its numbers changes

    def entry_name(self, *settings: Setting) -> str:
        """Name in the manifest, and the beginning of the file's: `cka-cut-0.5-0.35`."""
        return "-".join([self.name, *(f"{s:g}" if isinstance(s, float) else str(s) for s in settings)])

    def load(self, store: Store, run: str, *settings: Setting) -> A | None:
        """The artifact; None where it was not computed from the run's present stages, or is damaged."""
        key = self._key(store, run, settings)
        return None if key is None else store.load(run, self.entry_name(*settings), self.kind, key)

    def save(self, store: Store, run: str, artifact: A, seconds: float, *settings: Setting) -> None:
        """Keep it. The stages named in `parents` must be in the store."""
        key = self._key(store, run, settings)
        if key is None:
            raise ValueError(f"{self.name} of {run} has no finished {' or '.join(self.parents)} to belong to")
        store.save(run, self.entry_name(*settings), key, artifact, complete=True, seconds=seconds)

    def _key(self, store: Store, run: str, settings: tuple[Setting, ...]) -> str | None:
        manifest = store.manifest(run)
        entries = [manifest.stages.get(parent) for parent in self.parents] if manifest else [None]
        if None in entries:
            return None
        body = [self.name, self.schema, list(settings), [entry.key for entry in entries]]
        return hashlib.sha256(json.dumps(body).encode()).hexdigest()[:20]
