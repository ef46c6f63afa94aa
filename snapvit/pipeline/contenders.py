"""Who takes part in a comparison: a method, with settings of its own where they are not the run's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from snapvit.errors import InputError
from snapvit.pipeline.config import RankingConfig, RunRequest, path_pair, seeded, with_settings
from snapvit.pipeline.methods import METHODS

# Sparsities of the path at which contenders are measured; the uncut model is the same for all.
POINTS = (0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 0.95)
PROBED = (0.35, 0.65, 0.8, 0.95)  # where a linear probe is trained as well, and differences are tabled
# Settings for people
WORDS = {
    "search.generations": "{} generations",
    "search.images": "{} images",
    "search.start": "from {}",
    "search.fitness": "fitness of {} cuts",
    "interactions.images": "{} images",
    "interactions.probes": "{} probes",
    "curvature.images": "{} images",
    "curvature.criterion": "{}",
    "floors.neurons": "{} of neurons protected",
    "floors.heads": "{} of heads protected",
}


@dataclass(frozen=True)
class Contender:
    """One way to rank, of which each seed makes a ranking."""

    method: str
    settings: tuple[str, ...] = ()  # such as `search.generations=12`, sorted

    @classmethod
    def parse(cls, text: str) -> Contender:
        """From its name, such as `snapvit search.start=cka`. Raises InputError for what cannot be meant."""
        method, *settings = text.split() or [""]
        if method not in METHODS:
            raise InputError(f"There is no method {method!r}; there are {', '.join(METHODS)}.")
        with_settings(RunRequest().config, settings)  # raises for a bad one
        foreign = [setting for setting in settings if setting.startswith(("evaluation.", "split_seed", "correction."))]
        if foreign or any("seed=" in setting or setting.startswith("ranking.") for setting in settings):
            raise InputError(
                f"{text!r} cannot be compared: contenders share images, correction and seeds, so only settings of "
                "their own rankings can differ."
            )
        return cls(method, tuple(sorted(settings)))

    @property
    def name(self) -> str:
        """As `parse` reads it."""
        return " ".join([self.method, *self.settings])

    @property
    def label(self) -> str:
        """For people."""
        return ", ".join([METHODS[self.method].label, *map(in_words, self.settings)])

    @property
    def drawn(self) -> bool:
        """Whether anything of it depends on a seed: on images that are drawn, or on chance."""
        return self.method not in ("magnitude", "lamp")

    @property
    def searched(self) -> bool:
        """Whether a search makes its ranking."""
        return "search" in METHODS[self.method].stages

    @property
    def of_another_length(self) -> bool:
        """Whether its search is shorter or longer than the run's: beside that one, it shows what a search buys."""
        return any(setting.startswith("search.generations=") for setting in self.settings)

    def request(self, run: RunRequest, seed: int) -> RunRequest:
        """The run that makes its ranking, on the model and images of another."""
        config = with_settings(replace(run.config, ranking=RankingConfig(self.method)), list(self.settings))
        return replace(run, config=seeded(config, seed), scores=None)


def in_words(setting: str) -> str:
    """A setting for people: `12 generations`, `1 generation`."""
    name, _, value = setting.partition("=")
    if name not in WORDS:
        return setting
    words = WORDS[name].format(value)
    return words.removesuffix("s") if value == "1" else words


def all_methods() -> tuple[Contender, ...]:
    """Every method that can rank any model on any images, with the run's own settings."""
    return tuple(Contender(name) for name, method in METHODS.items() if not method.labelled)


def entries(contenders: Sequence[Contender], seeds: int) -> list[tuple[int, Contender]]:
    """Seeds and contenders in the order of their work: all of one seed, then the next."""
    return [(seed, one) for seed in range(seeds) for one in contenders if one.drawn or seed == 0]


def pairs(points: Sequence[float] = POINTS) -> list[tuple[float, float]]:
    """The (mlp, heads) that are measured."""
    return [path_pair(point) for point in points]
