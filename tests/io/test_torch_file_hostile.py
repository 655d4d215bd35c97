"""Hostile and damaged files: nothing in them is run, and memory and time are bounded."""

import pickle
import random
import re
import struct
import subprocess
import sys
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch

from higherhrnet.errors import InputError
from higherhrnet.io.torch_file.reader import read_torch_file
from tests.io.test_torch_file import FORMATS, assert_equal
from tests.io.torch_pickles import (
    MAGIC_NUMBER,
    PROTOCOL_2,
    dict_of,
    name,
    number,
    tensor,
    text,
    tuple_of,
    write_stream,
    write_zip,
)

EMPTY = name("collections", "OrderedDict")


def write(path: Path, contents: bytes, zipped: bool) -> Path:
    """Writes a file with two storages, `0` and `1`, of five float32."""
    storage = np.arange(5, dtype=np.float32)
    if zipped:
        return write_zip(path, contents, {"0": storage.tobytes(), "1": storage.tobytes()})
    return write_stream(path, contents, {"0": storage})


def refusal(path: Path) -> str:
    """Reads a file and returns the error, which is one line that starts with the path."""
    with pytest.raises(InputError) as error:
        read_torch_file(path)
    message = str(error.value)
    assert message.startswith(f"{path}: ") and "\n" not in error.value.args[0]
    return message.removeprefix(f"{path}: ")


COMMAND = text("touch HARM")
CODE = {
    "reduce": (name("os", "system") + COMMAND + b"\x85R", "would run os.system, which"),
    "posix": (name("posix", "system") + COMMAND + b"\x85R", "would run posix.system, which"),
    "exec": (name("__builtin__", "exec") + text("1/0") + b"\x85R", "would run builtins.exec"),
    "import": (name("builtins", "__import__") + text("os") + b"\x85R", "run builtins.__import__"),
    "stack global": (b"\x8c\x02os\x8c\x06system\x93" + COMMAND + b"\x85R", "would run os.system"),
    "attribute": (b"\x8c\x05torch\x8c\x11storage.os.system\x93" + COMMAND + b"\x85R", "os.system"),
    "getattr": (
        name("builtins", "getattr") + name("os", "path") + text("os") + b"\x86R",
        "would run os.path",
    ),
    "inst": (b"(" + COMMAND + b"ios\nsystem\n", "would run os.system"),
    "obj": (b"(" + name("os", "system") + COMMAND + b"o", "would run os.system"),
    "newobj": (name("subprocess", "Popen") + COMMAND + b"\x85\x81", "would run subprocess.Popen"),
    "newobj_ex": (EMPTY + b")}\x92", "the instruction NEWOBJ_EX, which weights do not need"),
    "ext1": (b"\x82\x01)R", "the instruction EXT1"),
    "ext2": (b"\x83\x01\x00)R", "the instruction EXT2"),
    "ext4": (b"\x84\x01\x00\x00\x00)R", "the instruction EXT4"),
    "persistent id": (b"Pos.system\n", "the instruction PERSID"),
    "text as persistent id": (text("os.system") + b"Q", "its pickle is invalid"),
    "module as persistent id": (
        tuple_of(text("module"), name("torch.nn", "Linear"), text("a"), text("b")) + b"Q",
        "would run torch.nn.Linear",
    ),
    "call of a number": (b"K\x01)R", "its pickle is invalid"),
    "call of a text": (text("os.system") + b")R", "its pickle is invalid"),
    "call of a data type": (name("torch", "float32") + b")R", "its pickle is invalid"),
    "build of a list": (b"]}" + text("__class__") + b"K\x01sb", "its pickle is invalid"),
    "build of a function": (EMPTY + b"}b", "its pickle is invalid"),
    "parameter without a tensor": (
        name("torch._utils", "_rebuild_parameter") + tuple_of(text("a"), b"\x88", EMPTY) + b"R",
        "a parameter is not a tensor",
    ),
    "size of a text": (name("torch", "Size") + text("a") + b"\x85R", "its pickle is invalid"),
    "items of a number": (EMPTY + b"K\x01\x85R", "its pickle is invalid"),
    "counts of a text": (
        name("collections", "Counter") + text("a") + b"\x85R",
        "its pickle is invalid",
    ),
    "set of a text": (name("__builtin__", "set") + text("a") + b"\x85R", "its pickle is invalid"),
    "tensor with a deferred negation": (
        name("torch._utils", "_rebuild_tensor_v2")
        + tuple_of(b"N", b"K\x00", b")", b")", b"\x89", EMPTY, dict_of(text("neg"), b"\x88"))
        + b"R",
        "a deferred negation or conjugation",
    ),
    "tensor with an invalid gradient": (
        name("torch._utils", "_rebuild_tensor_v2")
        + tuple_of(b"N", b"K\x00", b")", b")", text("yes"), EMPTY)
        + b"R",
        "a tensor is invalid",
    ),
    "tensor of an unknown type": (
        name("torch._utils", "_rebuild_tensor_v3")
        + tuple_of(b"N", b"K\x00", b")", b")", b"\x89", EMPTY, text("float7"))
        + b"R",
        "a tensor is invalid",
    ),
    "newline in a name": (name("os", "system") + b"", "would run os.system"),
    "long name": (b"c" + b"a" * 2000 + b"\nb\n", "its pickle is invalid"),
    "control characters": (name("a\x1b[31m", "b\r") + b"", r"would run a?[31m.b?, which"),
    "codec": (name("_codecs", "encode") + text("a") + text("rot13") + b"\x86R", "is invalid"),
    "builder of tensors": (
        name("torch._tensor", "_rebuild_from_type_v2")
        + tuple_of(EMPTY, name("torch", "Tensor"), b")", b"}")
        + b"R",
        "a tensor is invalid",
    ),
}


@FORMATS
@pytest.mark.parametrize("case", CODE)
def test_code_is_refused_and_not_run(
    tmp_path: Path, zipped: bool, case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, message = CODE[case]
    for contents in (code, dict_of(text("state_dict"), code)):
        assert message in refusal(write(tmp_path / "a.pth", contents, zipped))
    # In the older format, each pickle of the file can have code.
    parts = [pickle.dumps(part, 2) for part in (MAGIC_NUMBER, 1001, None)]
    for i in range(3):
        data = b"".join(parts[:i]) + PROTOCOL_2 + code + b"."
        (tmp_path / "a.pth").write_bytes(data)
        assert refusal(tmp_path / "a.pth")
    assert "HARM" not in {file.name for file in tmp_path.iterdir()}


def test_attributes_of_dictionaries_and_ignored_objects_are_dropped(tmp_path: Path) -> None:
    state = dict_of(text("__class__"), text("x"), text("__setstate__"), b"K\x01")
    dtype = name("numpy", "dtype") + b")R" + state + b"b" + text("k") + b"K\x01s"
    path = write(tmp_path / "a.pth", tuple_of(EMPTY + b")R" + state + b"b", dtype), True)
    read = read_torch_file(path)
    assert type(read[0]) is dict and read[0] == {} and not hasattr(read[1], "k")
    assert vars(read[1]) == {}


def test_the_instruction_inst_creates_permitted_objects(tmp_path: Path) -> None:
    contents = b"(" + tuple_of(tuple_of(text("a"), b"K\x01")) + b"icollections\nOrderedDict\n"
    assert read_torch_file(write(tmp_path / "a.pth", contents, True)) == {"a": 1}


@FORMATS
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(shape=[6], strides=[1]), "a tensor exceeds its storage"),
        (dict(shape=[5], strides=[1], offset=1), "a tensor exceeds its storage"),
        (dict(shape=[1], strides=[0], offset=5), "a tensor exceeds its storage"),
        (dict(shape=[2, 3], strides=[2, 2]), "a tensor exceeds its storage"),
        (dict(shape=[5], strides=[-1], offset=4), "a tensor is invalid"),
        (dict(shape=[-1], strides=[1]), "a tensor is invalid"),
        (dict(shape=[2], strides=[1], offset=-1), "a tensor is invalid"),
        (dict(shape=[2], strides=[1, 1]), "a tensor is invalid"),
        (dict(shape=[1] * 65, strides=[1] * 65), "a tensor is invalid"),
        (dict(shape=[2**40], strides=[2**40]), "a tensor exceeds its storage"),
        (dict(shape=[2**62], strides=[4]), "a tensor is invalid"),
        (dict(shape=[3], strides=[2**63]), "a tensor is invalid"),
        (dict(shape=[0, 2**61], strides=[1, 1]), "a tensor exceeds its storage"),
        (dict(shape=[2**31, 2**31], strides=[0, 0]), "a tensor exceeds its storage"),
        (dict(shape=[10**6, 10**6], strides=[0, 0]), "they repeat values"),
        (dict(storage_size=6, shape=[1], strides=[1]), "size of a storage|are missing"),
        (dict(storage_size=2**61, shape=[1], strides=[1]), "size of a storage|are missing"),
        (dict(storage_size=2**70, shape=[1], strides=[1]), "its pickle is invalid"),
        (dict(storage_size=-1, shape=[0], strides=[1]), "its pickle is invalid"),
        (dict(key="9", shape=[1], strides=[1]), "no entry 'data/9'|a storage is missing|list of"),
        (dict(key="../../etc/passwd", shape=[1], strides=[1]), "no entry|list of storages"),
        (dict(dtype="DoubleStorage", shape=[1], strides=[1]), "size of a storage|are missing"),
    ],
)
def test_tensors_stay_within_their_storages(
    tmp_path: Path, zipped: bool, arguments: dict[str, object], message: str
) -> None:
    contents = tensor(**{"storage_size": 5} | arguments, old=not zipped)  # type: ignore[arg-type]
    path = write(tmp_path / "a.pth", contents, zipped)
    assert any(part in refusal(path) for part in message.split("|"))


def test_a_storage_with_two_data_types_is_refused(tmp_path: Path) -> None:
    both = tensor(5, [5], [1]) + tensor(5, [5], [1], dtype="IntStorage") + b"\x86"
    assert "two data types" in refusal(write(tmp_path / "a.pth", both, True))


def nested(levels: int) -> bytes:
    """A tuple of two references to a tuple of two references to …"""
    return b")" + b"q\x00h\x00\x86" * levels


BOMBS: dict[str, tuple[bytes, str]] = {
    "memo number": (b"Nr\xff\xff\xff\xff0", "instruction POP"),
    "text length": (b"X\xff\xff\xff\xff" + b"a", "damaged or incomplete"),
    "8-byte text length": (b"\x8d" + b"\xff" * 7 + b"\x7fa", "damaged or incomplete"),
    "bytes length": (b"\x8e" + b"\xff" * 8, "damaged or incomplete"),
    "byte string length": (b"T\xff\xff\xff\x7f", "damaged or incomplete"),
    "long number": (b"\x8b\xff\xff\xff\x7f", "instruction LONG4"),
    "frame length": (b"\x95" + b"\xff" * 8 + b"N0", "instruction POP"),
    "bytearray": (b"\x96" + b"\xff" * 8, "instruction BYTEARRAY8"),
    "nested tuple as key": (b"}" + nested(60) + b"Ns", "a key in it is neither a short string"),
    "nested tuple as module": (nested(60) + text("a") + b"\x93", "its pickle is invalid"),
    "nested tuple as key of a storage": (
        tuple_of(text("storage"), name("torch", "FloatStorage"), nested(60), b"N", b"K\x05")
        + b"Q",
        "its pickle is invalid",
    ),
    "repeated lists": (b"]" + b"q\x00](h\x00h\x00e" * 60, "its values occur repeatedly"),
    "repeated text": (text("a" * 9**5) + b"q\x00](" + b"h\x00" * 9**5 + b"e", "occur repeatedly"),
    "list in itself": (b"]q\x00h\x00a", "contain themselves"),
    "cycle of dictionaries": (b"}q\x00" + text("a") + b"}" + text("b") + b"h\x00ss", "themselves"),
    "tuples in tuples": (b")" + b"\x85" * 10**5, "nested more than 100 deep"),
    "lists in lists": (b"](" * 10**5 + b"e" * 10**5, "nested more than 100 deep"),
    "depth in shared lists": (
        b"]q\x00" + b"".join(b"]q%ch%ca" % (i, i - 1) for i in range(1, 200))
        + b"](" + b"".join(b"h%c" % i for i in range(200)) + b"e",
        "nested more than 100 deep",
    ),
    "large keys": (b"}(" + (text("a" * 10**5) + b"N") * 2 + b"u", "a key in it is neither"),
    "large number as key": (b"}\x8a\xff" + b"\x7f" * 255 + b"Ns", "a key in it is neither"),
    "equal hashes": (
        b"}(" + b"".join(number(i) + b"N" for i in range(30_000)) + b"u",
        "more than 20,000 keys in it are not strings",
    ),
    "instructions": (b"(" + b"}" * 4_100_000 + b"t", "more than 4,000,000 instructions"),
    "tuples": (b"](" + b")\x85" * 600_000 + b"e", "more than 500,000 dictionaries"),
    "encoded text": (
        name("_codecs", "encode") + b"q\x00" + text("a" * 9**5) + text("latin1") + b"\x86q\x01("
        + b"h\x00h\x01R" * 1000 + b"t",
        "copies values repeatedly",
    ),
    "copied items": (
        EMPTY + b"q\x00](" + b"".join(text(str(i)) + b"N\x86" for i in range(9**4)) + b"e\x85q\x01("
        + b"h\x00h\x01R" * 9**4 + b"t",
        "copies values repeatedly",
    ),
    "million keys": (
        b"}(" + b"".join(text(str(i)) + b"N" for i in range(10**6)) + b"u",
        "",
    ),
}  # fmt: skip
READ_ALL = """
import resource, sys
from pathlib import Path
from higherhrnet.errors import InputError
from higherhrnet.io.torch_file.reader import read_torch_file
resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
resource.setrlimit(resource.RLIMIT_CPU, (60, 60))
for path in map(Path, sys.argv[1:]):
    try:
        print(f"read {len(read_torch_file(path))} values")
    except InputError as error:
        print(error)
    status = Path("/proc/self/status").read_text()
    peak = int(status.partition("VmHWM:")[2].split()[0]) >> 10
    assert peak < 600, f"{path}: {peak} MB"
"""
"""Asserts that reading needs less than 600 MB and 60 s for all files together."""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="measures the memory as on Linux")
def test_memory_and_time_are_bounded(tmp_path: Path) -> None:
    paths = [write(tmp_path / f"{i}.pth", BOMBS[case][0], True) for i, case in enumerate(BOMBS)]
    paths += [
        write(tmp_path / f"{case}.pth", BOMBS[case][0], False)
        for case in ("text length", "8-byte text length", "byte string length", "repeated lists")
    ]
    command = [sys.executable, "-c", READ_ALL, *map(str, paths)]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    outcomes = result.stdout.splitlines()
    messages = [message for _, message in BOMBS.values()]
    for message, outcome in zip(messages, outcomes[: len(messages)], strict=True):
        assert message in outcome
    for outcome in outcomes[len(messages) :]:
        assert "damaged or incomplete" in outcome or "occur repeatedly" in outcome


def test_invalid_parts_of_the_older_format_are_named(tmp_path: Path) -> None:
    storages = {"0": np.arange(5, dtype=np.float32)}
    path = write_stream(tmp_path / "a.pth", tensor(5, [5], [1]), storages)
    version, other = (pickle.dumps(number, 2) for number in (1001, 1002))
    path.write_bytes(path.read_bytes().replace(version, other, 1))
    assert "its version is unknown" in refusal(path)
    write_stream(path, tensor(5, [5], [1]), storages, keys=pickle.dumps([], 2))
    assert "a storage is missing" in refusal(path)


def test_the_depth_of_values_that_occur_repeatedly_is_limited(tmp_path: Path) -> None:
    inner: list[object] = []
    for _ in range(60):
        inner = [inner]
    outer = inner
    for _ in range(60):
        outer = [outer]
    for contents in ({"a": outer, "b": inner}, {"b": inner, "a": outer}):
        path = write_zip(tmp_path / "a.pth", pickle.dumps(contents, 2)[2:-1], {})
        assert "nested" in refusal(path)
    shallow: tuple[dict[str, object], ...] = ({"a": inner, "b": inner}, {"b": [inner, inner]})
    for values in shallow:
        path = write_zip(tmp_path / "a.pth", pickle.dumps(values, 2)[2:-1], {})
        assert read_torch_file(path) == values


def test_compressed_and_encrypted_archives_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/data.pkl", b"\x80\x02" + tensor(2**24, [2**24], [1]) + b".")
        archive.writestr("a/data/0", bytes(2**26))
    assert path.stat().st_size < 10**6
    assert "compressed or encrypted" in refusal(path)
    write(path, tensor(5, [5], [1]), True)
    data = path.read_bytes()
    start = data.index(b"PK\1\2")
    path.write_bytes(data[: start + 8] + b"\1" + data[start + 9 :])
    assert "compressed or encrypted" in refusal(path)


def test_overlapping_entries_of_an_archive_cannot_multiply_memory(tmp_path: Path) -> None:
    count, size = 200, 2**20
    tensors = [tensor(size // 4, [1], [1], key=str(i)) for i in range(count)]
    path = write_zip(tmp_path / "a.pth", b"](" + b"".join(tensors) + b"e", {"0": bytes(size)})
    data = path.read_bytes()
    end = data.rindex(b"PK\5\6")
    directory = data[data.index(b"PK\1\2") : end]
    last = directory[directory.rindex(b"PK\1\2") :]
    entries = [last.replace(b"archive/data/0", f"archive/data/{i}".encode()) for i in range(10)]
    for i in range(10, count):
        name_size = len(f"archive/data/{i}")
        entry = last.replace(b"archive/data/0", f"archive/data/{i}".encode())
        entries.append(entry[:28] + struct.pack("<H", name_size) + entry[30:])
    directory += b"".join(entries)
    tail = bytearray(data[end:])
    number_of_entries = 2 + 1 + count
    tail[8:16] = struct.pack("<HHI", number_of_entries, number_of_entries, len(directory))
    path.write_bytes(data[: data.index(b"PK\1\2")] + directory + tail)
    assert len(zipfile.ZipFile(path).namelist()) == number_of_entries
    assert "overlap or exceed it" in refusal(path)


def test_names_in_an_archive_are_harmless(tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    with zipfile.ZipFile(path, "w") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr("a/data.pkl", b"\x80\x02" + tensor(1, [1], [1]) + b".")
        for inner in ("../../x", "/etc/passwd", "C:\\x", "a/../../data/0", "a", "b/data.pkl"):
            archive.writestr(inner, b"x")
        archive.writestr("a/data/0", np.float32(1).tobytes())
        archive.writestr("a/data/0", np.float32(2).tobytes())
    assert read_torch_file(path).tolist() == [2]
    assert [file.name for file in tmp_path.iterdir()] == ["a.pth"]


def test_a_directory_that_is_too_large_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    directory = bytes(2**24 + 1)
    end = b"PK\5\6" + struct.pack("<HHHHIIH", 0, 0, 1, 1, len(directory), 4, 0)
    path.write_bytes(b"PK\3\4" + directory + end)
    assert "one of its parts would have 16,777,217 bytes" in refusal(path)


def small_checkpoint() -> dict[str, object]:
    torch.manual_seed(1)
    state = OrderedDict(
        weight=torch.rand(700), shared=torch.rand(3, 4).T, half=torch.rand(5).half(),
        bfloat16=torch.rand(7).bfloat16(), steps=torch.tensor(3), mask=torch.rand(9) > 0.5,
    )  # fmt: skip
    meta = {"config": "x = 1\n" * 40, "epoch": 140, "scores": [0.5, 0.7, None]}
    return {"state_dict": state, "meta": meta, "best": OrderedDict(state)}


@pytest.mark.slow
@FORMATS
def test_every_truncated_file_is_refused(tmp_path: Path, zipped: bool) -> None:
    path = tmp_path / "a.pth"
    contents = {"w": torch.rand(9000), "state": small_checkpoint()}
    torch.save(contents, path, _use_new_zipfile_serialization=zipped)
    data = path.read_bytes()
    assert len(data) > 38 * 1024
    for size in {*range(0, len(data), 1024), *range(0, 2000, 7), len(data) - 1}:
        path.write_bytes(data[:size])
        message = refusal(path)
        assert "download it again" in message and ("damaged" in message or "incomplete" in message)


def changes(data: bytes, count: int, seed: int) -> list[bytes]:
    """Copies with one or a few changed bits or bytes; half of them outside of the storages."""
    generator = random.Random(seed)
    structure = [i for i in range(len(data)) if i < 2500 or i > len(data) - 2500]
    changed = []
    for _ in range(count):
        copy = bytearray(data)
        places = structure if generator.random() < 0.7 else range(len(data))
        for _ in range(generator.choice([1, 1, 1, 2, 5])):
            place = generator.choice(places)
            if generator.random() < 0.5:
                copy[place] ^= 1 << generator.randrange(8)
            else:
                copy[place] = generator.randrange(256)
        changed.append(bytes(copy))
    return changed


def theirs(path: Path) -> object:
    try:
        return torch.load(path, weights_only=True, map_location="cpu")
    except Exception:  # of many types
        return None


def is_equal(ours: object, expected: object) -> bool:
    try:
        assert_equal(ours, expected)
    except AssertionError:
        return False
    return True


@pytest.mark.slow
def test_changed_archives_are_refused_or_read_unchanged(tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    contents = small_checkpoint()
    torch.save(contents, path)
    read = refused = 0
    for data in changes(path.read_bytes(), 2000, 1):
        path.write_bytes(data)
        try:
            assert_equal(read_torch_file(path), contents)
            read += 1
        except InputError as error:
            assert "\n" not in error.args[0]
            refused += 1
    assert read > 50 and refused > 400
    assert [file.name for file in tmp_path.iterdir()] == ["a.pth"]


@pytest.mark.slow
def test_changed_streams_are_refused_or_read_as_by_torch(tmp_path: Path) -> None:
    """This format has no checksums: torch reads some changed files as well."""
    path = tmp_path / "a.pth"
    contents = small_checkpoint()
    torch.save(contents, path, _use_new_zipfile_serialization=False)
    keys: dict[bytes, int] = {}  # the keys of storages are addresses, and so different each time
    original = re.sub(
        rb"X.\0\0\0(\d{12,})",
        lambda key: text(str(keys.setdefault(key[1], len(keys)))),
        path.read_bytes(),
    )
    assert len(keys) == 6
    read = refused = 0
    for data in changes(original, 1500, 2):
        path.write_bytes(data)
        try:
            ours = read_torch_file(path)
            # Torch refuses some values that do not matter here, such as an unknown device.
            assert is_equal(ours, theirs(path)) or is_equal(ours, contents)
            read += 1
        except InputError as error:
            assert "\n" not in error.args[0]
            refused += 1
    assert read > 50 and refused > 400
    assert [file.name for file in tmp_path.iterdir()] == ["a.pth"]
