"""A request made concrete: its model, images and tables in memory, and the nodes that its stages' keys begin with."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from snapvit.artifacts import CostModel, Ints, LayerStatistics, Ranking, RunFacts, Topology
from snapvit.data.image_source import ImageSource, equal_notes, go_on
from snapvit.data.joined import shared_notes
from snapvit.data.pixel_files import table_folder
from snapvit.data.pixels import PixelTable, pixel_table
from snapvit.data.sources import open_images
from snapvit.data.splits import Split, sound_split, split_source
from snapvit.data.views import ViewSpec
from snapvit.devices import CPU, check_computing, device_label
from snapvit.elastic.correction import Correction, ElasticCorrection, SequentialCorrection
from snapvit.elastic.cost import cost_model
from snapvit.elastic.vit import ElasticViT
from snapvit.environment import exact_products
from snapvit.errors import InputError
from snapvit.evaluation.knn import KnnLimits, limits_sentence, reachable_top1, why_no_accuracy
from snapvit.formats import size
from snapvit.models.embedding import normalise_pixels
from snapvit.models.loading import LoadedModel, load_model
from snapvit.pipeline.config import NO_IMAGES, RunConfig, RunRequest
from snapvit.pipeline.effort import Effort
from snapvit.pipeline.methods import METHODS
from snapvit.pipeline.nodes import request_nodes
from snapvit.pipeline.progress import Reporter
from snapvit.published.scores import PublishedScores
from snapvit.ranks.ranks import ALONE, Ranks
from snapvit.store.keys import node_key
from snapvit.store.store import default_root

EXAMPLES = 8  # images whose attention is shown, spread over the classes


def download_notes(reporter: Reporter) -> Callable[[int, int], None]:
    """What `load_model` calls with each piece of a download: an event every tenth of it, heeding a request to stop."""
    told = 0

    def fetched(done: int, total: int) -> None:
        nonlocal told
        reporter.check()
        tenth = 10 * done // total if total else done // 50_000_000
        if tenth > told:
            told = tenth
            of = f" of {size(total)}" if total else ""
            reporter.event("download", f"downloading weights: {size(done)}{of}")

    return fetched


@dataclass
class Workspace:
    """Everything the stages of one request read. Built once; tables are decoded when first needed."""

    request: RunRequest
    loaded: LoadedModel
    source: ImageSource
    split: Split
    device: torch.device
    ranks: Ranks = ALONE  # the processes that compute the stages together
    costs: CostModel = field(init=False)
    published: PublishedScores | None = None  # of a request whose ranking comes from a file
    halvings: int = 0  # of every batch (`memory.within_memory`)
    full_queries: Tensor | None = None  # (M, D) the full model's embeddings of the queries, once they are known
    tables: Path | None = None  # folder of the cache for images that do not fit into memory; None: decoded on each pass
    _correction: tuple[str, Correction] | None = None  # the last one made, and what it was made of
    _tables: dict[str, PixelTable] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.costs = cost_model(self.loaded.model, self.loaded.anatomy)  # of the model before anything is cut
        method = METHODS[self.request.config.ranking.method]
        if method.labelled and self.request.scores is None and self.own_head is None:
            classes = "no labels" if self.source.labels is None else f"{len(self.source.class_names)} classes"
            raise InputError(
                f"{method.label} ranks by what the model's own head gets wrong, so the head needs one output for each "
                f"class; that of {self.request.model.label} has {self.loaded.model.num_classes} and the images have "
                f"{classes}. Choose another method."
            )

    @classmethod
    def open(
        cls,
        request: RunRequest,
        reporter: Reporter | None = None,
        cache: Path | None = None,
        device: str = CPU,
        ranks: Ranks = ALONE,
    ) -> Workspace:
        """Load the model and the images' split onto `device`; uploaded images lie in `cache`, the store's folder.

        A device of another kind than the request's is for looking, exporting and the like: nothing computed there
        belongs to the run (`check_computing`). ranks: the processes that are to compute together, each of which opens
        the same, on a device of its own where there are several alike. The reporter hears of downloads and of what
        loading had to adapt. Raises InputError naming what cannot be had, Cancelled where the reporter was asked to
        stop.
        """
        if request.data == NO_IMAGES:
            raise InputError(
                f"{request.run} holds published scores alone, so nothing can be measured on it; give the scores a "
                "model and images with `python -m snapvit run --scores FILE --model NAME`."
            )
        exact_products()
        place = ranks.device(torch.device(device))
        knn = request.config.evaluation
        if knn.gallery < knn.k:
            raise InputError(
                f"k-NN with k = {knn.k} needs at least as many gallery images; evaluation.gallery is {knn.gallery}."
            )
        reporter = reporter or Reporter()
        loaded = ranks.opened(lambda: load_model(request.model, place, download_notes(reporter)))
        for note in loaded.notes:
            reporter.event("note", note)
        images = (request.data, request.gallery, request.queries)
        cache = cache or default_root()
        source = ranks.opened(lambda: open_images(*images, cache=cache, check=reporter.check))
        split = ranks.opened(lambda: _split_for(request.config, source, reporter.check))
        workspace = cls(request, loaded, source, split, place, ranks, tables=table_folder(cache))
        if ranks.size > 1:
            workspace.check_same()
        return workspace

    def check_same(self) -> None:
        """Raise InputError where the first of several processes has another model or other images than this one."""
        own = json.dumps(self.nodes, sort_keys=True).encode()
        if self.ranks.told(lambda: own) != own:
            raise InputError(
                f"the model or the images that {self.request.run} names are not those of the first process here; give "
                "every machine the same files."
            )

    def asking(self, request: RunRequest) -> Workspace:
        """The same model, gallery and queries for a request that differs in how it ranks."""
        split = _split_for(request.config, self.source)
        for name in ("gallery", "queries"):
            self.table(name)
        tables = {name: self._tables[name] for name in ("gallery", "queries")}
        return replace(self, request=request, split=split, _tables=tables, _correction=None)

    def check_computing(self) -> None:
        """Raise InputError where new numbers would not belong to the run: it is of another kind of device."""
        check_computing(str(self.device), self.request.device, self.request.run)

    @property
    def topology(self) -> Topology:
        """Counts of the model."""
        return self.loaded.anatomy.topology

    @cached_property
    def own_head(self) -> nn.Linear | None:
        """The model's classifier, where it has as many outputs as the images have classes, which are then taken to be
        in its order, as folders named after the classes of its training are; and where it reads the embedding."""
        classifier, classes = self.loaded.model.get_classifier(), len(self.source.class_names)
        fits = isinstance(classifier, nn.Linear) and classifier.out_features == classes > 1
        own_pool = self.request.model.pool == "model"
        return classifier if fits and own_pool and self.accuracy_missing is None else None

    @property
    def views(self) -> ViewSpec:
        """The crops of the curvature stage."""
        config = self.request.config.curvature
        return ViewSpec(config.global_views, config.local_views)

    @cached_property
    def ids(self) -> dict[str, Ints]:
        """Image ids by what they are for: curvature, cka, search, correction, interactions, gallery, queries,
        examples."""
        return _ids(self.request.config, self.split, self.source)

    def ids_of(self, name: str) -> Ints:
        """Image ids of one of these purposes, or of the `first-N` calibration images."""
        first = name.removeprefix("first-")
        if first == name:
            return self.ids[name]
        count = int(first)
        return sound_split(self.source, self.split, lambda split: split.calibration[:count]).calibration[:count]

    def image_id(self, image: str) -> Ints:
        """(1,) the id that a person wrote. Raises InputError where the source has no such image."""
        if not image.isdecimal() or int(image) >= len(self.source):
            raise InputError(
                f"There is no image {image}; the ids of {self.source.name} go from 0 to {len(self.source) - 1:,}."
            )
        return np.array([int(image)])

    @property
    def accuracy_missing(self) -> str | None:
        """Why k-NN says nothing about these images, as the beginning of a sentence; None where it does."""
        gallery, k, limits = self.ids["gallery"], self.request.config.evaluation.k, self.limits
        if limits is None:
            return why_no_accuracy(0, len(gallery), k)
        return why_no_accuracy(limits.classes, limits.gallery, k, limits.top1)

    @cached_property
    def limits(self) -> KnnLimits | None:
        """What k-NN can say at most about these images; None without labels."""
        labels, k = self.source.labels, self.request.config.evaluation.k
        return None if labels is None else reachable_top1(labels[self.ids["gallery"]], labels[self.ids["queries"]], k)

    @cached_property
    def notes(self) -> tuple[str, ...]:
        """Sentences on the images that a reader of their accuracy should know."""
        limits = None
        if self.accuracy_missing is None:
            limits = limits_sentence(self.limits, self.source.class_names)
        found = self.source.notes
        if not self.source.whole:  # then nobody compared contents yet
            used = np.unique(np.concatenate(list(self.ids.values())))
            found += (*equal_notes(self.source, used), *shared_notes(self.source, used))
        return (*found, *([limits] if limits else []))

    def table(self, name: str) -> PixelTable:
        """The images that are for this, decoded when they are first asked for."""
        if name not in self._tables:
            ids = self.ids_of(name)
            self._tables[name] = pixel_table(self.source, ids, self.loaded.preprocess, folder=self.tables)
        return self._tables[name]

    def batches(self, table: PixelTable) -> Iterator[Tensor]:
        """Normalised batches (B, 3, h, w) on the device."""
        for pixels in table.batches(self.effort.forward_batch):
            yield self.normalised(pixels)

    def labels(self, ids: Ints) -> Tensor:
        """(N,) classes of labelled images, on the device."""
        return torch.from_numpy(self.source.labels[ids]).long().to(self.device)

    def own_batches(self, name: str) -> Iterator[Tensor]:
        """Those batches of the images for this purpose that are this process's own: all, of one alone."""
        if self.ranks.size == 1:
            return self.batches(self.table(name))
        key = f"{name}, own"
        if key not in self._tables:
            ids = self.ranks.rows(self.ids_of(name), self.effort.forward_batch)
            self._tables[key] = pixel_table(self.source, ids, self.loaded.preprocess, folder=self.tables)
        return self.batches(self._tables[key]) if len(self._tables[key]) else iter(())

    def normalised(self, pixels: Tensor) -> Tensor:
        """(..., 3, h, w) uint8 to the model's own scale, on the device."""
        return normalise_pixels(pixels.to(self.device), self.loaded.preprocess)

    def elastic(self, ranking: Ranking, correction: Correction | None = None) -> ElasticViT:
        """The model, to be cut by this ranking; use it as a context."""
        orders = ranking.neuron_order(), ranking.head_order()
        return ElasticViT(self.loaded.model, self.loaded.anatomy, *orders, correction)

    def correction(
        self, ranking: Ranking, statistics: Callable[[], LayerStatistics], check: Callable[[], None]
    ) -> Correction:
        """What corrects the cuts of this ranking. The last one is kept, as its factors are much work to make.

        `statistics` is called where the form needs them; `check` between batches, where that reads images.
        """
        config, orders = self.request.config.correction, (ranking.neuron_order(), ranking.head_order())
        if config.form == "sequential":
            return SequentialCorrection(self.loaded.model, lambda: self._checked(check), config.damping, config.share)
        made_of = hashlib.sha256(b"".join(order.tobytes() for order in orders)).hexdigest()
        if self._correction is None or self._correction[0] != made_of:
            self._correction = None  # before the next one is in memory
            made = ElasticCorrection(statistics(), *orders, config.damping, config.share)
            self._correction = made_of, made
        return self._correction[1]

    def _checked(self, check: Callable[[], None]) -> Iterator[Tensor]:
        for batch in self.batches(self.table("correction")):
            check()
            yield batch

    @property
    def effort(self) -> Effort:
        """Counts of what the run does with this model and these images."""
        counts = {name: len(ids) for name, ids in self.ids.items()}
        return Effort(
            topology=self.topology,
            config=self.request.config,
            curvature_images=counts["curvature"],
            cka_images=counts["cka"],
            search_images=counts["search"],
            correction_images=counts["correction"],
            queries=counts["queries"],
            gallery=counts["gallery"],
            knn_images=counts["queries"] + (counts["gallery"] if self.accuracy_missing is None else 0),
            examples=counts["examples"],
            interaction_images=counts["interactions"],
            calibration_images=len(self.split.calibration),
            halvings=self.halvings,
        )

    def halve_batches(self) -> bool:
        """Have all batches from now on be half as large; False where they are single images already."""
        if self.effort.smallest:
            return False
        self.halvings += 1
        return True

    @property
    def facts(self) -> RunFacts:
        """What pages need without loading the model."""
        return RunFacts(
            model=self.loaded.label,
            data=self.source.name,
            topology=self.topology,
            costs=self.costs,
            classes=self.source.class_names if self.source.labels is not None else (),
            accuracy_missing=self.accuracy_missing,
            notes=self.notes,
            device=device_label(str(self.device)),
        )

    @cached_property
    def nodes(self) -> dict[str, str]:
        """Keys of what stages begin with: the model, and the images of each purpose.

        A model is its architecture with every argument that changes the function, its weights, its preprocessing, and
        the kind of device that it computes on where that is not the CPU; images are the content and labels of the
        chosen files.
        """
        model = {
            "architecture": self.loaded.architecture,
            "weights": self.loaded.digest,
            "preprocess": dataclasses.asdict(self.loaded.preprocess),
        } | ({} if self.request.device == CPU else {"device": self.request.device})
        images = {f"images.{name}": self.source.digest_of(ids) for name, ids in self.ids.items()}
        return {"model": node_key(model)} | images | request_nodes(self.request)

    def node(self, name: str) -> str | None:
        """The node of this name: one of `nodes`, of a single image by its id, or of the `first-N` calibration images;
        None for what is no longer there."""
        if name in self.nodes:
            return self.nodes[name]
        image = name.removeprefix("images.")
        if image.startswith("first-"):
            return self.source.digest_of(self.ids_of(image))
        known = name.startswith("images.") and image.isdecimal() and int(image) < len(self.source)
        usable = known and self.source.usable(self.image_id(image)).all()
        return self.source.digest_of(self.image_id(image)) if usable else None

    def nodes_like(self, names: Iterable[str]) -> dict[str, str]:
        """`nodes`, and of `names` those that are there, such as single images that somebody looked at."""
        return self.nodes | {name: node for name in names if (node := self.node(name)) is not None}


def _split_for(config: RunConfig, source: ImageSource, check: Callable[[], None] = go_on) -> Split:
    """How the images are divided, with none among those that the run uses that cannot be read."""
    split = split_source(source, config.split_seed).with_calibration(config.calibration_seed)

    def used(split: Split) -> Ints:
        return np.concatenate(list(_ids(config, split, source).values()))

    return split if source.whole else sound_split(source, split, used, check)


def _ids(config: RunConfig, split: Split, source: ImageSource) -> dict[str, Ints]:
    """Image ids by what they are for."""
    return {
        "curvature": split.calibration[: config.curvature.images],
        "cka": split.calibration[: config.cka.images],
        "search": split.calibration[: config.search.images],
        "correction": split.calibration[: config.correction.images],
        "interactions": split.calibration[: config.interactions.images],
        "gallery": split.gallery[: config.evaluation.gallery],
        "queries": split.query[: config.evaluation.queries],
        "examples": _examples(split.query, source.labels),
    }


def _examples(ids: Ints, labels: Ints | None) -> Ints:
    """The first queries of each class in turn, so that a few images show as many classes as they can."""
    if labels is None:
        return ids[:EXAMPLES]
    classes = labels[ids]
    order = np.argsort(classes, kind="stable")
    _, starts, counts = np.unique(classes[order], return_index=True, return_counts=True)
    turn = np.empty(len(ids), np.int64)  # how many of its class come before
    turn[order] = np.arange(len(ids)) - np.repeat(starts, counts)
    return ids[np.lexsort((classes, turn))[:EXAMPLES]]
