"""Read a `torch.save` file of plain values and tensors without unpickling it, and without torch.

Such a file is a zip archive: a pickle that describes the values, and each tensor's numbers beside it. A pickle is a
list of instructions. Here the few that build dicts, lists, text, numbers and tensors are carried out by hand, and
every other one ends the reading, so nothing that a file names can ever be looked up or called.
"""

from __future__ import annotations

import pickletools
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from typing import IO, Any, NoReturn

import numpy as np

from snapvit.errors import InputError

MOST_BYTES = 64 * 2**20  # of a whole file; the scores of a 7 B ViT take 1.3 MB
MOST_PICKLE_BYTES = 256 * 2**10
MOST_TENSORS = 16  # a score file has two
DTYPES = {"FloatStorage": "<f4", "DoubleStorage": "<f8", "HalfStorage": "<f2"}
CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
NUMBERS_AND_TEXT = {
    "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8",
}  # fmt: skip


class _Mark:
    """Where a group of stack entries begins."""


@dataclass(frozen=True)
class _Name:
    """A function or class that the file asks for; never looked up, only compared with the known ones."""

    module: str
    name: str


@dataclass(frozen=True)
class _Storage:
    """A tensor's numbers: which entry of the archive, how many, of which type."""

    entry: str
    count: int
    dtype: str


def read_saved_dict(file: IO[bytes], name: str, enum_module: str) -> dict[str, Any]:
    """The dict in a `torch.save` file: numbers, text, None, lists, tuples, dicts and numpy arrays for tensors.

    Classes of `enum_module` are taken for string enums and become their text. Raises InputError, calling the file
    `name`, where it is damaged, too large, or asks for anything else.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            return _Reader(archive, enum_module).read()
    except _Refused as error:
        raise InputError(f"{name} is refused, and nothing in it was run: {error}.") from error
    except zipfile.BadZipFile as error:
        raise InputError(f"{name} is damaged, or no file that torch.save wrote.") from error
    except (ValueError, TypeError, KeyError, IndexError, OverflowError, EOFError, RuntimeError) as error:
        # RuntimeError: an encrypted entry. The error's own text may hold text of the file, so it is not shown.
        raise InputError(f"{name} is damaged ({type(error).__name__}).") from error


class _Refused(Exception):
    """The file holds something that a score file does not need."""


def _refuse(reason: str) -> NoReturn:
    raise _Refused(reason)


class _Reader:
    """Carries out the instructions of one archive's pickle."""

    def __init__(self, archive: zipfile.ZipFile, enum_module: str) -> None:
        self._archive, self._enum_module = archive, enum_module
        self._sizes = {info.filename: info.file_size for info in archive.infolist()}
        self._tensors = 0
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}
        self._steps: dict[str, Callable[[Any], None]] = {
            "PROTO": _nothing,
            "FRAME": _nothing,
            "MARK": lambda _: self._stack.append(_Mark),
            "EMPTY_DICT": lambda _: self._stack.append({}),
            "EMPTY_LIST": lambda _: self._stack.append([]),
            "EMPTY_TUPLE": lambda _: self._stack.append(()),
            "TUPLE": lambda _: self._stack.append(tuple(self._marked())),
            "TUPLE1": lambda _: self._tuple(1),
            "TUPLE2": lambda _: self._tuple(2),
            "TUPLE3": lambda _: self._tuple(3),
            "APPEND": lambda _: self._append([self._stack.pop()]),
            "APPENDS": lambda _: self._append(self._marked()),
            "SETITEM": lambda _: self._set_items([self._stack.pop(-2), self._stack.pop()]),
            "SETITEMS": lambda _: self._set_items(self._marked()),
            "BINPUT": self._remember,
            "LONG_BINPUT": self._remember,
            "MEMOIZE": lambda _: self._remember(len(self._memo)),
            "BINGET": lambda at: self._stack.append(self._memo[at]),
            "LONG_BINGET": lambda at: self._stack.append(self._memo[at]),
            "GLOBAL": lambda text: self._name(*text.split(" ", 1)),
            "STACK_GLOBAL": lambda _: self._name(self._stack.pop(-2), self._stack.pop()),
            "BINPERSID": lambda _: self._stack.append(self._storage(self._stack.pop())),
            "REDUCE": lambda _: self._call(self._stack.pop(-2), self._stack.pop()),
        }

    def read(self) -> dict[str, Any]:
        """The dict at the top of the file."""
        if sum(self._sizes.values()) > MOST_BYTES:
            _refuse(f"it holds more than {MOST_BYTES // 2**20} MB")
        if any(info.compress_type != zipfile.ZIP_STORED for info in self._archive.infolist()):
            _refuse("its parts are compressed, which torch.save never does")
        pickles = [entry for entry in self._sizes if entry.endswith("/data.pkl")]
        if len(pickles) != 1:
            _refuse("it is an archive, but not one that torch.save wrote")
        self._root = pickles[0].removesuffix("data.pkl")
        if self._sizes[pickles[0]] > MOST_PICKLE_BYTES:
            _refuse(f"its description is larger than {MOST_PICKLE_BYTES // 2**10} kB")
        order = f"{self._root}byteorder"
        if order in self._sizes and self._archive.read(order) != b"little":
            _refuse("its numbers are not in little-endian order")
        for instruction, argument, _ in pickletools.genops(self._archive.read(pickles[0])):
            if instruction.name == "STOP":
                break
            self._carry_out(instruction.name, argument)
        top = self._stack.pop()
        if self._stack or not isinstance(top, dict):
            _refuse("what it holds is no dict")
        return top

    def _carry_out(self, name: str, argument: Any) -> None:
        if name in NUMBERS_AND_TEXT:
            self._stack.append(argument)
        elif name in CONSTANTS:
            self._stack.append(CONSTANTS[name])
        elif name in self._steps:
            self._steps[name](argument)
        else:
            _refuse(f"it uses the pickle instruction {name}, which scores do not need")

    def _remember(self, place: int) -> None:
        self._memo[place] = self._stack[-1]

    def _marked(self) -> list[Any]:
        """Pop everything above the last mark, and the mark."""
        start = len(self._stack) - 1
        while self._stack[start] is not _Mark:
            start -= 1
            if start < 0:
                raise ValueError("a group without a beginning")
        group = self._stack[start + 1 :]
        del self._stack[start:]
        return group

    def _tuple(self, count: int) -> None:
        group = self._stack[-count:]
        if len(group) != count:
            raise ValueError("a tuple without its parts")
        del self._stack[-count:]
        self._stack.append(tuple(group))

    def _append(self, items: list[Any]) -> None:
        target = self._stack[-1]
        if type(target) is not list:
            _refuse("it adds items to something that is no list")
        target.extend(items)

    def _set_items(self, items: list[Any]) -> None:
        target = self._stack[-1]
        if type(target) is not dict or len(items) % 2:
            _refuse("it sets items of something that is no dict")
        for key, value in zip(items[::2], items[1::2], strict=True):
            if type(key) is not str:
                _refuse("a dict in it has keys that are no text")
            target[key] = value

    def _name(self, module: Any, name: Any) -> None:
        if type(module) is not str or type(name) is not str:
            _refuse("it names a function by something that is no text")
        known = (
            (module == self._enum_module and name.isidentifier())
            or (module == "torch" and name in DTYPES)
            or (module, name) in (("torch._utils", "_rebuild_tensor_v2"), ("collections", "OrderedDict"))
        )
        if not known:
            wanted = f"{module}.{name}"
            is_plain = wanted.replace(".", "").replace("_", "").isalnum() and wanted.isascii() and len(wanted) < 100
            _refuse(f"it asks for {wanted}" if is_plain else "it asks for something that has no plain name")
        self._stack.append(_Name(module, name))

    def _storage(self, place: Any) -> _Storage:
        """From the persistent id ("storage", type, key, device, count)."""
        if type(place) is not tuple or len(place) != 5 or place[0] != "storage":
            _refuse("it points to something outside that is no tensor")
        _, kind, key, _, count = place
        if not isinstance(kind, _Name) or kind.module != "torch" or type(key) is not str or type(count) is not int:
            _refuse("a tensor in it is described in a form that is not torch's")
        return _Storage(f"{self._root}data/{key}", count, DTYPES[kind.name])

    def _call(self, function: Any, arguments: Any) -> None:
        if not isinstance(function, _Name) or type(arguments) is not tuple:
            _refuse("it calls something that is no function")
        if function.module == self._enum_module:
            if len(arguments) != 1 or type(arguments[0]) is not str:
                _refuse(f"it makes a {function.name} from something that is no text")
            self._stack.append(arguments[0])
        elif function.name == "OrderedDict":
            if arguments:
                _refuse("it fills an OrderedDict, where torch leaves an empty one")
            self._stack.append({})
        elif function.name == "_rebuild_tensor_v2":
            self._stack.append(self._tensor(*arguments[:4]))
        else:
            _refuse(f"it calls {function.name}")

    def _tensor(self, storage: Any, offset: Any, shape: Any, strides: Any) -> np.ndarray:
        """A copy of the numbers that a tensor of this shape and strides shows of its storage."""
        self._tensors += 1
        if self._tensors > MOST_TENSORS:
            _refuse(f"it holds more than {MOST_TENSORS} tensors")
        if not isinstance(storage, _Storage):
            _refuse("a tensor in it has no numbers")
        if type(shape) is not tuple or type(strides) is not tuple or len(shape) != len(strides) or len(shape) > 4:
            _refuse("a tensor in it has a strange shape")
        if any(type(number) is not int or number < 0 for number in (offset, *shape, *strides)):
            _refuse("a tensor in it has a strange shape")
        dtype = np.dtype(storage.dtype)
        raw = self._archive.read(storage.entry)
        last = offset + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))
        elements = 1
        for size in shape:
            elements *= size
        if not 0 < elements * dtype.itemsize <= MOST_BYTES or last >= storage.count:
            _refuse("a tensor in it is empty, or larger than its numbers")
        if storage.count * dtype.itemsize > len(raw):
            raise ValueError(f"{storage.entry} holds fewer numbers than it should")
        numbers = np.frombuffer(raw, dtype)[offset:]
        steps = tuple(stride * dtype.itemsize for stride in strides)
        return np.lib.stride_tricks.as_strided(numbers, shape, steps, writeable=False).copy()


def _nothing(_: Any) -> None:
    """For instructions that frame the others."""
