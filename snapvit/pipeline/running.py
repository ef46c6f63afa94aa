"""Running stages: each artifact that is wanted is found in the store, or computed and stored.

A cancel takes effect within one batch. Finished artifacts stay; one that grows is stored after each piece and goes on
from there.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from snapvit.artifacts import Ranking
from snapvit.devices import check_computing, device_for, device_label, timing_machine
from snapvit.elastic.correction import Correction
from snapvit.elastic.ranking import check_ratio
from snapvit.errors import InputError
from snapvit.pipeline.config import RunRequest
from snapvit.pipeline.memory import within_memory
from snapvit.pipeline.overflow import check_overflow, not_finite
from snapvit.pipeline.progress import Reporter, Shared
from snapvit.pipeline.published_runs import cached_scores, differs_from
from snapvit.pipeline.results import StoredRun
from snapvit.pipeline.sharing import told
from snapvit.pipeline.stage import Context, Stage, Want
from snapvit.pipeline.stages.attention import EXAMPLES
from snapvit.pipeline.stages.correction import CORRECTION
from snapvit.pipeline.stages.latency import LATENCY
from snapvit.pipeline.table import TABLE, is_whole, key_of, main_stages, root_of, stale_entries
from snapvit.pipeline.uploads import delete_unused_tables
from snapvit.pipeline.workspace import Workspace
from snapvit.published.scores import PublishedScores
from snapvit.ranks.ranks import ALONE, Ranks
from snapvit.store.codec import encode
from snapvit.store.store import Store

A = TypeVar("A")
SKIPPED_NAMED = 20  # files that the log names one by one


def run_pipeline(
    request: RunRequest,
    store: Store,
    reporter: Reporter,
    scores: PublishedScores | None = None,
    name: str = "",
    device: str | None = None,
    ranks: Ranks = ALONE,
) -> Workspace:
    """Bring the request's run to its finished state and return the loaded workspace for further measurements.

    `scores` are what a request with published scores names; without them they are looked for in the cache. `name` is
    what people call the run, `device` one of the request's kind; None: the usual one. How long cuts take on this
    machine is measured last. ranks: the processes that compute it together, all of which call this; the first one alone
    reads and writes the store. Raises InputError for what cannot be done, Cancelled within one batch of a request to
    stop.
    """
    place = device or device_for(request.device)
    check_computing(place, request.device, request.run)  # before anything is downloaded
    workspace = Workspace.open(request, reporter, store.root, place, ranks)
    if not ranks.first:
        take_part(workspace)
        return workspace
    report_images(workspace, reporter)
    if request.scores is not None:
        workspace.published = scores or cached_scores(store, request)
        workspace.published.check_fit(workspace.topology, workspace.loaded.label)
        if (other := differs_from(workspace.published, request.model.name)) is not None:
            reporter.event("note", f"the scores say that they are of {other}; here they cut {request.model.label}")
    complete_run(workspace, store, reporter, name)
    return workspace


def complete_run(workspace: Workspace, store: Store, reporter: Reporter, name: str = "") -> None:
    """Make the run of an open workspace, or bring it up to date with its model and images; compute what it lacks."""
    request = workspace.request
    with store.computing(request.run):
        known = store.manifest(request.run)
        nodes = workspace.nodes_like(known.nodes if known else ())
        store.create(request.run, encode(request)[1], workspace.facts, nodes)
        where = device_label(str(workspace.device))
        reporter.event("device", f"computing on {where} in {request.config.precision}")
        if name:
            store.rename(request.run, name)
        store.forget(request.run, list(stale_entries(store.manifest(request.run), request)))
        run_wants(workspace, store, reporter, [*map(Want, main_stages(request)), machine_latency(request)])
    delete_unused_tables(store)


def machine_latency(request: RunRequest) -> Want:
    """How long the cuts of the path take on this machine."""
    return Want(LATENCY, (timing_machine(request.device).id,))


def open_workspace(store: Store, run: str, ranks: Ranks = ALONE) -> Workspace:
    """Model and images of a stored run, loaded by every one of the processes onto a device of its kind
    (`devices.device_for`)."""
    request = told(ranks, RunRequest, lambda: StoredRun.open(store, run).request)
    return Workspace.open(request, cache=store.root, device=device_for(request.device), ranks=ranks)


def check_unchanged(store: Store, run: str, workspace: Workspace) -> None:
    """Raise InputError where what is stored of `run` is of another model or other images than the workspace's."""
    for name, node in StoredRun.open(store, run).manifest.nodes.items():
        if workspace.node(name) != node:
            what = "model" if name == "model" else "images"
            raise InputError(f"The {what} of run {run} changed since it was made; run it again.")


def report_images(workspace: Workspace, reporter: Reporter) -> None:
    """Name what is to be known of the images: files that were left out, what k-NN can say about them."""
    for note in workspace.notes:
        reporter.event("note", note)
    skipped = workspace.source.skipped
    for file in skipped[:SKIPPED_NAMED]:
        reporter.event("note", f"{file.file} is left out: {file.reason}")
    if len(skipped) > SKIPPED_NAMED:
        reporter.event("note", f"{len(skipped) - SKIPPED_NAMED} more files are left out")
    if workspace.accuracy_missing is not None:
        reporter.event("note", f"{workspace.accuracy_missing}, so cosine to the full model is measured, no accuracy")


def run_wants(workspace: Workspace, store: Store, reporter: Reporter, wants: Sequence[Want]) -> None:
    """Compute what is missing of `wants`, in their order; what they are computed from comes before them, or is stored.

    A passing stage among that is collected again where it is not stored, and never for its own sake.

    Raises InputError where it is neither, or for what cannot be done; Cancelled within one batch of a request to stop.
    """
    _know_nodes(workspace, store, wants)
    missing: list[tuple[Want, Any | None]] = []
    for want in wants:
        if want.stage.passing:
            continue
        if _present(workspace, store, want):
            reporter.event("cached", f"{want.stage.name} is in the cache")
            continue
        before = {found.stage.name for found, _ in missing}
        for name in want.stage.parents_of(workspace.request, want.args):
            passing = name in TABLE and TABLE[name].passing and name not in before
            if passing and not _present(workspace, store, Want(TABLE[name])):
                missing.append((Want(TABLE[name]), None))
        missing.append((want, _beginning(workspace, store, want)))
    units = [want.stage.units(workspace.effort, want.stage.given(want.args), start).total for want, start in missing]
    shared = [(want.stage.name, want.args) for want, _ in missing if want.stage.shared]
    workspace.ranks.told(lambda: json.dumps(shared).encode())
    reporter.plan(sum(units))
    for (want, beginning), count in zip(missing, units, strict=True):
        reporter.begin(want.stage.name, count)
        _compute(workspace, store, reporter, want, beginning)


def take_part(workspace: Workspace) -> None:
    """What the other processes do while the first one is in `run_wants`: their shares of what all compute together.

    They are told what it is and what it is computed from, and write nothing down.
    """
    for name, args in json.loads(workspace.ranks.told(bytes)):
        want = Want(TABLE[name], tuple(args))
        context = _context(workspace, Reporter(), want, None, _nothing_of_its_own, lambda: iter(()))
        for _ in want.stage.compute(context):
            pass


def _nothing_of_its_own(name: str) -> None:
    raise AssertionError(f"{name} is the first process's to find")


def passing_artifact(workspace: Workspace, store: Store, reporter: Reporter, stage: Stage[A]) -> A:
    """What is stored of a passing stage; where nothing is, it is computed and stored first."""
    want = Want(stage)
    _know_nodes(workspace, store, [want])
    if not _present(workspace, store, want):
        units = stage.units(workspace.effort, {}, None).total
        reporter.plan(units)
        reporter.begin(stage.name, units)
        _compute(workspace, store, reporter, want, None)
    return _load(workspace, store, want)


def correction_of(workspace: Workspace, store: Store, ranking: Ranking, reporter: Reporter) -> Correction:
    """What corrects the cuts of this ranking; statistics that are not stored are collected first, and stored."""
    return workspace.correction(
        ranking, lambda: passing_artifact(workspace, store, reporter, CORRECTION), reporter.check
    )


def keep_piece(
    store: Store,
    workspace: Workspace,
    want: Want,
    piece: Any,
    complete: bool | None = None,
    seconds: float = 0.0,
) -> None:
    """Store an artifact, or add a piece to one that grows, under the run's lock."""
    stage, request, nodes = want.stage, workspace.request, _all_nodes(workspace, want)
    key, root = key_of(stage, request, nodes, want.args), root_of(stage, request, nodes, want.args)

    def merged(old: Any | None) -> Any:
        return stage.merge(old, piece)

    store.update(request.run, want.entry, stage.kind, key, merged, complete, seconds, root)


def _compute(workspace: Workspace, store: Store, reporter: Reporter, want: Want, beginning: Any | None) -> None:
    workspace.check_computing()
    stage, started, kept = want.stage, time.monotonic(), False

    def keep(piece: Any, complete: bool) -> None:
        nonlocal started, kept
        now = time.monotonic()
        keep_piece(store, workspace, want, piece, complete, now - started)
        started, kept = now, True

    def compute() -> tuple[Reporter, Any | None]:
        """The reporter and the last piece. Each is kept at once; when this is called again it goes on from them."""
        context = _context(
            workspace,
            reporter,
            want,
            _beginning(workspace, store, want) if kept else beginning,
            lambda name: _parent(workspace, store, want, name),
            lambda: _others(workspace, store, want),
        )
        last = None
        for piece in stage.compute(context):
            last = piece
            check_overflow(stage.name, stage.within(want.args), workspace.loaded.label, piece)
            keep(piece, not stage.grows)
        return context.reporter, last

    own, last = within_memory(workspace, reporter, stage.within(want.args), compute)
    if stage.grows and last is not None:
        keep(last, True)
    if isinstance(own, Shared):
        reporter.advance(own.left)


def _context(
    workspace: Workspace,
    reporter: Reporter,
    want: Want,
    beginning: Any | None,
    parent: Callable[[str], Any],
    others: Callable[[], Iterator[Any]],
) -> Context[Any]:
    """Of what several processes compute together, whatever the first one has is told to all."""
    stage, ranks = want.stage, workspace.ranks
    if ranks.size > 1 and stage.shared:
        find, reporter = parent, Shared(reporter, ranks.size)
        beginning = told(ranks, stage.kind, lambda: beginning) if stage.grows else None

        def parent(name: str) -> Any:
            return told(ranks, TABLE[name].kind, lambda: find(name))

    return Context(workspace, reporter, stage.given(want.args), beginning, parent, others, stage.correct)


def _present(workspace: Workspace, store: Store, want: Want) -> bool:
    """Whether the run holds the artifact whole, by itself or once it took another run's."""
    run, request, nodes = workspace.request.run, workspace.request, _all_nodes(workspace, want)
    key = key_of(want.stage, request, nodes, want.args)
    manifest = store.manifest(run)
    if not is_whole(manifest, request, want) and not store.borrow(run, want.entry, key):
        return False
    return _load(workspace, store, want) is not None


def _load(workspace: Workspace, store: Store, want: Want) -> Any | None:
    stage, topology = want.stage, workspace.topology
    key = key_of(stage, workspace.request, _all_nodes(workspace, want), want.args)

    def fits(artifact: Any) -> bool:
        return stage.fits(artifact, topology) and not not_finite(stage.name, artifact)[0]

    return store.load(workspace.request.run, want.entry, stage.kind, key, fits)


def _beginning(workspace: Workspace, store: Store, want: Want) -> Any | None:
    """What is there already of a stage that grows: of this run, or of another that asked for less or more of it."""
    stage, request = want.stage, workspace.request
    if not stage.grows:
        return None
    root = root_of(stage, request, _all_nodes(workspace, want), want.args)
    found = store.beginning(request.run, want.entry, stage.kind, root)
    return found if found is not None and stage.fits(found, workspace.topology) else None


def _parent(workspace: Workspace, store: Store, want: Want, name: str) -> Any:
    found = _load(workspace, store, Want(TABLE[name]))
    if found is None:
        raise InputError(
            f"Run {workspace.request.run} has no {TABLE[name].within()} yet, from which "
            f"{want.stage.within(want.args)} is computed; start or continue the run first."
        )
    return found


def _others(workspace: Workspace, store: Store, want: Want) -> Iterator[Any]:
    manifest = store.manifest(workspace.request.run)
    for entry in manifest.entries:
        args = want.stage.asked_for(entry)
        if args is not None and args != want.args and is_whole(manifest, workspace.request, Want(want.stage, args)):
            found = _load(workspace, store, Want(want.stage, args))
            if found is not None:
                yield found


def _all_nodes(workspace: Workspace, want: Want) -> dict[str, str]:
    """The workspace's nodes, with that of a single image where the artifact is computed from one."""
    return workspace.nodes_like(want.stage.parents_of(workspace.request, want.args))


def _know_nodes(workspace: Workspace, store: Store, wants: Sequence[Want]) -> None:
    """Write the nodes of single images into the manifest, so that pages know the keys of what is computed from them."""
    request = workspace.request
    manifest = store.manifest(request.run)
    if manifest is None:
        raise InputError(f"There is no run named {request.run!r} in the cache.")
    for want in wants:  # what cannot be meant is named before anything is computed
        given = want.stage.given(want.args)
        for name, of in (("mlp", "MLP"), ("heads", "head")):
            if name in given:
                check_ratio(of, float(given[name]))
        if given.get("image", EXAMPLES) != EXAMPLES:
            workspace.image_id(str(given["image"]))
    parents = {name for want in wants for name in want.stage.parents_of(request, want.args)}
    nodes = workspace.nodes_like({*manifest.nodes, *(name for name in parents if name not in TABLE)})
    if nodes != manifest.nodes:
        store.create(request.run, manifest.request, manifest.facts, nodes)
