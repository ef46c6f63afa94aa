"""Small pieces of text that several pages write the same way."""

from __future__ import annotations


def head_name(head: tuple[int, int]) -> str:
    """(block, head) counted from 0 to `block 3, head 4`, as people count."""
    return f"block {head[0] + 1}, head {head[1] + 1}"


def scientific(value: float, digits: int = 3) -> str:
    """As LaTeX within markdown: `$5.81 \\times 10^{-9}$`; plain between 0.001 and 10,000."""
    if value == 0 or 1e-3 <= abs(value) < 1e4:
        return f"{value:.{digits}g}"
    mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
    return f"${mantissa} \\times 10^{{{int(exponent)}}}$"


def small(value: float) -> str:
    """A number below 1 to four decimals, or in powers of ten where these would all be zeros."""
    return f"{value:.4f}" if value == 0 or abs(value) >= 5e-4 else f"{value:.1e}"
