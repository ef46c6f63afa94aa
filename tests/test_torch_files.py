"""What torch.save wrote is read whole, and nothing that a file asks for is ever run."""

from __future__ import annotations

import io
import os
import pickle
import random
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from snapvit.errors import InputError
from snapvit.published.scores import BOUNDS, ENUMS, read_scores
from snapvit.torch_files import Bounds, read_torch_file


def read(raw: bytes, bounds: Bounds | None = BOUNDS) -> dict:
    return read_torch_file(raw, "a file", ENUMS, bounds)


def saved(content: object, protocol: int = 2, archive: bool = True) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer, pickle_protocol=protocol, _use_new_zipfile_serialization=archive)
    return buffer.getvalue()


def archive(pickled: bytes, parts: dict[str, bytes] | None = None, compress: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compress) as file:
        file.writestr("archive/data.pkl", pickled)
        for name, part in ({"version": b"3\n"} | (parts or {})).items():
            file.writestr(f"archive/{name}", part)
    return buffer.getvalue()


def larger(raw: bytes) -> bytes:
    """The same archive whose directory promises 2 GB of its last part."""
    at = raw.rfind(b"PK\x01\x02")
    return raw[: at + 20] + (2**31).to_bytes(4, "little") * 2 + raw[at + 28 :]


BASE = torch.arange(24, dtype=torch.float32).reshape(4, 6)


@pytest.mark.parametrize("bounds", [BOUNDS, None], ids=["bounds", "free"])
@pytest.mark.parametrize(
    "tensor",
    [
        BASE,
        BASE.t(),
        BASE[1:3, 2:5],
        BASE[0].expand(3, 6),
        BASE.double() / 7,
        BASE.half(),
        torch.tensor(2.5),
    ],
    ids=["whole", "transposed", "a window", "expanded", "double", "half", "scalar"],
)
def test_tensors_are_those_that_torch_saved(tensor: torch.Tensor, bounds: Bounds | None, tmp_path: Path) -> None:
    raw = saved({"a": tensor, "again": tensor, "text": "ünï"})
    (tmp_path / "a.pt").write_bytes(raw)
    for found in (read(raw, bounds), read_torch_file(tmp_path / "a.pt", "a file", ENUMS, bounds)):
        for name in ("a", "again"):
            assert found[name].dtype == tensor.dtype
            assert torch.equal(found[name], tensor)
        assert found["text"] == "ünï"


def test_plain_values_are_those_that_torch_saved() -> None:
    content = {
        "numbers": [0, -1, 255, 256, 65536, -(2**31), 2**40, -(2**70), 0.1, float("inf")],
        "others": (None, True, False, "", (), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4)),
        "nested": {"a": {"b": [{"c": "x" * 300}]}, "empty": [], "one": [7]},
        "ordered": OrderedDict(),
    }
    assert read(saved(content)) == content


def test_enums_become_their_text_and_no_others_do() -> None:
    raw = archive(entry(ENUM + text("dino_vits16") + b"\x85R"))
    assert read(raw) == {"a": "dino_vits16"}
    assert type(read(raw)["a"]) is str
    for module in (None, "src.models", "src.models.enums.ModelType"):  # nothing is let in for longer than one reading
        with pytest.raises(InputError, match=r"it asks for src\.models\.enums\.ModelType"):
            read_torch_file(raw, "a file", module)


class Payload:
    """Unpickling it calls `function`."""

    def __init__(self, function: Callable, *arguments: object) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple:
        return self.call


def payloads(path: Path) -> dict[str, Payload]:
    return {
        "os.system": Payload(os.system, f"touch {path}"),
        "exec": Payload(exec, f"open({str(path)!r}, 'w')"),
        "eval": Payload(eval, f"open({str(path)!r}, 'w')"),
        "open": Payload(open, str(path), "w"),
        "a method": Payload(Path(path).touch),
        "getattr": Payload(getattr, path, "parent"),
    }


@pytest.mark.filterwarnings("ignore:Detected pickle protocol:UserWarning")
@pytest.mark.parametrize("kind", ["torch.save", "protocol 4", "before 2020"])
@pytest.mark.parametrize("name", ["os.system", "exec", "eval", "open", "a method", "getattr"])
@pytest.mark.parametrize("where", ["value", "beside", "deep"])
def test_a_payload_is_refused_and_never_runs(name: str, where: str, kind: str, tmp_path: Path) -> None:
    mark = tmp_path / "was_here"
    payload = payloads(mark)[name]
    content = {"value": payload, "beside": {"a": 1, "b": payload}, "deep": {"a": [({"b": payload},)]}}[where]
    raw = saved(content, 4 if kind == "protocol 4" else 2, kind != "before 2020")
    for bounds in (BOUNDS, None):
        with pytest.raises(InputError) as error:
            read(raw, bounds)
        damaged = bounds is not None and kind == "before 2020"  # no bounded file is of that form
        told = "is damaged" if damaged else "is refused, and nothing in it was run: it "
        told += "asks for" if kind == "torch.save" else "" if damaged else "holds more than"
        assert f"a file {told}" in str(error.value)
        assert str(error.value).count("\n") == 0
    assert not mark.exists()
    if name != "getattr":  # the payload is real: whoever unpickles the file runs it
        torch.load(io.BytesIO(raw), weights_only=False)
        assert mark.exists()


ENUM = f"c{ENUMS}\nModelType\n".encode()
REBUILD = b"ctorch._utils\n_rebuild_tensor_v2\n"
START, END = b"\x80\x02", b"."


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def entry(value: bytes) -> bytes:
    """A pickle of {"a": value}."""
    return START + b"}" + text("a") + value + b"s" + END


FLOATS = b"(" + text("storage") + b"ctorch\nFloatStorage\n" + text("0") + text("cpu") + b"K\x04tQ"


@pytest.mark.parametrize(
    "pickled",
    {
        "an enum of nothing": entry(ENUM + b")R"),
        "an enum of a dict": entry(ENUM + b"}\x85R"),
        "an enum of two texts": entry(ENUM + text("a") + text("b") + b"\x86R"),
        "an enum called with a list": entry(ENUM + b"]R"),
        "an enum's state": entry(ENUM + text("a") + b"\x85R}b"),
        "a new object of an enum": entry(ENUM + text("a") + b"\x85\x81"),
        "a method of the enum's module": entry(f"c{ENUMS}\nModelType.__class__\n".encode() + b")R"),
        "a module below the enums": entry(f"c{ENUMS}.os\nsystem\n".encode() + text("true") + b"\x85R"),
        "text that is called": entry(text("os.system") + text("true") + b"\x85R"),
        "an enum inside a name": START + text("os") + ENUM + text("x") + b"\x85R" + b"\x93" + END,
        "a name that is no text": START + b"K\x01K\x02\x93" + END,
        "an ordered dict with content": entry(b"ccollections\nOrderedDict\n]\x85R"),
        "a storage class that is called": entry(b"ctorch\nFloatStorage\nK\x01\x85R"),
        "a quantised tensor": entry(b"ctorch._utils\n_rebuild_qtensor\n)R"),
        "bytes of any size": entry(b"cbuiltins\nbytearray\n\x8a\x05\x00\x00\x00\x00\x01\x85R"),
        "an extension": entry(b"\x82\x01"),
        "an instance": START + b"(ios\nsystem\n" + END,
        "an object": START + b"(cos\nsystem\no" + END,
        "a persistent id in text": START + b"Pfile\n" + END,
        "a strange persistent id": entry(text("file:///etc/passwd") + b"Q"),
        "a dict with keys that are no text": START + b"}K\x01K\x02s" + END,
        "a dict with a nested tuple as key": START + b"})" + b"\x85" * 100_000 + b"K\x02s" + END,
        "a name with markup": entry(b"c<b>\n[x](http://y)\n)R"),
        "items of a list": START + b"]K\x01K\x02s" + END,
        "an item added to a tensor": entry(REBUILD + b"K\x01a"),
        "a list": START + b"]" + END,
        "a long text for a number": entry(b"I" + b"9" * 1000 + b"\n"),
    }.items(),
    ids=lambda item: item[0],
)
def test_strange_instructions_give_no_scores(pickled: tuple[str, bytes]) -> None:
    """torch's reader takes a few of them for harmless; then what they made is no score file."""
    with pytest.raises(InputError, match=r"^a file is (refused|damaged|no score file)") as error:
        read_scores(archive(pickled[1], {"data/0": b"\0" * 16}), "a file")
    assert "<" not in str(error.value)


@pytest.mark.parametrize("argument", [b"}", b"]", b"K\x01", b")"], ids=["dict", "list", "number", "tuple"])
def test_enums_print_nothing(argument: bytes) -> None:
    """str() of lists within lists that repeat would fill the memory."""
    with pytest.raises(InputError, match="a file is refused, and nothing in it was run"):
        read(archive(entry(ENUM + argument + b"\x85R")))


def tensor(offset: bytes, shape: bytes, strides: bytes) -> bytes:
    return entry(REBUILD + b"(" + FLOATS + offset + shape + strides + b"\x89ccollections\nOrderedDict\n)RtR")


def test_the_hand_made_tensor_is_sound() -> None:
    raw = archive(tensor(b"K\x00", b"K\x02K\x02\x86", b"K\x02K\x01\x86"), {"data/0": struct.pack("<4f", 1, 2, 3, 4)})
    assert read(raw)["a"].tolist() == [[1, 2], [3, 4]]


@pytest.mark.parametrize(
    ("offset", "shape", "strides"),
    [
        (b"K\x00", b"K\x02K\x03\x86", b"K\x03K\x01\x86"),  # beyond the end
        (b"K\x01", b"K\x02K\x02\x86", b"K\x02K\x01\x86"),
        (b"J\xff\xff\xff\xff", b"K\x02K\x02\x86", b"K\x02K\x01\x86"),  # before the beginning
        (b"K\x00", b"K\x02K\x02\x86", b"K\x02J\xff\xff\xff\xff\x86"),
        (b"K\x00", b"J\xff\xff\xff\x7fJ\xff\xff\xff\x7f\x86", b"K\x00K\x00\x86"),  # one number, shown 2^62 times
        (b"K\x00", b"K\x02\x85", b"K\x02K\x01\x86"),
        (b"K\x00", b"]", b"]"),
        (b"G\x00\x00\x00\x00\x00\x00\x00\x00", b"K\x02K\x02\x86", b"K\x02K\x01\x86"),
        (b"\x88", b"K\x02K\x02\x86", b"K\x02K\x01\x86"),
        (b"K\x00", b"K\x00K\x02\x86", b"K\x02K\x01\x86"),
    ],
)
def test_a_tensor_never_reaches_outside_its_numbers(offset: bytes, shape: bytes, strides: bytes) -> None:
    try:
        found = read(archive(tensor(offset, shape, strides), {"data/0": b"\0" * 16}))["a"]
    except InputError as error:
        assert str(error).startswith(("a file is damaged", "a file is refused"))
        return
    last = found.storage_offset() + sum((n - 1) * s for n, s in zip(found.shape, found.stride(), strict=True))
    assert 0 <= last < 4 or found.numel() == 0


def test_numbers_that_are_not_there_are_missed() -> None:
    pickled = tensor(b"K\x00", b"K\x02K\x02\x86", b"K\x02K\x01\x86")
    for parts in ({}, {"data/0": b"\0" * 12}):
        with pytest.raises(InputError, match="a file is damaged"):
            read(archive(pickled, parts))


def test_what_would_fill_memory_or_crash_is_refused_before_it_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_load(*_: object, **__: object) -> None:
        raise AssertionError("it was loaded")

    monkeypatch.setattr(torch, "load", no_load)
    with pytest.raises(InputError, match="description is larger than 256 kB"):
        read(archive(START + b"]" * 2**20 + END))
    for bounds in (BOUNDS, None):
        with pytest.raises(InputError, match="compressed"):
            read(archive(START + b"}" + END, {"data/0": b"\0" * 2**20}, zipfile.ZIP_DEFLATED), bounds)
    with pytest.raises(InputError, match="it holds more than 1 MB"):
        read(archive(START + b"}" + END, {"data/0": b"\0" * 2**20}), Bounds(2**20, 10_000))
    key = START + b"})" + b"\x85" * 200_000 + b"K\x02s" + END  # hashing it overflows the stack of the process
    doubled = b")q\x00" + b"".join(b"h" + bytes([i]) + b"h" + bytes([i]) + b"\x86q" + bytes([i + 1]) for i in range(40))
    for endless in (key, START + b"}" + doubled + b"K\x01s" + END):  # 2**40 tuples in 200 bytes
        for bounds in (BOUNDS, None):
            with pytest.raises(InputError, match="tuples hold each other without end"):
                read(archive(endless), bounds)
    with pytest.raises(InputError, match="more than 2,000,000 instructions"):
        read(archive(START + b"N0" * 1_500_000 + b"}" + END), None)
    for bounds in (BOUNDS, None):
        with pytest.raises(InputError, match="larger than the file"):
            read(larger(archive(START + b"}" + END, {"data/0": b"\0" * 40})), bounds)
    room = entry(b"cbuiltins\nbytearray\n\x8a\x05\x00\x00\x00\x00\x01\x85R")  # of 4 GB, which torch finds harmless
    with pytest.raises(InputError, match=r"it asks for builtins\.bytearray"):
        read(archive(room))


def test_deep_lists_are_no_trouble() -> None:
    with pytest.raises(InputError, match="no dict"):
        read_scores(archive(START + b"]" * 100_000 + b"a" * 99_999 + END), "a file")


@pytest.mark.parametrize(
    "raw",
    [b"", b"no archive", b"PK\x03\x04" + b"\0" * 40, pickle.dumps({"a": 1}), archive(b""), archive(START)],
    ids=["empty", "text", "half a zip", "a bare pickle", "no pickle", "a pickle without an end"],
)
def test_what_is_no_file_of_torch_is_named_so(raw: bytes) -> None:
    with pytest.raises(InputError, match=r"^a file is (damaged|refused)"):
        read(raw)


def test_other_archives_are_named_so() -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("word/document.xml", "<x/>")
    with pytest.raises(InputError, match=r"not one that torch\.save wrote"):
        read(buffer.getvalue())
    with pytest.raises(InputError, match="a file is damaged"):
        read(archive(START + b"}" + END, {"byteorder": b"odd"}))


def test_numbers_of_the_other_byte_order_are_turned_round() -> None:
    pickled = tensor(b"K\x00", b"K\x04\x85", b"K\x01\x85")
    raw = archive(pickled, {"data/0": struct.pack(">4f", 1, 2, 3, 4), "byteorder": b"big"})
    assert read(raw)["a"].tolist() == [1, 2, 3, 4]


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^a file cannot be read \(Is a directory\)"):
        read_torch_file(tmp_path, "a file")


@pytest.mark.filterwarnings("ignore:invalid escape:DeprecationWarning")  # Python's reader of old text instructions
@pytest.mark.filterwarnings("ignore:Detected pickle protocol:UserWarning")
def test_damaged_descriptions_end_in_a_sentence_whatever_the_damage() -> None:
    """Random damage to a sound file: it is either read or refused, and no other error comes out."""
    with zipfile.ZipFile(io.BytesIO(saved({"a": BASE, "b": {"c": [1, 2.5, None]}, "text": "x"}))) as file:
        parts = {name.split("/", 1)[1]: file.read(name) for name in file.namelist()}
    sound = parts.pop("data.pkl")
    draw, refused = random.Random(0), 0
    for _ in range(3000):
        damaged = bytearray(sound)
        for _ in range(draw.randint(1, 3)):
            damaged[draw.randrange(len(damaged))] = draw.randrange(256)
        try:
            read(archive(bytes(damaged[: draw.choice([None, draw.randrange(len(damaged))])]), parts))
        except InputError:
            refused += 1
    assert 1000 < refused < 3000
