"""How numbers are written for people: one rule for pages, figures, the command line and the browser (formats.js)."""

from __future__ import annotations

import math
from decimal import ROUND_HALF_UP, Decimal

UNITS = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))
UNKNOWN = "–"
SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def decimal(value: float, digits: int) -> str:
    """With so many digits after the point: `0.968`, `−0.04`; a zero has no sign. Halves are rounded away from zero."""
    if not math.isfinite(value):
        return UNKNOWN
    written = str(Decimal(float(value)).quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP))
    return written.replace("-", "" if _is_zero(written) else "−")


def percent(share: float, digits: int = 1) -> str:
    """A share that was measured or counted: `86.7 %`, `80.0 %`."""
    return f"{decimal(100 * share, digits)} %"


def ratio(share: float) -> str:
    """A share that somebody chose, such as a sparsity: `80 %`, `62.5 %`."""
    return f"{decimal(100 * share, 1).removesuffix('.0')} %"


def signed(share: float) -> str:
    """A difference of two shares in points, with its sign: `+0.3`, `−1.1`, `0.0`."""
    written = decimal(100 * share, 1)
    return written if share < 0 or _is_zero(written) else f"+{written}"


def amount(count: float) -> str:
    """A count to three digits: `797 k`, `1.69 M`, `13.6 M`, `4.61 G`."""
    for size, letter in UNITS:
        if count >= 0.9995 * size:
            return f"{_three_digits(count / size)} {letter}"
    return f"{count:g}"


def size(count: float) -> str:
    """Of bytes: `5.98 MB`, `1.31 GB`."""
    written = amount(count)
    return f"{written}{'B' if written[-1].isalpha() else ' B'}"


def milliseconds(ms: float) -> str:
    """A measured time: `2.7 ms`, `0.31 ms`, `128 ms`."""
    return f"{decimal(ms, 2 if ms < 0.995 else 1 if ms < 99.95 else 0)} ms"


def score(value: float) -> str:
    """A number of any size to three digits: `3.06`, `0.00412`, `1.62 × 10⁻⁸`."""
    if not math.isfinite(value) or value == 0:
        return UNKNOWN if value else "0"
    mantissa, exponent = f"{value:.2e}".split("e")
    if -3 <= int(exponent) < 4:
        return decimal(value, max(0, 2 - int(exponent)))
    return f"{mantissa.replace('-', '−')} × {_power(exponent)}"


def tick(value: float) -> str:
    """A number on a logarithmic scale, to one digit: `10⁻⁹`, `2 × 10⁻⁹`."""
    mantissa, exponent = f"{value:.0e}".split("e")
    return _power(exponent) if mantissa == "1" else f"{mantissa} × {_power(exponent)}"


def _power(exponent: str) -> str:
    return f"10{str(int(exponent)).translate(SUPERSCRIPTS)}"


def _is_zero(written: str) -> bool:
    return not any(digit in written for digit in "123456789")


def p_value(p: float) -> str:
    """Of a test: `p = 0.58`, `p = 0.046`, `p < 0.0001`."""
    if p < 0.0001:
        return "p < 0.0001"
    return f"p = {decimal(p, 4 if p < 0.01 else 3 if p < 0.1 else 2)}"


def duration(seconds: float) -> str:
    """About how long something takes: `40 seconds`, `3 minutes`, `5 hours`."""
    unit, length = ("second", 1) if seconds < 90 else ("minute", 60) if seconds < 7200 else ("hour", 3600)
    count = decimal(seconds / length, 0)
    return f"{count} {unit}{'' if count == '1' else 's'}"


def _three_digits(value: float) -> str:
    return decimal(value, 2 if value < 9.995 else 1 if value < 99.95 else 0)
