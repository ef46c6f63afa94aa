"""What a stage is: one entry of the table that everything else about it follows from.

Keys, progress, estimates, the list of runs, what is finished, names for people and loading are derived from these
entries; `table` holds them all, and a file of `stages/` each. No torch: an entry's `compute` imports what it needs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from snapvit.artifacts import Ranking, Topology
from snapvit.formats import ratio
from snapvit.pipeline.config import RunRequest
from snapvit.pipeline.effort import Effort, Units
from snapvit.pipeline.progress import Reporter

if TYPE_CHECKING:
    from snapvit.elastic.vit import ElasticViT
    from snapvit.pipeline.workspace import Workspace

A = TypeVar("A")
Arg = float | int | str
Args = tuple[Arg, ...]


@dataclass
class Context(Generic[A]):
    """What a stage is computed from."""

    workspace: Workspace
    reporter: Reporter
    args: Mapping[str, Arg]
    beginning: A | None  # what is there already of a stage that grows
    parent: Callable[[str], Any]  # artifact of the parent stage of this name
    others: Callable[[], Iterator[A]]  # the same stage's whole artifacts for other arguments, of this run
    correct: bool = False  # whether the weights of cuts are corrected

    @property
    def request(self) -> RunRequest:
        """What was asked for."""
        return self.workspace.request

    def elastic(self, ranking: Ranking) -> ElasticViT:
        """The model, to be cut by this ranking, corrected where that is asked for; use it as a context."""
        correction = None
        if self.correct:
            statistics = partial(self.parent, "correction")
            correction = self.workspace.correction(ranking, statistics, self.reporter.check)
        return self.workspace.elastic(ranking, correction)


def _newest(_: A | None, new: A) -> A:
    return new


def _always(artifact: Any, topology: Topology) -> bool:
    return True


@dataclass(frozen=True, eq=False)
class Stage(Generic[A]):
    """One kind of result that a run can hold, for each tuple of arguments that somebody asks for."""

    name: str
    kind: type[A]
    title: str  # for people, with the arguments in braces: `CKA map of the cut at {mlp}`
    # Stages, and nodes: `model`, `images.NAME`. A node's name may hold an argument in braces.
    parents: tuple[str, ...] | Callable[[RunRequest], tuple[str, ...]]
    # Yields the artifact; a stage that grows yields again and again, from its beginning on if there is one, and every
    # piece is kept at once. Raises InputError for what cannot be done, Cancelled within one batch of a request to stop.
    compute: Callable[[Context[A]], Iterator[A]]
    units: Callable[[Effort, Mapping[str, Arg], A | None], Units]  # still to be done, given what is there
    settings: tuple[str, ...] = ()  # sections or single settings that it reads, and no others
    extent: tuple[str, ...] = ()  # those of them that only say how far it goes
    args: Mapping[str, type] = field(default_factory=dict)  # what is asked for, beside the run
    schema: int = 1  # rises when the meaning of its numbers changes
    fits: Callable[[A, Topology], bool] = _always  # whether its shapes are those of a model with these counts
    grows: bool = False
    merge: Callable[[A | None, A], A] = _newest  # what is kept of what is there and a new piece
    correct: bool = False  # whether it is of cuts whose weights are corrected
    shared: bool = False  # whether several processes compute it together; else the first of them does
    passing: bool = False  # large, and collected again where it is needed: a run is finished without it

    def entry_name(self, args: Args = ()) -> str:
        """Name in the manifest, and the beginning of the file's: `cka-cut-0.5-0.35`."""
        return "-".join([self.name, *(f"{a:g}" if isinstance(a, float) else str(a) for a in self.given(args).values())])

    def asked_for(self, entry: str) -> Args | None:
        """Arguments of an entry of this stage; None for another stage's."""
        words = entry.removeprefix(self.name).split("-")[1:]
        if not (entry == self.name or entry.startswith(f"{self.name}-")) or len(words) != len(self.args):
            return None
        try:
            args = tuple(kind(word) for kind, word in zip(self.args.values(), words, strict=True))
        except ValueError:
            return None
        return args if self.entry_name(args) == entry else None

    def given(self, args: Args) -> dict[str, Arg]:
        """The arguments by name, each of its own type."""
        return {name: kind(arg) for (name, kind), arg in zip(self.args.items(), args, strict=True)}

    def label(self, args: Args = ()) -> str:
        """What computing it does, for people."""
        return self.title.format(
            **{name: ratio(a) if isinstance(a, float) else a for name, a in self.given(args).items()}
        )

    def within(self, args: Args | None = None) -> str:
        """The same inside a sentence: `local curvature`, but `CKA map`; without arguments, as the table has it."""
        words = self.title if args is None else self.label(args)
        return words if words[1:2].isupper() else words[:1].lower() + words[1:]

    def parents_of(self, request: RunRequest, args: Args = ()) -> tuple[str, ...]:
        """Names of stages and nodes that it is computed from."""
        names = self.parents(request) if callable(self.parents) else self.parents
        return tuple(name.format(**self.given(args)) for name in names)


def corrected(stage: Stage[A]) -> Stage[A]:
    """The same stage, of cuts whose weights are corrected."""

    def parents(request: RunRequest) -> tuple[str, ...]:
        elastic = request.config.correction.form == "elastic"
        names = stage.parents(request) if callable(stage.parents) else stage.parents
        return (*names, "correction" if elastic else "images.correction")

    return replace(
        stage,
        name=f"{stage.name}-corrected",
        title=f"{stage.title}, corrected",
        parents=parents,
        settings=(*stage.settings, "correction.form", "correction.damping", "correction.share"),
        correct=True,
    )


@dataclass(frozen=True)
class Want:
    """One artifact that a run can hold."""

    stage: Stage[Any]
    args: Args = ()

    @property
    def entry(self) -> str:
        """Its name in the manifest."""
        return self.stage.entry_name(self.args)

    @property
    def label(self) -> str:
        """What computing it does, for people."""
        return self.stage.label(self.args)
