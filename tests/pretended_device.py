"""A device that is not there: its tensors compute on the CPU, say that they lie elsewhere, and refuse to be mixed.

torch's own fake tensors hold no numbers, so what reads one number ends. These hold them: a whole run goes through. The
device is called `lazy`, a name that torch knows and nobody uses, since it lets no tensor say `cuda` without a driver.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

KIND = "lazy"
DEVICE = f"{KIND}:0"
# What may see two devices: copies between them, and indices, which torch lets lie on the CPU.
ACROSS = {"_to_copy", "copy_", "index", "index_put_", "_index_put_impl_"}


class Elsewhere(Tensor):
    """A tensor of the device; `inner` holds its numbers."""

    @staticmethod
    def __new__(cls, inner: Tensor) -> Elsewhere:
        return Tensor._make_wrapper_subclass(
            cls,
            inner.shape,
            strides=inner.stride(),
            storage_offset=inner.storage_offset(),
            dtype=inner.dtype,
            device=DEVICE,
        )

    def __init__(self, inner: Tensor) -> None:
        self.inner = inner

    @property
    def data(self) -> Tensor:
        """As torch's, of which a wrapper would keep its old numbers."""
        with torch.no_grad():
            return self.detach()

    @data.setter
    def data(self, other: Elsewhere) -> None:
        Tensor.data.__set__(self, other)
        self.inner = other.inner

    def __repr__(self, **_: object) -> str:
        return f"Elsewhere({tuple(self.shape)})"

    @classmethod
    def __torch_dispatch__(cls, operation: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        return _performed(operation, args, kwargs or {})


@contextmanager
def _without_inference_mode() -> Iterator[None]:
    """Inference mode, which takes no wrapped tensors, only stops gradients within."""
    kind, before = torch.inference_mode, (torch.inference_mode.__enter__, torch.inference_mode.__exit__)

    def enter(self: torch.inference_mode) -> None:
        self.without = torch.no_grad() if self.mode else nullcontext()
        self.without.__enter__()

    def leave(self: torch.inference_mode, *error: object) -> None:
        self.without.__exit__(*error)

    kind.__enter__, kind.__exit__ = enter, leave
    try:
        yield
    finally:
        kind.__enter__, kind.__exit__ = before


class PretendedDevice(TorchDispatchMode):
    """Within, tensors can be made on the device, or brought there. `operations` counts what was computed there."""

    def __init__(self, doubles: bool = True) -> None:
        """doubles: whether it has float64."""
        super().__init__()
        self.doubles, self.operations = doubles, 0
        self._without = _without_inference_mode()

    def __enter__(self) -> PretendedDevice:
        self._without.__enter__()
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        self._without.__exit__(*error)

    def __torch_dispatch__(self, operation: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        found = _performed(operation, args, kwargs or {})
        there = [one for one in tree_leaves(found) if isinstance(one, Elsewhere)]
        self.operations += bool(there)
        if not self.doubles and any(one.dtype == torch.float64 for one in there):
            raise AssertionError(f"{operation} makes float64 on a device without it")
        return found


def _performed(operation: Any, args: tuple, kwargs: dict) -> Any:
    name = operation.overloadpacket.__name__
    tensors = [one for one in tree_leaves((args, kwargs)) if isinstance(one, Tensor)]
    there = [one for one in tensors if isinstance(one, Elsewhere)]
    if there and name not in ACROSS and any(one.ndim for one in tensors if not isinstance(one, Elsewhere)):
        raise AssertionError(f"{operation} mixes tensors of two devices")
    place = kwargs.get("device")
    goes = bool(there) if place is None else torch.device(place).type == KIND
    inside = tree_map(lambda one: one.inner if isinstance(one, Elsewhere) else one, (args, kwargs))
    found = operation(*inside[0], **inside[1] | ({} if place is None else {"device": "cpu"}))
    own = {id(one.inner): one for one in there}

    def wrapped(one: Any) -> Any:
        if not isinstance(one, Tensor) or not (goes or id(one) in own):
            return one
        return own.get(id(one)) if id(one) in own else Elsewhere(one)

    if name == "copy_":
        return args[0]
    return tree_map(wrapped, found)
