"""What the cache keeps of images, uploads and decoded tables, and the runs that use them: it goes with the last one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection

from snapvit.data.kept_uploads import Upload, delete_upload, list_uploads
from snapvit.data.pixel_files import delete_tables
from snapvit.store.store import Store


def runs_by_source(store: Store) -> dict[str, list[str]]:
    """Names of sources to the runs, of earlier versions too, that take images, gallery or queries from there."""
    found: dict[str, list[str]] = defaultdict(list)
    for run in (*store.manifests(), *store.former()):
        for name in {run.request.get(part) for part in ("data", "gallery", "queries")} - {None}:
            found[name].append(run.run)
    return found


def going_with(store: Store, wanted: Collection[str] = ()) -> dict[str, list[Upload]]:
    """Runs to the uploads that only they use, and that go when they are deleted.

    wanted: names of sources that a job is about to use.
    """
    users, found = runs_by_source(store), defaultdict(list)
    for upload in list_uploads(store.root):
        if upload.name not in wanted and len(users[upload.name]) == 1:
            found[users[upload.name][0]].append(upload)
    return found


def delete_run(store: Store, run: str, wanted: Collection[str] = ()) -> None:
    """Delete a run, and the uploads and decoded images that only it used. Raises InputError where the store refuses."""
    going = going_with(store, wanted)[run]
    store.delete(run)
    users = runs_by_source(store)
    for upload in going:
        if not users[upload.name]:  # another process may have begun a run meanwhile
            delete_upload(upload.name, store.root)
    delete_unused_tables(store)


def delete_unused_tables(store: Store) -> None:
    """Remove decoded images that no run of this cache takes any more, for example as their files changed."""
    delete_tables(store.root, {node for run in store.manifests() for node in run.nodes.values()})
