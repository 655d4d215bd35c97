"""The names in files of torch.save and their values: data types, tensors and ignored classes."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any, Literal, TypeGuard

import numpy as np
from numpy.typing import NDArray

from higherhrnet.io.torch_file.contents import ContentsError, damaged
from higherhrnet.io.torch_file.machine import IGNORED, Function, PickleMachine

STORAGE_DTYPES = {
    "FloatStorage": "float32",
    "DoubleStorage": "float64",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
}
_UNSIGNED = ("uint16", "uint32", "uint64")
"""Data types without a storage type: their storages have the type uint8."""

_IGNORED_CLASSES = (
    "fp16_utils.loss_scaler.LossScaler",  # in the half-precision optimizer of the authors
    "fp16_utils.loss_scaler.DynamicLossScaler",
    "numpy.core.multiarray.scalar",  # MMPose's best AP, saved with NumPy 1
    "numpy._core.multiarray.scalar",  # saved with NumPy 2
    "numpy.core.multiarray._reconstruct",  # arrays: the sigmas in MMPose 1.x's description of a set
    "numpy._core.multiarray._reconstruct",
    "numpy.ndarray",
    "numpy.dtype",
    "mmengine.logging.history_buffer.HistoryBuffer",  # losses of a training with MMPose 1.x
    "builtins.getattr",  # HistoryBuffer's methods; called with ignored objects
    "torch.device",
    "torch.Tensor",  # only as the class of a tensor with attributes
    *(f"builtins.{name}" for name in ("int", "float", "str", "list", "dict")),  # of defaultdict
)

_UNSUPPORTED = {
    "torch._utils._rebuild_qtensor": "a quantized tensor",
    "torch._utils._rebuild_sparse_tensor": "a sparse tensor",
    "torch._utils._rebuild_sparse_csr_tensor": "a sparse tensor",
    "torch._utils._rebuild_nested_tensor": "a nested tensor",
    "torch._utils._rebuild_meta_tensor_no_storage": "a tensor without data",
    "torch.ComplexFloatStorage": "a complex tensor",
    "torch.ComplexDoubleStorage": "a complex tensor",
    **{
        f"torch.{name}Storage": "a quantized tensor"
        for name in ("QInt8", "QUInt8", "QInt32", "QUInt4x2", "QUInt2x4")
    },
    **{
        f"torch.float8_{name}": "a float8 tensor"
        for name in ("e4m3fn", "e4m3fnuz", "e5m2", "e5m2fnuz", "e8m0fnu")
    },
}


class TorchNames(dict[str, Any]):
    """Maps the global names that a pickle of weights may contain to their values.

    A data type is its name in NumPy or `bfloat16`. Unsupported names raise ContentsError.

    Args:
        file_size: size of the file in bytes, which bounds the size of the tensors.
    """

    def __init__(self, file_size: int) -> None:
        self._file_size = file_size
        self._tensor_bytes = 0
        functions: dict[str, Callable[..., Any]] = {
            "torch._utils._rebuild_tensor": self._tensor,
            "torch._utils._rebuild_tensor_v2": self._tensor_v2,
            "torch._utils._rebuild_tensor_v3": self._tensor_v3,
            "torch._utils._rebuild_parameter": _parameter,
            "torch._utils._rebuild_parameter_with_state": _parameter,
            "torch.nn.parameter.Parameter": _parameter,
            "torch._tensor._rebuild_from_type_v2": self._tensor_with_attributes,
            "torch.Size": _size,
            "collections.OrderedDict": _ordered_dict,
            "collections.defaultdict": lambda machine, factory=None: {},
            "collections.Counter": _counter,
            "builtins.set": _set,
            "_codecs.encode": _encode,  # bytes, in protocol 2
        }
        super().__init__(
            {name: Function(function) for name, function in functions.items()}
            | dict.fromkeys(_IGNORED_CLASSES, IGNORED)
            | {f"torch.{name}": name for name in (*STORAGE_DTYPES.values(), *_UNSIGNED)}
            | {f"torch.{name}": dtype for name, dtype in STORAGE_DTYPES.items()}
            | {f"torch.cuda.{name}": dtype for name, dtype in STORAGE_DTYPES.items()}
            | {f"torch.storage.{name}": "uint8" for name in ("UntypedStorage", "_UntypedStorage")}
        )

    def __contains__(self, name: object) -> bool:
        if kind := _UNSUPPORTED.get(str(name)):
            raise ContentsError(
                f"contains {kind} ({name}), which is not supported; save a state_dict() of dense "
                "floating-point tensors in its own environment and convert that file"
            )
        return super().__contains__(name)

    def _tensor(
        self, machine: PickleMachine, storage: object, offset: object, *size: object
    ) -> object:
        """Returns a view of a storage.

        Args:
            machine: not used.
            storage: a storage, or IGNORED if its data have not been found yet.
            offset: index of the first element.
            size: the tensor's shape and its strides, in elements.
        """
        shape, strides = size
        if storage is IGNORED:
            return IGNORED
        if not (
            isinstance(storage, np.ndarray)
            and storage.ndim == 1
            and storage.flags.c_contiguous
            and isinstance(offset, int)
            and isinstance(shape, tuple)
            and isinstance(strides, tuple)
            and len(shape) == len(strides) <= 64
            and all(is_size(number) for number in (offset, *shape, *strides))
        ):
            raise damaged("a tensor is invalid")
        count, width = prod(shape), storage.itemsize
        last = offset + sum((n - 1) * s for n, s in zip(shape, strides, strict=True))
        if (count and last >= storage.size) or prod(max(n, 1) for n in shape) >= 2**59:
            raise damaged("a tensor exceeds its storage")
        self._tensor_bytes += count * width
        if self._tensor_bytes > 4 * self._file_size + 2**29:
            raise ContentsError(
                f"its tensors have {self._tensor_bytes >> 20:,} MB or more, and the file has "
                f"{self._file_size / 2**20:.1f} MB: they repeat values; save contiguous copies"
            )
        if not count:
            return np.empty(shape, storage.dtype)
        in_bytes = [stride * width for stride in strides]
        return np.ndarray(shape, storage.dtype, storage, offset * width, in_bytes)

    def _tensor_v2(self, machine: PickleMachine, *arguments: object) -> object:
        """Returns a tensor; its other arguments are requires_grad, hooks and metadata."""
        tensor, (requires_grad, _, *metadata) = arguments[:4], arguments[4:]
        if not isinstance(requires_grad, bool):
            raise damaged("a tensor is invalid")
        if any(metadata):
            raise ContentsError(
                "contains a tensor with a deferred negation or conjugation, which is not "
                "supported; save copies of such tensors, made by resolve_neg() or resolve_conj()"
            )
        return self._tensor(machine, *tensor)

    def _tensor_v3(self, machine: PickleMachine, storage: object, *arguments: object) -> object:
        """Returns a tensor of a data type that has no storage type."""
        tensor, (_, _, dtype, *metadata) = arguments[:3], arguments[3:]
        if not isinstance(dtype, str) or dtype not in _UNSIGNED or any(metadata):
            raise damaged("a tensor is invalid")
        typed = storage.view(str(dtype)) if isinstance(storage, np.ndarray) else storage
        return self._tensor(machine, typed, *tensor)

    def _tensor_with_attributes(
        self, machine: PickleMachine, function: object, cls: object, arguments: object, _: object
    ) -> object:
        """Returns a tensor without the attributes that were assigned to it."""
        names = ("_rebuild_tensor_v2", "_rebuild_tensor_v3", "_rebuild_parameter")
        if not any(function is self[f"torch._utils.{name}"] for name in names):
            raise damaged("a tensor is invalid")
        return machine.result(function, arguments)


def element_size(dtype: str) -> int:
    """Returns the number of bytes of a number in a storage."""
    return 2 if dtype == "bfloat16" else np.dtype(dtype).itemsize


def typed_storage(
    data: NDArray[np.uint8], dtype: str, byteorder: Literal["<", ">"]
) -> NDArray[Any]:
    """Returns the numbers of a storage, if possible without copying them.

    Args:
        data: the bytes of the storage.
        dtype: name of the data type; bfloat16 is converted to float32.
        byteorder: `<` for little endian, `>` for big endian.
    """
    if dtype == "bfloat16":
        upper_half = data.view(f"{byteorder}u2").astype(np.uint32)
        return np.left_shift(upper_half, 16, out=upper_half).view(np.float32)
    if dtype == "bool":
        return np.not_equal(data, 0)
    stored = np.dtype(dtype).newbyteorder(byteorder)
    return data.view(stored).astype(dtype, copy=False)


def is_size(number: object) -> TypeGuard[int]:
    """Returns whether a number can be a size, an offset or a stride."""
    return type(number) is int and 0 <= number < 2**62


def _parameter(machine: PickleMachine, data: object, *_: object) -> object:
    if data is not IGNORED and not isinstance(data, np.ndarray):
        raise damaged("a parameter is not a tensor")
    return data


def _size(machine: PickleMachine, sizes: object) -> object:
    if not isinstance(sizes, tuple):
        raise TypeError
    return sizes


def _ordered_dict(machine: PickleMachine, items: object = ()) -> dict[Any, Any]:
    """Python 2 saves the items as an argument, Python 3 adds them afterwards."""
    if not isinstance(items, list | tuple):
        raise TypeError
    return {machine.key(key): value for key, value in items}


def _counter(machine: PickleMachine, counts: object = None) -> object:
    if counts is not None and not isinstance(counts, dict):
        raise TypeError
    return {} if counts is None else counts


def _set(machine: PickleMachine, items: object) -> object:
    if not isinstance(items, list):
        raise TypeError
    return {machine.key(item) for item in items}


_LATIN_1 = ("latin1", "latin-1")


def _encode(machine: PickleMachine, string: object, encoding: object) -> bytes:
    if not isinstance(string, str) or not isinstance(encoding, str) or encoding not in _LATIN_1:
        raise TypeError
    return string.encode("latin-1")
