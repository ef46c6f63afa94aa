"""Keys: two runs share an entry's file exactly where its key is the same."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import TypeAlias

JSON: TypeAlias = "bool | int | float | str | Sequence[JSON] | Mapping[str, JSON] | None"
DIGITS = 20  # hexadecimal: 80 bits


def stage_key(
    name: str, schema: int, settings: Mapping[str, JSON], args: Sequence[JSON], parents: Sequence[str]
) -> str:
    """Key of a stage, 20 hexadecimal digits, from all that its artifact depends on.

    settings: those it reads, by name. args: what one request for it names (a cut, an image). parents: the keys of the
    nodes it is computed from, in their order. Raises ValueError for a number that is not finite.
    """
    return node_key(
        {"name": name, "schema": schema, "settings": settings, "args": list(args), "parents": list(parents)}
    )


def node_key(content: JSON) -> str:
    """Key of anything that is plain JSON, 20 hexadecimal digits; the order of a mapping's names means nothing."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:DIGITS]
