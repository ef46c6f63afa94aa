"""One cut of a run as a torch module, with what it costs."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from snapvit.artifacts import Cut
from snapvit.evaluation.knn import wilson_interval
from snapvit.formats import amount, percent, ratio
from snapvit.notebook.showing import html_table
from snapvit.tables import Measurement


class CutModel(nn.Module):
    """A model without some of its neurons and heads: the parameters are gone, not masked.

    `model` is timm's own module, in evaluation mode, on the CPU and trainable; calling the cut calls it with images
    (B, 3, h, w), normalised as the run's `images` are. What the run measures of the cut is measured when it is first
    asked for, and kept in the run; training the module changes none of these numbers.
    """

    def __init__(
        self,
        model: nn.Module,
        cut: Cut,
        correct: bool,
        whole: tuple[int, int],
        macs: int,
        measure: Callable[[], Measurement],
    ) -> None:
        """whole: parameters and MACs of the uncut model. measure: measures the cut, or reads what was measured."""
        super().__init__()
        self.model = model
        self.cut = cut
        self.correct = correct
        self.macs = macs
        """Multiply-accumulates of one image's forward pass."""
        self._whole, self._measure = whole, measure

    def forward(self, images: Tensor) -> Tensor:
        """What the model's head says of images (B, 3, h, w): (B, classes), or the embedding where it has no head."""
        return self.model(images)

    def embed(self, images: Tensor) -> Tensor:
        """(B, D) embeddings of images (B, 3, h, w): what goes into the head."""
        return self.model.forward_head(self.model.forward_features(images), pre_logits=True)

    @property
    def params(self) -> int:
        """Parameters that are left, counted."""
        return sum(parameter.numel() for parameter in self.model.parameters())

    @property
    def measurement(self) -> Measurement:
        """All that is measured of the cut on the run's gallery and queries."""
        return self._measure()

    @property
    def top1(self) -> float | None:
        """Share of the queries that k-NN names right, in [0, 1]; None where the images allow no accuracy."""
        return self.measurement.top1

    @property
    def interval(self) -> tuple[float, float] | None:
        """95 % Wilson interval of `top1`."""
        m = self.measurement
        return None if m.hits is None else wilson_interval(m.hits, m.queries)

    @property
    def cosine(self) -> float:
        """Mean cosine between the queries' embeddings by the cut and by the full model, in [-1, 1]."""
        return self.measurement.cosine

    def _lines(self) -> list[tuple[str, str]]:
        share = [percent(left / of, 0) for left, of in zip((self.params, self.macs), self._whole, strict=True)]
        return [
            ("removed", f"{ratio(self.cut.mlp)} of neurons, {ratio(self.cut.heads)} of heads"),
            ("weights", "corrected" if self.correct else "as cut"),
            ("parameters", f"{amount(self.params)} ({share[0]} of the model's)"),
            ("MACs an image", f"{amount(self.macs)} ({share[1]})"),
            ("neurons by block", " ".join(map(str, self.cut.kept_neurons))),
            ("heads by block", " ".join(map(str, self.cut.kept_heads))),
        ]

    def __repr__(self) -> str:
        return "CutModel\n" + "\n".join(f"  {name:17} {value}" for name, value in self._lines())

    def _repr_html_(self) -> str:
        return html_table(self._lines())
