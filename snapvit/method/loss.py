"""The self-supervised loss: every view of an image should look like its global views (design section 2)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def teacher_targets(embeddings: Tensor) -> Tensor:
    """What the global views ask of the others, t (K, n, D), from their embeddings (K, n, D), without gradients.

    The teacher is the same frozen model, so a view's embedding serves as student and teacher both.
    """
    return F.normalize(embeddings.detach(), dim=-1).softmax(dim=-1)


def view_agreement(embeddings: Tensor, targets: Tensor, first: int = 0) -> Tensor:
    """What some views add to the loss of each image, (n,): the sum over global views k and views m != k of -<t_k, s_m>.

    embeddings: (v, n, D) of the views `first`, `first` + 1, ... of V in all, global ones first; targets: (K, n, D) of
    teacher_targets. Views meet in the targets alone, so the loss L_n is the sum over any division of the V views.
    """
    student = F.normalize(embeddings, dim=-1).log_softmax(dim=-1)  # (v, n, D)
    own = targets[first : first + len(student)]  # of those of the views that are global
    asked = targets.sum(dim=0) * student.sum(dim=0) - (own * student[: len(own)]).sum(dim=0)
    return -asked.sum(dim=-1)
