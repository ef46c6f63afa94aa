"""Files in the cache that save looking at images again. One that is absent or damaged costs time and nothing else."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from pathlib import Path
from typing import Any
from uuid import uuid4

DIGEST = hashlib.sha256().digest_size


def recall(path: Path | None, schema: int) -> Any:
    """What `remember` wrote there under this schema; None where there is nothing, or not just that."""
    if path is None:
        return None
    try:
        raw = path.read_bytes()
        digest, text = raw[:DIGEST], raw[DIGEST:]
        if hashlib.sha256(text).digest() != digest:
            return None
        content = json.loads(text)
        return content["content"] if content["schema"] == schema else None
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def remember(path: Path | None, schema: int, content: Any) -> None:
    """Write plain JSON, whole or not at all; nothing happens where the cache cannot be written."""
    if path is None:
        return
    text = json.dumps({"schema": schema, "content": content}, separators=(",", ":")).encode()
    part = path.with_name(f".{path.name}.{uuid4().hex}.part")
    with contextlib.suppress(OSError):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            part.write_bytes(hashlib.sha256(text).digest() + text)
            os.replace(part, path)
        finally:
            part.unlink(missing_ok=True)
