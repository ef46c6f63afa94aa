"""Settings of torch's own libraries. They are read when torch is first imported, so they come before it."""

import os


def prepare() -> None:
    """Set them, unless the person did."""
    # Waiting OpenMP threads spin by default: beside another busy process on a two-core laptop that costs more than
    # half the speed, against a tenth when alone.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # Every cut has shapes of its own, and oneDNN keeps compiled kernels for a thousand of them.
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "64")
