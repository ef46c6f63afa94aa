"""The self-supervised loss: every view of an image should look like its global views (design section 2)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def view_agreement(embeddings: Tensor, global_views: int) -> Tensor:
    """Loss L_n of each image, (n,): sum over global views k and all views m != k of -<t_k, s_m>.

    embeddings: (V, n, D) of all views, global ones first. The teacher is the same frozen model, so its embeddings
    are the student's own with the gradient cut.
    """
    unit = F.normalize(embeddings, dim=-1)
    teacher = unit[:global_views].detach().softmax(dim=-1)  # (K, n, D)
    student = unit.log_softmax(dim=-1)  # (V, n, D)
    pull = student.sum(dim=0) - student[:global_views]  # (K, n, D): all views but k itself
    return -(teacher * pull).sum(dim=-1).sum(dim=0)
