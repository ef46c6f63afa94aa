"""Numbers for people in the browser: the rule of snapvit/formats.py, once more in JavaScript."""

from __future__ import annotations

from pathlib import Path

SCRIPT = Path(__file__).with_name("formats.js")


def formats() -> str:
    """Script for a component that writes numbers; it is to be put in front of the component's own."""
    return SCRIPT.read_text(encoding="utf-8")
