"""Numbers for people: known ones, and the browser's rule beside Python's."""

from __future__ import annotations

import json

import numpy as np
import pytest
from node import SCRIPTS, node

from snapvit import formats


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (formats.percent(0.8671), "86.7 %"),
        (formats.percent(0.8), "80.0 %"),
        (formats.percent(0.6225), "62.3 %"),  # a half, which Python's own rounding would take down
        (formats.percent(-0.011), "−1.1 %"),
        (formats.percent(0.333, 0), "33 %"),
        (formats.ratio(0.8), "80 %"),
        (formats.ratio(0.625), "62.5 %"),
        (formats.ratio(0.59375), "59.4 %"),
        (formats.ratio(0.0), "0 %"),
        (formats.ratio(1.0), "100 %"),
        (formats.signed(-0.011), "−1.1"),
        (formats.signed(0.003), "+0.3"),
        (formats.signed(0.0003), "0.0"),
        (formats.amount(576), "576"),
        (formats.amount(797_040), "797 k"),
        (formats.amount(999_600), "1.00 M"),
        (formats.amount(1_688_000), "1.69 M"),
        (formats.amount(13_580_000), "13.6 M"),
        (formats.amount(4_608_338_304), "4.61 G"),
        (formats.size(5_980_000), "5.98 MB"),
        (formats.size(1_310_000_000), "1.31 GB"),
        (formats.size(12), "12 B"),
        (formats.milliseconds(2.74), "2.7 ms"),
        (formats.milliseconds(0.312), "0.31 ms"),
        (formats.milliseconds(128.4), "128 ms"),
        (formats.decimal(0.9684, 3), "0.968"),
        (formats.decimal(-0.0004, 3), "0.000"),
        (formats.decimal(-0.044, 2), "−0.04"),
        (formats.decimal(float("nan"), 2), "–"),
        (formats.score(1.62e-8), "1.62 × 10⁻⁸"),
        (formats.score(-4.2e12), "−4.20 × 10¹²"),
        (formats.score(3.0582), "3.06"),
        (formats.score(0.00412), "0.00412"),
        (formats.score(9994.0), "9994"),
        (formats.score(0.0), "0"),
        (formats.p_value(0.58), "p = 0.58"),
        (formats.p_value(0.0461), "p = 0.046"),
        (formats.p_value(0.00001), "p < 0.0001"),
        (formats.duration(1), "1 second"),
        (formats.duration(89), "89 seconds"),
        (formats.duration(150), "3 minutes"),
        (formats.duration(7200), "2 hours"),
        (formats.tick(1e-9), "10⁻⁹"),
        (formats.tick(2e-9), "2 × 10⁻⁹"),
    ],
)
def test_numbers_are_written_like_this(written: str, expected: str) -> None:
    assert written == expected


def test_the_browser_writes_every_number_as_python_does() -> None:
    rng = np.random.default_rng(0)
    shares = [*rng.uniform(-1, 1, 300).tolist(), *(np.arange(-800, 801) / 800).tolist(), 0.6225, 0.5, 1e-6]
    counts = [*(int(10**power) for power in rng.uniform(0, 13, 300)), 0, 999, 999_499, 999_500, 999_600, 9_995_000]
    times = [*(float(10**power) for power in rng.uniform(-3, 4, 300)), 0.995, 99.95, 2.25, 0.125]
    asked = {"percent": shares, "ratio": shares, "amount": counts, "milliseconds": times}
    script = f"""import {{ readFileSync }} from "node:fs";
        import * as formats from {(SCRIPTS / "formats.js").as_uri()!r};
        const asked = JSON.parse(readFileSync(0, "utf8")), told = {{}};
        for (const [name, values] of Object.entries(asked)) told[name] = values.map((value) => formats[name](value));
        told.decimal = asked.percent.map((value) => [0, 1, 2, 3].map((digits) => formats.decimal(value, digits)));
        console.log(JSON.stringify(told));"""
    run = node("--input-type=module", "-e", script, given=json.dumps(asked))
    assert run.returncode == 0, run.stderr
    told = json.loads(run.stdout)
    for name, values in asked.items():
        assert told[name] == [getattr(formats, name)(value) for value in values]
    assert told["decimal"] == [[formats.decimal(value, digits) for digits in range(4)] for value in shares]
