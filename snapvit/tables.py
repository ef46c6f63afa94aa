"""Tables of cuts that grow row by row: what cuts cost in quality, of one ranking or of several, and their times."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace

import numpy as np

from snapvit.artifacts import Bytes, Cut, Doubles, Ints
from snapvit.machine import Machine


@dataclass(frozen=True)
class Measurement:
    """What one cut costs, measured on the gallery and the queries."""

    cut: Cut
    answers: str | None  # a bit a query, packed, as hexadecimal: whether its vote names its class; None: no labels
    queries: int
    gallery: int
    k: int
    cosine: float  # mean cosine between cut and full embeddings of the queries
    params: int
    macs: int

    @property
    def hits(self) -> int | None:
        """Queries that k-NN names right."""
        return None if self.answers is None else int(self.answers or "0", 16).bit_count()

    @property
    def top1(self) -> float | None:
        """Share of queries that k-NN names right."""
        return None if self.hits is None else self.hits / self.queries


@dataclass(frozen=True)
class Measurements:
    """All measured cuts of one ranking, a row each, in the order they were measured."""

    mlp: Doubles  # (M,)
    heads: Doubles  # (M,)
    kept_neurons: Ints  # (M, L)
    kept_heads: Ints  # (M, L)
    answers: Bytes  # (M, ceil(queries / 8)) a bit a query, as numpy packs them; (M, 0) where the images have no labels
    cosine: Doubles  # (M,)
    params: Ints  # (M,)
    macs: Ints  # (M,)
    queries: int
    gallery: int
    k: int

    @classmethod
    def empty(cls, blocks: int, queries: int, gallery: int, k: int, labelled: bool) -> Measurements:
        """A table without rows."""
        numbers, counts, table = np.empty(0), np.empty(0, np.int64), np.empty((0, blocks), np.int64)
        answers = np.empty((0, -(-queries // 8) if labelled else 0), np.uint8)
        return cls(numbers, numbers, table, table, answers, numbers, counts, counts, queries, gallery, k)

    def __len__(self) -> int:
        return len(self.mlp)

    def find(self, mlp: float, heads: float) -> Measurement | None:
        """The measurement at this pair of sparsities, if there is one."""
        rows = np.flatnonzero((np.abs(self.mlp - mlp) < 1e-6) & (np.abs(self.heads - heads) < 1e-6))
        return self.row(int(rows[0])) if len(rows) else None

    def row(self, i: int) -> Measurement:
        """Row i as one object."""
        kept = (tuple(self.kept_neurons[i].tolist()), tuple(self.kept_heads[i].tolist()))
        return Measurement(
            cut=Cut(float(self.mlp[i]), float(self.heads[i]), *kept),
            answers=self.answers[i].tobytes().hex() if self.answers.shape[1] else None,
            queries=self.queries,
            gallery=self.gallery,
            k=self.k,
            cosine=float(self.cosine[i]),
            params=int(self.params[i]),
            macs=int(self.macs[i]),
        )

    def with_row(self, new: Measurement) -> Measurements:
        """A table with one more row."""
        answers = np.frombuffer(bytes.fromhex(new.answers or ""), np.uint8)
        return replace(
            self,
            mlp=np.append(self.mlp, new.cut.mlp),
            heads=np.append(self.heads, new.cut.heads),
            kept_neurons=np.vstack([self.kept_neurons, new.cut.kept_neurons]),
            kept_heads=np.vstack([self.kept_heads, new.cut.kept_heads]),
            answers=np.vstack([self.answers, answers]),
            cosine=np.append(self.cosine, new.cosine),
            params=np.append(self.params, new.params),
            macs=np.append(self.macs, new.macs),
        )

    def with_rows(self, others: Measurements) -> Measurements:
        """A table with those rows of `others` that measure cuts which are not in this one."""
        table = self
        for i in range(len(others)):
            if table.find(float(others.mlp[i]), float(others.heads[i])) is None:
                table = table.with_row(others.row(i))
        return table


@dataclass(frozen=True)
class SearchFitness:
    """How far contenders' searches came with the individuals they judged, a row each number of them. Lower is better.

    A search's rows stand together, by their number.
    """

    contender: Ints  # (F,) index into the comparison's
    seed: Ints  # (F,)
    judged: Ints  # (F,) individuals so far; 0 is every factor 1, which no search has to judge
    best: Doubles  # (F,) the lowest fitness among those, on the search's own images

    @classmethod
    def empty(cls) -> SearchFitness:
        """Of no search."""
        none = np.empty(0, np.int64)
        return cls(none, none, none, np.empty(0))

    def __len__(self) -> int:
        return len(self.judged)

    def of(self, contender: int, seed: int) -> Ints:
        """Rows of one search."""
        return np.flatnonzero((self.contender == contender) & (self.seed == seed))

    def with_search(self, contender: int, seed: int, judged: Ints, best: Doubles) -> SearchFitness:
        """With the rows of a search, in the place of those that it had."""
        kept = np.delete(np.arange(len(self)), self.of(contender, seed))
        count = len(judged)
        return SearchFitness(
            np.append(self.contender[kept], np.full(count, contender, np.int64)),
            np.append(self.seed[kept], np.full(count, seed, np.int64)),
            np.append(self.judged[kept], judged),
            np.append(self.best[kept], best),
        )


@dataclass(frozen=True)
class Comparison:
    """Cuts by several rankings, measured on the same gallery and queries, a row each."""

    contenders: tuple[str, ...]  # what each ranking is made by: `Contender.name`
    contender: Ints  # (M,) index into them
    seed: Ints  # (M,)
    corrected: Ints  # (M,) 1 where the weights are corrected, else 0
    probe: Bytes  # (M, ceil(queries / 8)) whether a linear probe names each query, packed as the table's answers are
    probed: Ints  # (M,) 1 where a probe was trained, else 0
    head: Bytes | None  # (M, ceil(queries / 8)) the same of the model's own classifier; None without one that fits
    table: Measurements  # (M rows)
    searches: SearchFitness = field(default_factory=SearchFitness.empty)

    @classmethod
    def empty(cls, table: Measurements, headed: bool = False) -> Comparison:
        """Of nothing yet; `table` has no rows. headed: whether the model's own classifier names queries too."""
        none = np.empty(0, np.int64)
        return cls((), none, none, none, table.answers, none, table.answers if headed else None, table)

    def __len__(self) -> int:
        return len(self.table)

    def rows_of(self, contender: str, seed: int | None = None, corrected: bool = False) -> Ints:
        """Rows of one ranking's cuts, by sparsity; of all its seeds where none is named."""
        if contender not in self.contenders:
            return np.empty(0, np.int64)
        found = (self.contender == self.contenders.index(contender)) & (self.corrected == int(corrected))
        found &= (self.seed == seed) if seed is not None else True
        rows = np.flatnonzero(found)
        return rows[np.lexsort((self.table.heads[rows], self.table.mlp[rows]))]

    def seeds(self, contender: str) -> list[int]:
        """Seeds of which there is at least a row."""
        known = np.concatenate([self.rows_of(contender, None, correct) for correct in (False, True)])
        return np.unique(self.seed[known]).tolist()

    def find(self, contender: str, seed: int, corrected: bool, mlp: float, heads: float) -> int | None:
        """The row of a cut, if it was measured."""
        rows = self.rows_of(contender, seed, corrected)
        here = (np.abs(self.table.mlp[rows] - mlp) < 1e-6) & (np.abs(self.table.heads[rows] - heads) < 1e-6)
        return int(rows[here][0]) if here.any() else None

    def with_row(
        self,
        contender: str,
        seed: int,
        corrected: bool,
        new: Measurement,
        probe: bytes | None = None,
        head: bytes | None = None,
    ) -> Comparison:
        """With one more row; `probe`, `head`: answers of the linear probe and of the model's own classifier, packed,
        where there are some."""
        names = self.contenders if contender in self.contenders else (*self.contenders, contender)
        bits = np.zeros(self.probe.shape[1], np.uint8) if probe is None else np.frombuffer(probe, np.uint8)
        return replace(
            self,
            contenders=names,
            contender=np.append(self.contender, names.index(contender)),
            seed=np.append(self.seed, seed),
            corrected=np.append(self.corrected, int(corrected)),
            probe=np.vstack([self.probe, bits]),
            probed=np.append(self.probed, int(probe is not None)),
            head=None if self.head is None else np.vstack([self.head, np.frombuffer(head or b"", np.uint8)]),
            table=self.table.with_row(new),
        )

    def fitness_of(self, contender: str, seed: int) -> tuple[Ints, Doubles] | None:
        """(G + 1,) individuals judged by a search, 0 first, and (G + 1,) its best fitness among them, if known."""
        if contender not in self.contenders:
            return None
        rows = self.searches.of(self.contenders.index(contender), seed)
        return (self.searches.judged[rows], self.searches.best[rows]) if len(rows) else None

    def with_fitness(self, contender: str, seed: int, judged: Ints, best: Doubles) -> Comparison:
        """With how far a search came; see SearchFitness."""
        names = self.contenders if contender in self.contenders else (*self.contenders, contender)
        searches = self.searches.with_search(names.index(contender), seed, judged, best)
        return replace(self, contenders=names, searches=searches)

    def with_rows(self, others: Comparison) -> Comparison:
        """With those rows of `others` that are not in this one, and how far its searches came."""
        found = self
        searches = np.stack([others.searches.contender, others.searches.seed], axis=1)
        for number, seed in np.unique(searches, axis=0).tolist():
            name = others.contenders[number]
            found = found.with_fitness(name, seed, *others.fitness_of(name, seed))
        for i in range(len(others)):
            name, seed, corrected = (
                others.contenders[others.contender[i]],
                int(others.seed[i]),
                bool(others.corrected[i]),
            )
            new = others.table.row(i)
            if found.find(name, seed, corrected, new.cut.mlp, new.cut.heads) is None:
                probe = others.probe[i].tobytes() if others.probed[i] else None
                head = None if others.head is None else others.head[i].tobytes()
                found = found.with_row(name, seed, corrected, new, probe, head)
        return found


@dataclass(frozen=True)
class Latency:
    """What one cut takes beside the whole model: forward passes of one image."""

    mlp: float
    heads: float
    ms: float  # median over the rounds
    full_ms: float  # of the whole model
    ratio: float  # to the whole model, timed next to it: median over the rounds,
    low: float  # and its quartiles
    high: float
    repeats: int  # rounds


@dataclass(frozen=True)
class Latencies:
    """What cuts of one ranking take on one machine, a row each. Apart from Measurements, which any machine repeats."""

    machine: Machine
    mlp: Doubles  # (M,)
    heads: Doubles  # (M,)
    ms: Doubles  # (M,)
    full_ms: Doubles  # (M,)
    ratio: Doubles  # (M,)
    low: Doubles  # (M,)
    high: Doubles  # (M,)
    repeats: Ints  # (M,)

    @classmethod
    def empty(cls, machine: Machine) -> Latencies:
        """A table without rows."""
        return cls(machine, *[np.empty(0)] * 7, repeats=np.empty(0, np.int64))

    def __len__(self) -> int:
        return len(self.mlp)

    def rows(self) -> list[Latency]:
        """All rows as objects."""
        columns = [getattr(self, field.name).tolist() for field in fields(Latency)]
        return [Latency(*row) for row in zip(*columns, strict=True)]

    def find(self, mlp: float, heads: float) -> Latency | None:
        """The latency at this pair of sparsities, if it was measured."""
        return next((row for row in self.rows() if _same_cut(row, mlp, heads)), None)

    def with_rows(self, new: list[Latency]) -> Latencies:
        """A table with these rows at the end, in place of older ones of the same cuts."""
        kept = [row for row in self.rows() if not any(_same_cut(row, n.mlp, n.heads) for n in new)]
        columns = {field.name: [getattr(row, field.name) for row in kept + new] for field in fields(Latency)}
        repeats = np.array(columns.pop("repeats"), np.int64)
        return replace(self, repeats=repeats, **{name: np.array(c, np.float64) for name, c in columns.items()})


def _same_cut(row: Latency, mlp: float, heads: float) -> bool:
    return abs(row.mlp - mlp) < 1e-6 and abs(row.heads - heads) < 1e-6
