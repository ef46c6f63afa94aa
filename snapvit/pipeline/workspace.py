"""A request made concrete: its model, images and tables in memory, and the keys of all its stages."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from snapvit.artifacts import Ints, RunFacts
from snapvit.data.pixels import PixelTable, pixel_table
from snapvit.data.sources import ImageSource, open_source
from snapvit.data.splits import Split, split_source
from snapvit.data.views import ViewSpec
from snapvit.elastic.cost import cost_model
from snapvit.errors import InputError
from snapvit.evaluation.knn import why_no_accuracy
from snapvit.models.embedding import normalise_pixels
from snapvit.models.loading import LoadedModel, load_model
from snapvit.pipeline.config import NO_IMAGES, RunRequest
from snapvit.pipeline.effort import Effort, forward_batch
from snapvit.pipeline.keys import imported_keys, stage_key
from snapvit.pipeline.progress import Reporter
from snapvit.store.store import default_root


def default_device() -> torch.device:
    """CUDA where there is one, else the CPU. Sums are kept in float64, which MPS does not have."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def download_notes(reporter: Reporter) -> Callable[[int, int], None]:
    """What `load_model` calls with each piece of a download: an event every tenth of it, heeding a request to stop."""
    told = 0

    def fetched(done: int, total: int) -> None:
        nonlocal told
        reporter.check()
        tenth = 10 * done // total if total else done // 50_000_000
        if tenth > told:
            told = tenth
            of = f" of {total / 1e6:.0f}" if total else ""
            reporter.event("download", f"downloading weights: {done / 1e6:.0f}{of} MB")

    return fetched


@dataclass
class Workspace:
    """Everything the stages of one request read. Built once; tables are decoded when first needed."""

    request: RunRequest
    loaded: LoadedModel
    source: ImageSource
    split: Split
    device: torch.device
    full_queries: Tensor | None = None  # (M, D) the full model's embeddings of the queries, once they are known

    @classmethod
    def open(cls, request: RunRequest, reporter: Reporter | None = None, cache: Path | None = None) -> Workspace:
        """Load the model and the images' split; uploaded images lie in `cache`, the store's folder.

        The reporter hears of downloads and of what loading had to adapt. Raises InputError naming what cannot be had,
        Cancelled where the reporter was asked to stop.
        """
        if request.data == NO_IMAGES:
            raise InputError(
                f"{request.run} holds published scores alone, so nothing can be measured on it; give the scores a "
                "model and images with `python -m snapvit run --scores FILE --model NAME`."
            )
        device = default_device()
        knn = request.config.evaluation
        if knn.gallery < knn.k:
            raise InputError(
                f"k-NN with k = {knn.k} needs at least as many gallery images; evaluation.gallery is {knn.gallery}."
            )
        reporter = reporter or Reporter()
        loaded = load_model(request.model, device, download_notes(reporter))
        for note in loaded.notes:
            reporter.event("note", note)
        source = open_source(request.data, cache or default_root(), reporter.check)
        split = split_source(source, request.config.split_seed)
        return cls(request, loaded, source, split, device)

    @property
    def views(self) -> ViewSpec:
        """The crops of the curvature stage."""
        config = self.request.config.curvature
        return ViewSpec(config.global_views, config.local_views)

    @property
    def curvature_ids(self) -> Ints:
        """Calibration images of the curvature stage."""
        return self.split.calibration[: self.request.config.curvature.images]

    @property
    def cka_ids(self) -> Ints:
        """Calibration images of the CKA map."""
        return self.split.calibration[: self.request.config.cka.images]

    @property
    def gallery_ids(self) -> Ints:
        """Labelled images that queries are compared with."""
        return self.split.gallery[: self.request.config.evaluation.gallery]

    @property
    def query_ids(self) -> Ints:
        """Images whose class k-NN has to name."""
        return self.split.query[: self.request.config.evaluation.queries]

    @property
    def accuracy_missing(self) -> str | None:
        """Why k-NN says nothing about these images; None where it does."""
        labels, gallery = self.source.labels, self.gallery_ids
        classes = 0 if labels is None else len(np.unique(labels[gallery]))
        return why_no_accuracy(classes, len(gallery), self.request.config.evaluation.k)

    @cached_property
    def search_table(self) -> PixelTable:
        """Images of the search: the first of the calibration images."""
        return self._table(self.split.calibration[: self.request.config.search.images])

    @cached_property
    def cka_table(self) -> PixelTable:
        """Images of the CKA map."""
        return self._table(self.cka_ids)

    @cached_property
    def gallery_table(self) -> PixelTable:
        """Gallery images."""
        return self._table(self.gallery_ids)

    @cached_property
    def query_table(self) -> PixelTable:
        """Query images."""
        return self._table(self.query_ids)

    def _table(self, ids: Ints) -> PixelTable:
        return pixel_table(self.source, ids, self.loaded.preprocess)

    def batches(self, table: PixelTable) -> Iterator[Tensor]:
        """Normalised batches (B, 3, h, w) on the device."""
        for pixels in table.batches(forward_batch(self.loaded.anatomy.topology)):
            yield self.normalised(pixels)

    def normalised(self, pixels: Tensor) -> Tensor:
        """(..., 3, h, w) uint8 to the model's own scale, on the device."""
        return normalise_pixels(pixels.to(self.device), self.loaded.preprocess)

    @property
    def effort(self) -> Effort:
        """Counts of what the run does with this model and these images."""
        search_images = min(self.request.config.search.images, len(self.split.calibration))
        return Effort(
            topology=self.loaded.anatomy.topology,
            config=self.request.config,
            curvature_images=len(self.curvature_ids),
            cka_images=len(self.cka_ids),
            search_images=search_images,
            knn_images=len(self.query_ids) + (len(self.gallery_ids) if self.accuracy_missing is None else 0),
        )

    @property
    def facts(self) -> RunFacts:
        """What pages need without loading the model."""
        return RunFacts(
            model=self.loaded.label,
            data=self.source.name,
            topology=self.loaded.anatomy.topology,
            costs=cost_model(self.loaded.model, self.loaded.anatomy),
            classes=self.source.class_names if self.source.labels is not None else (),
        )

    @cached_property
    def keys(self) -> dict[str, str]:
        """Key of every stage: everything its numbers depend on and nothing else."""
        config = self.request.config
        model = {"weights": self.loaded.digest, "preprocess": dataclasses.asdict(self.loaded.preprocess)}
        images = self.source.digest_of(np.arange(len(self.source)))

        def chosen(ids: Ints) -> list[str]:
            return [images, hashlib.sha256(np.ascontiguousarray(ids)).hexdigest()]

        keys: dict[str, str] = {}

        def add(stage: str, settings: Any, reads: Any, parents: tuple[str, ...] = ()) -> None:
            keys[stage] = stage_key(stage, settings, reads, [keys[p] for p in parents])

        if self.request.scores is not None:
            keys |= imported_keys(self.request)
        else:
            add("curvature", config.curvature, [model, chosen(self.curvature_ids)])
            add("cka", config.cka, [model, chosen(self.cka_ids)])
            search_images = chosen(self.split.calibration[: config.search.images])
            search_parents = ("curvature", "cka") if config.search.start == "cka" else ("curvature",)
            add("search", config.search, [model, search_images, dataclasses.asdict(config.floors)], search_parents)
            add("ranking", config.floors, [], ("curvature", "search"))
        # The number of points is left out: a finer path adds rows to the same table.
        knn = dataclasses.replace(config.evaluation, points=2)
        add("evaluation", knn, [model, chosen(self.gallery_ids), chosen(self.query_ids)], ("ranking",))
        return keys
