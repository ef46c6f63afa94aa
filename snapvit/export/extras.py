"""Packages that only ONNX needs, which are an extra. No torch here, so that pages can ask."""

from __future__ import annotations

from importlib.util import find_spec

PACKAGES = ("onnx", "onnxscript", "onnxruntime")


def onnx_lacks() -> str | None:
    """What is not installed and how to install it, as a sentence; None where nothing is missing."""
    missing = [name for name in PACKAGES if find_spec(name) is None]
    if not missing:
        return None
    return (
        f"ONNX needs {', '.join(missing)}, which {'is' if len(missing) == 1 else 'are'} not installed; "
        f"`pip install {' '.join(PACKAGES)}` (requirements-export.txt)."
    )
