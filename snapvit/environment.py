"""What a process sets up for itself: torch's libraries, the garbage collector; and whether it only shows."""

import gc
import os

READ_ONLY = "SNAPVIT_READ_ONLY"


def prepare() -> None:
    """Settings that torch's libraries read when they are first imported, unless the person made them."""
    # Waiting OpenMP threads spin by default: beside another busy process on a two-core laptop that costs more than
    # half the speed, against a tenth when alone.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # Every cut has shapes of its own, and oneDNN keeps compiled kernels for a thousand of them.
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "64")


def exact_products() -> None:
    """Have torch multiply float32 numbers as such on every device: TF32, which cuDNN's convolutions take unless told,
    keeps 10 bits of each. Half precision is asked for by name (`--precision`), never by a default of a library."""
    import torch

    torch.set_float32_matmul_precision("highest")
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False


def settle() -> None:
    """Take everything that is loaded by now out of the garbage collector's sight, for good.

    Streamlit has all garbage collected after each run of a page, a timer's included. With torch loaded that looks at
    half a million objects while every other thread waits, twice a second where progress is shown. Not for times when
    pages have figures and sessions in memory: what of them is in a circle would never be let go.
    """
    gc.collect()
    gc.freeze()


def only_shows() -> bool:
    """Whether this process's dashboard is to show what is there, and to start, change and read nothing else."""
    return os.environ.get(READ_ONLY, "") not in ("", "0")
