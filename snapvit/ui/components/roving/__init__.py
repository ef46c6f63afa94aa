"""Toolbars in the browser: many buttons that are one stop of the Tab key."""

from __future__ import annotations

from pathlib import Path

SCRIPT = Path(__file__).with_name("roving.js")


def roving() -> str:
    """Script for a component with a toolbar; it is to be put in front of the component's own."""
    return SCRIPT.read_text(encoding="utf-8")
