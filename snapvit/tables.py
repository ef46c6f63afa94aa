"""Tables of one ranking's cuts that grow row by row: what cuts cost in quality, and their times on one machine."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

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
