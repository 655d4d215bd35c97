"""Files that torch.save wrote are read without torch as torch reads them."""

import math
import os
import subprocess
import sys
import zipfile
from collections import Counter, OrderedDict, defaultdict
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from higherhrnet.errors import InputError
from higherhrnet.io.torch_file.machine import IGNORED
from higherhrnet.io.torch_file.reader import read_torch_file
from tests.io.torch_pickles import (
    dict_of,
    name,
    number,
    python2_text,
    tensor,
    text,
    tuple_of,
    write_stream,
    write_zip,
)

FORMATS = pytest.mark.parametrize("zipped", [True, False], ids=["zip", "stream"])
DTYPES = (
    torch.float32, torch.float16, torch.float64, torch.bfloat16, torch.int64, torch.int32,
    torch.int16, torch.int8, torch.uint8, torch.bool,
)  # fmt: skip


def save(contents: object, path: Path, zipped: bool, **options: Any) -> Path:  # noqa: ANN401
    torch.save(contents, path, _use_new_zipfile_serialization=zipped, **options)
    return path


def assert_equal(ours: object, theirs: object) -> None:
    """Asserts that values are equal, and arrays bit by bit."""
    if isinstance(theirs, torch.Tensor):
        if theirs.dtype == torch.bfloat16:
            theirs = theirs.float()
        elif theirs.dtype == torch.bool:
            theirs = theirs.view(torch.uint8) != 0  # a damaged file may contain other bytes
        expected = theirs.detach().numpy()
        assert isinstance(ours, np.ndarray)
        assert (ours.dtype, ours.shape) == (expected.dtype, expected.shape)
        assert ours.tobytes() == expected.tobytes()
    elif isinstance(theirs, torch.storage.TypedStorage):
        assert_equal(ours, torch.tensor([], dtype=theirs.dtype).set_(theirs))
    elif isinstance(theirs, torch.serialization.StorageType | torch.dtype):
        dtype = theirs if isinstance(theirs, torch.dtype) else theirs.dtype
        assert f"torch.{ours}" == str(dtype)
    elif isinstance(theirs, dict):
        assert type(ours) is dict
        assert_equal([*ours, *ours.values()], [*theirs, *theirs.values()])
    elif isinstance(theirs, list | tuple):
        assert isinstance(ours, list if isinstance(theirs, list) else tuple)
        for mine, other in zip(ours, theirs, strict=True):
            assert_equal(mine, other)
    else:
        assert type(ours) is type(theirs)
        assert ours == theirs or (ours != ours and theirs != theirs)


def assert_read_as_by_torch(path: Path) -> None:
    assert_equal(read_torch_file(path), torch.load(path, weights_only=True))


@FORMATS
def test_a_network_is_read_as_by_torch(tmp_path: Path, zipped: bool) -> None:
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 5, 3), torch.nn.BatchNorm2d(5))
    assert_read_as_by_torch(save(network.state_dict(), tmp_path / "a.pth", zipped))


@FORMATS
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_a_checkpoint_with_other_values_is_read(
    tmp_path: Path, zipped: bool, protocol: int
) -> None:
    weight = torch.nn.Parameter(torch.rand(3, 4, dtype=torch.float16))
    optimizer = torch.optim.Adam([weight])
    weight.grad = torch.rand_like(weight)
    optimizer.step()
    contents = {
        "epoch": 140,
        "large": [2**40, -(2**70), 255, 256, 65536, -1],
        "floats": (0.1, math.inf, -0.0, math.nan),
        "flags": [True, False, None],
        "meta": {"config": "a = 'ä€😀'\n" * 50, "empty": {}, 3: "x", None: 1, (1, "a"): 2, 0.5: 3},
        "bytes": b"\x00\xff" * 200,
        "set": {1, 2, 3} if protocol < 4 else None,
        "state_dict": OrderedDict(weight=weight, step=torch.tensor(7)),
        "best": OrderedDict(weight=weight),
        "optimizer": optimizer.state_dict(),
    }
    path = save(contents, tmp_path / "a.pth", zipped, pickle_protocol=protocol)
    assert_equal(read_torch_file(path), contents)


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data(), zipped=st.booleans())
def test_tensors_are_read_bit_by_bit(tmp_path: Path, data: st.DataObject, zipped: bool) -> None:
    """All data types, with random bytes, as views of shared storages."""
    tensors: list[torch.Tensor] = []
    for _ in range(data.draw(st.integers(1, 4))):
        dtype = data.draw(st.sampled_from(DTYPES))
        size = data.draw(st.integers(0, 40))
        count = size * torch.empty((), dtype=dtype).element_size()
        raw = data.draw(st.binary(min_size=count, max_size=count))
        if dtype == torch.bool:
            raw = bytes(byte % 2 for byte in raw)
        storage = torch.frombuffer(bytearray(raw or b"\0" * 8), dtype=dtype)[:size]
        for _ in range(data.draw(st.integers(1, 3))):
            offset = data.draw(st.integers(0, size))
            shape: list[int] = []
            strides: list[int] = []
            left = size - offset - 1
            for _ in range(data.draw(st.integers(0, 4))):
                stride = data.draw(st.integers(0, 6))
                limit = 5 if stride == 0 else max(left, 0) // stride + 1
                shape.append(data.draw(st.integers(0, min(limit, 5))))
                strides.append(stride)
                left -= max(shape[-1] - 1, 0) * stride
            if left < 0:
                shape.append(0)
                strides.append(1)
            tensors.append(storage.as_strided(shape, strides, offset))
    path = save(tensors, tmp_path / "a.pth", zipped)
    assert_read_as_by_torch(path)
    read = read_torch_file(path)
    for a, one in zip(read, tensors, strict=True):
        for b, other in zip(read, tensors, strict=True):
            if one.numel() and one.data_ptr() == other.data_ptr() and one.dtype == other.dtype:
                assert np.shares_memory(a, b)


@FORMATS
def test_arrays_can_be_written_to(tmp_path: Path, zipped: bool) -> None:
    read = read_torch_file(save([torch.zeros(3), torch.zeros(2).bool()], tmp_path / "a", zipped))
    read[0][1] = 5
    read[1][1] = True
    assert read[0].tolist() == [0, 5, 0] and read[1].tolist() == [False, True]


@FORMATS
def test_subclasses_attributes_and_storages_are_read(tmp_path: Path, zipped: bool) -> None:
    with_attribute = torch.ones(2)
    with_attribute.note = "x"  # type: ignore[attr-defined]
    parameter = torch.nn.Parameter(torch.rand(2))
    parameter.note = {"a": 1}  # type: ignore[attr-defined]
    unsigned = [torch.tensor([0, 3], dtype=d) for d in (torch.uint16, torch.uint32, torch.uint64)]
    contents = {
        "tensors": [with_attribute, parameter, *unsigned],
        "shape": torch.rand(2, 3).shape,
        "counter": Counter("aab"),
        "default": defaultdict(list, a=[1]),
        "dtypes": [torch.float32, torch.bfloat16, torch.bool],
        "device": torch.device("cuda", 0),
    }
    read = read_torch_file(save(contents, tmp_path / "a.pth", zipped))
    assert_equal(read["tensors"], contents["tensors"])
    assert read["shape"] == (2, 3)
    assert read["counter"] == {"a": 2, "b": 1} and read["default"] == {"a": [1]}
    assert read["dtypes"] == ["float32", "bfloat16", "bool"]
    assert read["device"] is IGNORED
    storage = torch.tensor([1.0, 2.0]).untyped_storage()
    read = read_torch_file(save({"s": storage}, tmp_path / "b.pth", zipped))
    assert read["s"].view(np.float32).tolist() == [1, 2]


@FORMATS
def test_objects_of_training_are_ignored(
    tmp_path: Path, zipped: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    scaler = type("DynamicLossScaler", (), {"__module__": "fp16_utils.loss_scaler"})
    history = type(
        "HistoryBuffer", (), {"__module__": "mmengine.logging.history_buffer", "mean": max}
    )
    contents: dict[str, Any] = {
        "scaler": scaler(),
        "history": history(),
        "best": np.float64(0.68),
        "sigmas": np.array([0.026, 0.025]),
        "random": np.random.RandomState(0).get_state(),
        "state_dict": {"w": torch.rand(2)},
    }
    contents["scaler"].cur_scale = 2.0**16
    contents["history"].data = np.zeros(3)
    with monkeypatch.context() as patch:
        for cls in (scaler, history):
            parts = cls.__module__.split(".")
            for i in range(1, len(parts) + 1):
                patch.setitem(sys.modules, ".".join(parts[:i]), ModuleType(parts[i - 1]))
            setattr(sys.modules[cls.__module__], cls.__name__, cls)
        path = save(contents, tmp_path / "a.pth", zipped)
    read = read_torch_file(path)
    for key in ("scaler", "history", "best", "sigmas"):
        assert read[key] is IGNORED
    assert repr(IGNORED) == "IGNORED"
    assert_equal(read["state_dict"], contents["state_dict"])


def test_methods_of_ignored_objects_are_not_looked_up(tmp_path: Path) -> None:
    buffer = name("mmengine.logging.history_buffer", "HistoryBuffer")
    method = name("__builtin__", "getattr") + tuple_of(buffer, text("__class__")) + b"R"
    assert read_torch_file(write_zip(tmp_path / "a.pth", method)) is IGNORED


def test_files_of_python_2_are_read(tmp_path: Path) -> None:
    """Text is byte strings there, an OrderedDict is called with its items, classes may be old."""
    weights = np.arange(6, dtype=np.float32)
    storage = tuple_of(
        python2_text("storage"),
        name("torch", "FloatStorage"),
        python2_text("94"),
        python2_text("cuda:0"),
        number(6),
        b"N",
    )
    rebuilt = (
        name("torch._utils", "_rebuild_tensor")
        + tuple_of(storage + b"Q", number(1), tuple_of(number(2), b"K\x02"), b"K\x02K\x01\x86")
        + b"R"
    )
    parameter = name("torch.nn.parameter", "Parameter") + rebuilt + b"\x85R"
    items = b"](" + b"](" + python2_text("conv.weight") + parameter + b"ee"
    state = name("collections", "OrderedDict") + items + b"\x85R" + b"}" + b"b"
    scaler = b"(" + name("fp16_utils.loss_scaler", "LossScaler") + b"o}" + b"b"
    contents = dict_of(
        python2_text("state_dict"), state,
        python2_text("author"), python2_text("Müller"),
        python2_text("Ã¤"), b"\x88",  # UTF-8
        python2_text("scaler"), scaler,
        python2_text("best"), name("__builtin__", "set") + b"](K\x01K\x02e\x85R",
    )  # fmt: skip
    keys = b"\x80\x02](" + python2_text("94") + b"e."
    path = write_stream(tmp_path / "a.pth", contents, {"94": weights}, keys)
    read = read_torch_file(path)
    assert_equal(read["state_dict"], {"conv.weight": torch.tensor([[1.0, 2], [3, 4]])})
    assert read["author"] == "Müller" and read["ä"] is True
    assert read["scaler"] is IGNORED and read["best"] == {1, 2}


def test_parts_of_storages_are_read(tmp_path: Path) -> None:
    """Early versions of torch saved a storage as a part of another one."""

    def part(offset: int, size: int) -> bytes:
        view = tuple_of(text(f"view {offset}"), number(offset), number(size))
        storage = tensor(5, [size], [1], old=True)
        return storage.replace(number(5) + b"N", number(5) + view)

    storages = {"0": np.arange(5, dtype=np.float32)}
    path = write_stream(tmp_path / "a.pth", b"](" + part(0, 2) + part(2, 3) + b"e", storages)
    assert_equal(read_torch_file(path), torch.load(path, map_location="cpu"))
    assert [a.tolist() for a in read_torch_file(path)] == [[0, 1], [2, 3, 4]]
    path = write_stream(tmp_path / "a.pth", part(3, 3), storages)
    with pytest.raises(InputError, match=r"a\.pth: damaged .*part of a storage exceeds it"):
        read_torch_file(path)


@pytest.mark.parametrize("order", ["little", "big", None])
def test_both_byte_orders_are_read(tmp_path: Path, order: str | None) -> None:
    values = torch.tensor([1.5, -2.25, 3e-5])
    contents = [values, values.bfloat16(), torch.tensor([2**40 + 1]), values > 0]
    arrays = [values.numpy(), values.bfloat16().view(torch.int16).numpy()]
    arrays += [tensor.numpy() for tensor in contents[2:]]
    plain = save(contents, tmp_path / "plain.pth", True)
    path = tmp_path / "a.pth"
    with zipfile.ZipFile(plain) as source, zipfile.ZipFile(path, "w") as target:
        for entry in source.namelist():
            inner = entry.partition("/")[2]
            data = source.read(entry)
            if inner.startswith("data/") and order == "big":
                data = arrays[int(inner[5:])].byteswap().tobytes()
            if inner != "byteorder":
                target.writestr(f"another folder/{inner}", data)
            elif order:
                target.writestr(f"another folder/{inner}", order)
    assert_equal(read_torch_file(path), contents)


def test_entries_with_zip64_sizes_and_without_checksums_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    with zipfile.ZipFile(path, "w") as archive:
        for inner, data in (
            ("data.pkl", b"\x80\x02" + tensor(2, [2], [1]) + b"."),
            ("data/0", np.array([1, 2], np.float32).tobytes()),
        ):
            with archive.open(f"x/{inner}", "w", force_zip64=True) as entry:
                entry.write(data)
    assert read_torch_file(path).tolist() == [1, 2]
    torch.serialization.set_crc32_options(False)
    try:
        assert_read_as_by_torch(save([torch.rand(3)], path, True))
    finally:
        torch.serialization.set_crc32_options(True)


def test_a_tensor_may_be_expanded_within_bounds(tmp_path: Path) -> None:
    one = torch.tensor(0.5).expand(384, 384, 3, 3)
    read = read_torch_file(save([one] * 40, tmp_path / "a.pth", True))
    assert read[39].shape == (384, 384, 3, 3) and read[39].strides == (0, 0, 0, 0)
    path = save([torch.tensor(0.5).expand(10**6, 10**6)], tmp_path / "a.pth", True)
    with pytest.raises(InputError, match="they repeat values; save contiguous copies"):
        read_torch_file(path)
    shared = torch.rand(2**18)
    path = save([shared.as_strided((i, 2**18), (0, 1)) for i in range(1, 60)], path, False)
    with pytest.raises(InputError, match=r"its tensors have \d+ MB or more, and the file has 1"):
        read_torch_file(path)


def test_missing_and_unreadable_files_are_reported(tmp_path: Path) -> None:
    for path in (tmp_path / "missing.pth", tmp_path):
        with pytest.raises(InputError, match=r"no such file; `higherhrnet models` lists"):
            read_torch_file(path)
    with pytest.raises(InputError, match="cannot be read: File name too long"):
        read_torch_file(tmp_path / ("a" * 300))
    locked = save([], tmp_path / "locked.pth", True)
    locked.chmod(0)
    if sys.platform != "win32" and os.geteuid():
        with pytest.raises(InputError, match="cannot be read: Permission denied"):
            read_torch_file(locked)


@pytest.mark.filterwarnings("ignore")  # of torch, while the files are written
def test_other_kinds_of_files_are_refused_with_the_way_out(tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    module = torch.nn.Linear(2, 2)
    quantized = torch.quantize_per_tensor(torch.rand(2), 0.1, 0, torch.qint8)
    sparse = torch.eye(3).to_sparse()
    negated = torch.conj(torch.tensor([1 + 2j])).imag
    for contents, message in (
        (module, r"would run torch\.nn\.modules\.linear\.Linear, .*save the network's state_dict"),
        ([quantized], r"contains a quantized tensor \(torch\..*save a state_dict\(\) of dense"),
        ([sparse], r"contains a sparse tensor \(torch\._utils\._rebuild_sparse_tensor\)"),
        ([sparse.to_sparse_csr()], "contains a sparse tensor"),
        ([torch.tensor([1j])], "contains a complex tensor"),
        ([torch.empty(2, device="meta")], "contains a tensor without data"),
        ([torch.zeros(2).to(torch.float8_e5m2)], "contains a float8 tensor"),
        ([negated], "deferred negation"),
    ):
        for zipped in (True, False):
            with pytest.raises(InputError, match=rf"^{path}: .*({message})") as error:
                read_torch_file(save(contents, path, zipped))
            assert "\n" not in error.value.args[0]
    torch.jit.save(torch.jit.script(module), str(path))
    with pytest.raises(InputError, match=r"a TorchScript archive; load it with torch\.jit\.load"):
        read_torch_file(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("word/document.xml", "<a/>")
    with pytest.raises(InputError, match="not a file of weights written by torch"):
        read_torch_file(path)


@pytest.mark.parametrize(
    "contents",
    [b"", b"P", b"cat dog\nbird\n", b"<!DOCTYPE html>", b"\x80\x02.", b"\x80\x02}.", bytes(999),
     b"\x89PNG\r\n\x1a\n" + bytes(500), b"version https://git-lfs.github.com/spec/v1\noid 1\n"],
)  # fmt: skip
def test_files_that_torch_did_not_write_are_refused(tmp_path: Path, contents: bytes) -> None:
    (tmp_path / "a.pth").write_bytes(contents)
    with pytest.raises(InputError, match=r"a\.pth: not a file of weights .* download it again$"):
        read_torch_file(tmp_path / "a.pth")


def test_the_tar_format_is_refused(tmp_path: Path) -> None:
    import tarfile

    with tarfile.open(tmp_path / "a.pth", "w") as archive:
        for inner in ("sys_info", "pickle", "storages", "tensors"):
            archive.addfile(tarfile.TarInfo(inner))
    with pytest.raises(InputError, match=r"a tar archive; if torch before 0\.1\.10 wrote it"):
        read_torch_file(tmp_path / "a.pth")


def test_torch_is_not_imported(tmp_path: Path) -> None:
    path = save({"w": torch.arange(3)}, tmp_path / "a.pth", True)
    code = (
        "import sys; sys.modules['torch'] = None; "
        "from higherhrnet.io.torch_file.reader import read_torch_file; "
        "print(read_torch_file(sys.argv[1])['w'].tolist())"
    )
    command = [sys.executable, "-c", code, str(path)]
    assert subprocess.check_output(command, text=True) == "[0, 1, 2]\n"
