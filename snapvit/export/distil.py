"""Training a cut model towards the whole one's embeddings, which takes images and no labels."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from snapvit.errors import InputError
from snapvit.models.embedding import embed

MODEL, MEAN, SQUARE = "model.", "exp_avg", "exp_avg_sq"  # names in a state


class Distillation:
    """So many steps of Adam, whose learning rate falls linearly from `rate` to 0.

    Loss: the squared distance of student's and teacher's embeddings as a share of the teacher's squared length, so
    that the head that reads them goes on to fit. Both models stay in evaluation mode: nothing random is left.
    """

    def __init__(self, student: nn.Module, teacher: nn.Module, rate: float, steps: int) -> None:
        self.student, self.teacher = student.eval(), teacher.eval()
        self._rate, self._steps = rate, steps
        self._trained = [parameter for parameter in student.parameters() if parameter.requires_grad]
        self._optimiser = torch.optim.Adam(self._trained, lr=rate)
        self.done = 0  # steps
        self.whole = True  # whether the student is what `done` steps left, and not in the middle of one

    def step(self, images: Tensor) -> float:
        """One step on normalised images (B, 3, h, w); the loss before it. Raises InputError where it is no number."""
        with torch.no_grad():
            wanted = embed(self.teacher, images)
        loss = (embed(self.student, images) - wanted).square().sum() / wanted.square().sum()
        if not loss.isfinite():
            raise InputError(f"The loss is not finite after {self.done} steps; choose a lower learning rate.")
        self._optimiser.zero_grad()
        loss.backward()
        self._optimiser.param_groups[0]["lr"] = self._rate * (1 - self.done / self._steps)
        self.whole = False
        self._optimiser.step()
        self.done += 1
        self.whole = True
        return loss.item()

    @torch.no_grad()
    def cosine(self, batches: Iterable[Tensor]) -> float:
        """Mean cosine of student's and teacher's embeddings."""
        found = [F.cosine_similarity(embed(self.student, b), embed(self.teacher, b)) for b in batches]
        return float(torch.cat(found).mean())

    def state(self) -> dict[str, Tensor]:
        """All that a later process needs to go on, beside `done`."""
        found = {MODEL + name: tensor for name, tensor in self.student.state_dict().items()}
        for number, parameter in enumerate(self._trained):
            kept = self._optimiser.state.get(parameter, {})
            found |= {f"{name}.{number}": kept[name] for name in (MEAN, SQUARE) if name in kept}
        return {name: tensor.detach().cpu().contiguous() for name, tensor in found.items()}

    def restore(self, state: Mapping[str, Tensor], done: int) -> None:
        """Go on from what `state` said after `done` steps."""
        self.student.load_state_dict({n.removeprefix(MODEL): t for n, t in state.items() if n.startswith(MODEL)})
        for number, parameter in enumerate(self._trained):
            if f"{MEAN}.{number}" in state:
                kept = {name: state[f"{name}.{number}"].to(parameter.device) for name in (MEAN, SQUARE)}
                self._optimiser.state[parameter] = {"step": torch.tensor(float(done)), **kept}
        self.done = done
