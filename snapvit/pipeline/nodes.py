"""What the keys of stages begin with: nodes of the table that are no stages, such as a model or a set of images."""

from __future__ import annotations

from snapvit.pipeline.config import RunRequest
from snapvit.store.keys import node_key


def request_nodes(request: RunRequest) -> dict[str, str]:
    """The nodes that follow from the request alone: a file of published scores."""
    return {} if request.scores is None else {"scores.file": node_key(request.scores)}
