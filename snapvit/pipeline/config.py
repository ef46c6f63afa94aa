"""What a person asks for: a model, images and one frozen config a stage. Command line and pages build the same."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal

from snapvit.artifacts import PAPER_PAIRS, Criterion, Damping, Floors, Pairs
from snapvit.devices import CPU, PRECISIONS, Precision
from snapvit.errors import InputError
from snapvit.models.spec import ModelSpec
from snapvit.pipeline.methods import METHODS

HEAD_LAG = 0.15  # on the slider's path heads lag behind neurons by this much, as in the paper's pairs
PATH_END = 0.95

NO_IMAGES = "none"  # the images of a run that only holds published scores


@dataclass(frozen=True)
class CurvatureConfig:
    """Local curvature: which gradients, over how many images and views."""

    criterion: Criterion = "fisher"
    images: int = 1000
    global_views: int = 2
    local_views: int = 10
    seed: int = 0  # of the crops


@dataclass(frozen=True)
class CkaConfig:
    """The CKA map."""

    images: int = 1000


@dataclass(frozen=True)
class SearchConfig:
    """The evolution strategy. Cost: generations * population * pairs passes over the images."""

    generations: int = 50
    population: int | None = None  # None: 4 + floor(3 ln S)
    images: int = 1000
    pairs: Pairs = PAPER_PAIRS
    components: int = 192  # of the PCA; at most the embedding width
    start: Literal["identity", "cka", "displacement"] = "identity"  # covariance before the first generation
    fitness: Literal["cut", "corrected"] = "cut"  # whether cuts are judged as they are, or with corrected weights
    seed: int = 0


@dataclass(frozen=True)
class CorrectionConfig:
    """The correction of a cut's weights."""

    form: Literal["elastic", "sequential"] = "elastic"  # statistics of the full model, or of each cut block by block
    images: int = 1000
    damping: Damping = "mean"
    share: float = 0.001  # of it, added to the covariance's diagonal


@dataclass(frozen=True)
class InteractionsConfig:
    """How structures depend on one another, estimated without the search."""

    images: int = 128
    probes: int = 8  # of Gauss-Newton, an image
    seed: int = 0  # of the probes, and of a sample of pairs that are measured


@dataclass(frozen=True)
class RankingConfig:
    """What the ranking is made of."""

    method: str = "snapvit"  # a name in `methods.METHODS`
    seed: int = 0  # of the random ranking


@dataclass(frozen=True)
class EvaluationConfig:
    """k-NN accuracy along the slider's path."""

    k: int = 20
    gallery: int = 6000
    queries: int = 2000
    points: int = 39  # evenly spaced from sparsity 0 to 0.95


@dataclass(frozen=True)
class RunConfig:
    """Settings of all stages."""

    curvature: CurvatureConfig = field(default_factory=CurvatureConfig)
    cka: CkaConfig = field(default_factory=CkaConfig)
    search: SearchConfig = field(default_factory=SearchConfig)
    ranking: RankingConfig = field(default_factory=RankingConfig)
    floors: Floors = field(default_factory=Floors)
    correction: CorrectionConfig = field(default_factory=CorrectionConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    interactions: InteractionsConfig = field(default_factory=InteractionsConfig)
    split_seed: int = 0
    calibration_seed: int = 0  # of the order of the calibration images, the first of which each stage takes
    precision: Precision = "float32"  # of the forward passes of search and evaluation; all else is float32

    def __post_init__(self) -> None:
        _check(self)
        # 0 and 0.0 ask for the same, so they must give the same names and keys
        floors = Floors(float(self.floors.neurons), float(self.floors.heads))
        pairs = tuple((float(mlp), float(heads)) for mlp, heads in self.search.pairs)
        object.__setattr__(self, "floors", floors)
        object.__setattr__(self, "correction", replace(self.correction, share=float(self.correction.share)))
        object.__setattr__(self, "search", replace(self.search, pairs=pairs))

    @property
    def preset(self) -> str:
        """Name of the preset that these settings are, whatever the seeds of the method and the precision; else
        `custom`."""
        unseeded = replace(seeded(self, 0), precision=RunConfig.precision)
        return next((name for name, preset in PRESETS.items() if preset == unseeded), "custom")

    @property
    def kind(self) -> str:
        """The preset; with another method than the preset's, both: `quick-lamp`."""
        method = self.ranking.method
        if self.preset != "custom" or method == RankingConfig().method:
            return self.preset
        return f"{replace(self, ranking=RankingConfig()).preset}-{method}"

    @property
    def seed(self) -> int | None:
        """Of what the method draws; None where it draws nothing."""
        name = METHODS[self.ranking.method].seed
        return None if name is None else int(str(_setting(self, name)))


@dataclass(frozen=True)
class RunRequest:
    """A run: which model, which images, which settings."""

    model: ModelSpec = field(default_factory=ModelSpec)
    data: str = "bundled"
    config: RunConfig = field(default_factory=lambda: PRESETS["quick"])
    scores: str | None = None  # digest of a file of published scores that take the place of curvature and search
    gallery: str | None = None  # another source of the k-NN gallery; None: a part of `data`
    queries: str | None = None
    device: str = CPU  # the kind that computes: `cpu`, `cuda`, `mps`

    @property
    def kind(self) -> str:
        """The preset, or `scores` where the ranking comes from a file."""
        return self.config.kind if self.scores is None else "scores"

    @property
    def run(self) -> str:
        """Name of the run: the same request has the same name on every machine, and a new setting renames none."""
        body = {"config": apart(self.config, RunConfig()), "model": apart(self.model, ModelSpec())}
        body |= {name: value for name in ("data", "scores", "gallery", "queries") if (value := getattr(self, name))}
        body |= {} if self.device == CPU else {"device": self.device}
        digest = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
        slug = re.sub(r"[^a-z0-9]+", "-", self.model.name.lower()).strip("-")[:40]
        return f"{slug}-{self.kind}-{digest[:8]}"


def seeded(config: RunConfig, seed: int) -> RunConfig:
    """`config` with this seed for everything that is drawn to make a ranking, and the same gallery and queries."""
    drawn = {name: replace(getattr(config, name), seed=seed) for name in ("curvature", "search", "interactions")}
    return replace(config, ranking=replace(config.ranking, seed=seed), calibration_seed=seed, **drawn)


def apart(config: Any, default: Any) -> dict[str, Any]:
    """Settings of a dataclass, by dotted name, in which it differs from `default`: what keys and names are made of."""
    found: dict[str, Any] = {}
    for entry in fields(config):
        value, usual = getattr(config, entry.name), getattr(default, entry.name)
        if dataclasses.is_dataclass(value):
            found |= {f"{entry.name}.{name}": inner for name, inner in apart(value, usual).items()}
        elif value != usual:
            found[entry.name] = value
    return found


def settings_apart(config: RunConfig, names: Iterable[str]) -> dict[str, Any]:
    """Of the sections or single settings called `names`, those in which `config` differs from the defaults."""
    wanted = tuple(names)
    return {
        name: value
        for name, value in apart(config, RunConfig()).items()
        if name in wanted or name.partition(".")[0] in wanted
    }


def with_settings(config: RunConfig, settings: list[str]) -> RunConfig:
    """`config` with settings such as `search.generations=20` applied. Raises InputError naming the first bad one."""
    for setting in settings:
        name, equals, text = setting.partition("=")
        section, dot, key = name.partition(".")
        if not equals:
            raise InputError(f"The setting {setting!r} has no value; write it as {name or 'search.generations'}=VALUE.")
        stage = getattr(config, section, None) if section in {f.name for f in fields(config)} else None
        if not dot and section in ("split_seed", "calibration_seed", "precision"):
            config = replace(config, **{section: _parse(name, text)})
        elif dataclasses.is_dataclass(stage) and key in {f.name for f in fields(stage)}:
            config = replace(config, **{section: replace(stage, **{key: _parse(name, text)})})
        else:
            raise InputError(f"There is no setting {name!r}; there are {', '.join(setting_names())}.")
    return config


def setting_names() -> list[str]:
    """All names that `with_settings` takes."""
    config, names = RunConfig(), []
    for section in fields(config):
        stage = getattr(config, section.name)
        inner = fields(stage) if dataclasses.is_dataclass(stage) else []
        names += [f"{section.name}.{f.name}" for f in inner] or [section.name]
    return names


def _parse(name: str, text: str) -> object:
    try:
        value = json.loads(text)
    except ValueError:  # no JSON, or a number of thousands of digits
        value = text
    if name == "search.pairs":
        try:
            return tuple((float(mlp), float(heads)) for mlp, heads in value)
        except (TypeError, ValueError) as error:
            raise InputError(f"search.pairs is {text!r}; write pairs as [[0.15, 0], [0.35, 0.2]].") from error
    return value


# name: (least, most); a population may also be None
_WHOLE = {
    "curvature.images": (1, None),
    "curvature.global_views": (1, 8),
    "curvature.local_views": (0, 64),
    "curvature.seed": (0, 2**32 - 1),
    "cka.images": (2, None),
    "search.generations": (1, 10_000),
    "search.population": (2, 10_000),
    "search.images": (2, None),
    "search.components": (1, None),
    "search.seed": (0, None),
    "correction.images": (1, None),
    "interactions.images": (2, None),
    "interactions.probes": (1, 10_000),
    "interactions.seed": (0, 2**32 - 1),
    "evaluation.k": (1, None),
    "evaluation.gallery": (1, None),
    "evaluation.queries": (1, None),
    "evaluation.points": (2, 1001),
    "ranking.seed": (0, 2**32 - 1),
    "split_seed": (0, 2**32 - 1),
    "calibration_seed": (0, 2**32 - 1),
}
_CHOICES = {
    "ranking.method": tuple(METHODS),
    "curvature.criterion": ("fisher", "accumulated"),
    "search.start": ("identity", "cka", "displacement"),
    "search.fitness": ("cut", "corrected"),
    "correction.form": ("elastic", "sequential"),
    "correction.damping": ("mean", "p95", "max"),
    "precision": PRECISIONS,
}


def _check(config: RunConfig) -> None:
    for name, (least, most) in _WHOLE.items():
        value = _setting(config, name)
        if name == "search.population" and value is None:
            continue
        whole = isinstance(value, int) and not isinstance(value, bool)
        if not whole or value < least or (most is not None and value > most):
            bounds = f"at least {least}" if most is None else f"between {least} and {most}"
            raise InputError(f"{name} is {value!r}; it must be a whole number, {bounds}.")
    for name, choices in _CHOICES.items():
        if _setting(config, name) not in choices:
            raise InputError(
                f"{name} is {_setting(config, name)!r}; it must be {', '.join(choices[:-1])} or {choices[-1]}."
            )
    share = config.correction.share
    if isinstance(share, bool) or not isinstance(share, int | float) or not 0 < share <= 1:
        raise InputError(f"correction.share is {share!r}; it must be a number above 0 and at most 1.")
    for name in ("floors.neurons", "floors.heads"):
        if isinstance(_setting(config, name), bool):
            raise InputError(f"{name} is {_setting(config, name)!r}; it must be a number between 0 and 1.")
    if config.curvature.global_views + config.curvature.local_views < 2:
        raise InputError("The loss compares views of an image, so at least 2 views are needed; 1 was asked for.")
    if not config.search.pairs:
        raise InputError("search.pairs is empty; the search needs at least one pair of sparsities.")
    for pair in config.search.pairs:
        if not all(0 <= ratio < 1 for ratio in pair):
            raise InputError(f"search.pairs holds {pair}; sparsities must be at least 0 and below 1.")


def _setting(config: RunConfig, name: str) -> object:
    value: object = config
    for part in name.split("."):
        value = getattr(value, part)
    return value


PRESETS: dict[str, RunConfig] = {
    # About two minutes for the bundled model on two cores.
    "quick": RunConfig(
        curvature=CurvatureConfig(images=128),
        cka=CkaConfig(images=256),
        search=SearchConfig(generations=12, images=64),
        correction=CorrectionConfig(images=256),
        evaluation=EvaluationConfig(gallery=1000, queries=500),
    ),
    # No search: Gauss-Newton orders all, and the weights are corrected; why so: docs/evidence.md. Ranking and
    # statistics of a ViT-S/16 take about two minutes on two cores (`python -m benchmarks direct-vit-s`).
    "direct": RunConfig(
        ranking=RankingConfig("gauss-newton"),
        cka=CkaConfig(images=128),
        interactions=InteractionsConfig(images=128, probes=4),
        correction=CorrectionConfig(images=256),
        evaluation=EvaluationConfig(gallery=1000, queries=500, points=13),
    ),
    # A first look at a model of one's own: the same of fewer images, in about four minutes for a ViT-S/16 on two cores.
    "look": RunConfig(
        ranking=RankingConfig("gauss-newton"),
        cka=CkaConfig(images=64),
        interactions=InteractionsConfig(images=64, probes=4),
        correction=CorrectionConfig(images=64),
        evaluation=EvaluationConfig(gallery=200, queries=100, points=7),
    ),
    # The paper's numbers of images, views, components and sparsity pairs.
    "paper": RunConfig(search=SearchConfig(generations=30)),
}


def path_pair(sparsity: float) -> tuple[float, float]:
    """The (mlp, heads) pair that one slider position stands for (design section 2)."""
    return round(sparsity, 4), round(max(0.0, sparsity - HEAD_LAG), 4)


def path_points(count: int) -> list[float]:
    """`count` evenly spaced sparsities from 0 to 0.95, ends first, then halving the gaps: useful from the start."""
    order, level = [0, count - 1], [(0, count - 1)]
    while level:
        gaps, level = level, []
        for low, high in gaps:
            middle = (low + high) // 2
            if middle > low:
                order.append(middle)
                level += [(low, middle), (middle, high)]
    return [round(PATH_END * i / (count - 1), 4) for i in order]
