"""Keys of stages: two runs share a stage's file exactly where its key is the same."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from typing import Any

from snapvit.pipeline.config import SCHEMAS, RunRequest


def stage_key(stage: str, settings: Any, reads: Any, parents: list[str]) -> str:
    """Key of a stage: its settings (a dataclass, or None), what it reads, and the keys of the stages before it."""
    body = {
        "stage": stage,
        "schema": SCHEMAS[stage],
        "settings": {} if settings is None else dataclasses.asdict(settings),
        "reads": reads,
        "parents": parents,
    }
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()[:20]


def imported_keys(request: RunRequest) -> dict[str, str]:
    """Keys of the stages that need neither model nor images: published scores and the ranking they give."""
    scores = stage_key("scores", None, request.scores, [])
    return {"scores": scores, "ranking": stage_key("ranking", request.config.floors, [], [scores])}
