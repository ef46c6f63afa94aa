"""Small pieces of text that several pages write the same way."""

from __future__ import annotations


def head_name(head: tuple[int, int]) -> str:
    """(block, head) counted from 0 to `block 3, head 4`, as people count."""
    return f"block {head[0] + 1}, head {head[1] + 1}"
