"""What a pickle would build, counted without building it: Python takes for ever to hash tuples that hold each other."""

from __future__ import annotations

import pickletools
from typing import BinaryIO

MOST_ITEMS = 100_000  # of one tuple, those of tuples in it counted as often as they are reached
MOST_INSTRUCTIONS = 2_000_000  # of one pickle; checkpoints of the largest models take 100,000
MOST_LEVELS = 50  # of tuples in tuples; what torch.save writes has three

_Size = tuple[int, int]  # items, levels
_PLAIN: _Size = (1, 0)
_TUPLES = ("EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "FROZENSET")
_CALLS = ("REDUCE", "NEWOBJ", "NEWOBJ_EX", "OBJ", "INST", "BUILD")  # may give back what they were given


class UnboundedPickle(ValueError):
    """A pickle whose values cannot be handled in any sensible time."""


def check_pickles(file: BinaryIO, count: int = 1) -> None:
    """Go through the `count` pickles that begin where the file stands.

    Raises UnboundedPickle for tuples beyond the bounds above, ValueError, IndexError or KeyError for a damaged pickle.
    """
    for _ in range(count):
        _check(file)


def _check(file: BinaryIO) -> None:
    stack: list[_Size | None] = []  # None is a mark
    memo: dict[int, _Size] = {}
    for number, (opcode, argument, _) in enumerate(pickletools.genops(file)):
        if number > MOST_INSTRUCTIONS:
            raise UnboundedPickle(f"description has more than {MOST_INSTRUCTIONS:,} instructions")
        name = opcode.name
        if name in ("BINPUT", "LONG_BINPUT", "PUT", "MEMOIZE"):
            memo[len(memo) if name == "MEMOIZE" else int(argument)] = stack[-1] or _PLAIN
        elif name in ("BINGET", "LONG_BINGET", "GET"):
            stack.append(memo[int(argument)])
        elif name == "MARK":
            stack.append(None)
        elif name == "DUP":
            stack.append(stack[-1])
        else:
            taken = _take(stack, opcode)
            for _ in opcode.stack_after:
                stack.append(_built(name, taken))


def _take(stack: list[_Size | None], opcode: pickletools.OpcodeInfo) -> list[_Size]:
    before = list(opcode.stack_before)
    taken: list[_Size] = []
    if pickletools.markobject in before:
        while (item := stack.pop()) is not None:
            taken.append(item)
        before = before[: before.index(pickletools.markobject)]
    for _ in before:
        taken.append(stack.pop() or _PLAIN)
    return taken


def _built(name: str, taken: list[_Size]) -> _Size:
    if name in _TUPLES:
        size = (1 + sum(items for items, _ in taken), 1 + max((levels for _, levels in taken), default=0))
    elif name in _CALLS and taken:
        size = (max(items for items, _ in taken), max(levels for _, levels in taken))
    else:
        return _PLAIN
    if size[0] > MOST_ITEMS or size[1] > MOST_LEVELS:
        raise UnboundedPickle("tuples hold each other without end")
    return size
