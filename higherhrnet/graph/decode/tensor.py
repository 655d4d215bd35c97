"""Tensors of ONNX graphs, with the operators of NumPy, from which `program` builds graphs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from numpy.typing import DTypeLike
from onnx import helper

if TYPE_CHECKING:
    from higherhrnet.graph.decode.program import Program

Operand = Any
"""A `Tensor`, or a number or an array, which becomes a constant."""


class Tensor:
    """A tensor of a program. Its operators add nodes, and broadcast as those of NumPy.

    Args:
        program: the program.
        name: the name in the ONNX graph.
        dtype: the type of its elements.
    """

    def __init__(self, program: Program, name: str, dtype: DTypeLike) -> None:
        self.program, self.name, self.dtype = program, name, np.dtype(dtype)

    def info(self, shape: Sequence[int] | None = None) -> onnx.ValueInfoProto:
        """Describes the tensor as an input or output of a graph (default: of any shape)."""
        return helper.make_tensor_value_info(
            self.name, helper.np_dtype_to_tensor_dtype(self.dtype), shape
        )

    def op(self, operator: str, *others: Operand, **attributes: Any) -> Tensor:  # noqa: ANN401
        """Adds a node whose first input is this tensor."""
        return self.program.op(operator, self, *others, **attributes)

    def __add__(self, other: Operand) -> Tensor:
        return self.op("Add", other)

    def __sub__(self, other: Operand) -> Tensor:
        return self.op("Sub", other)

    def __mul__(self, other: Operand) -> Tensor:
        return self.op("Mul", other)

    def __truediv__(self, other: Operand) -> Tensor:
        return self.op("Div", other)

    def __floordiv__(self, other: Operand) -> Tensor:
        """Divides integers that are not negative."""
        return self.op("Div", other)

    def __mod__(self, other: Operand) -> Tensor:
        return self.op("Mod", other)

    def __matmul__(self, other: Operand) -> Tensor:
        return self.op("MatMul", other)

    def __lt__(self, other: Operand) -> Tensor:
        return self.op("Less", other)

    def __gt__(self, other: Operand) -> Tensor:
        return self.op("Greater", other)

    def __ge__(self, other: Operand) -> Tensor:
        return self.op("GreaterOrEqual", other)

    def __and__(self, other: Operand) -> Tensor:
        return self.op("And", other)

    def __or__(self, other: Operand) -> Tensor:
        return self.op("Or", other)

    def __invert__(self) -> Tensor:
        return self.op("Not")

    def equals(self, other: Operand) -> Tensor:
        """Compares the elements."""
        return self.op("Equal", other)

    def cast(self, dtype: DTypeLike) -> Tensor:
        """Converts the elements to another type."""
        if np.dtype(dtype) == self.dtype:
            return self
        return self.op("Cast", to=helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), dtype=dtype)

    def size(self, axis: int) -> Tensor:
        """Returns the length of an axis, not counted from the end, as a scalar."""
        return self.op("Shape").take(np.int64(axis))

    def reshape(self, *sizes: int | Tensor) -> Tensor:
        """Changes the shape; one size may be -1."""
        return self.op("Reshape", self.program.shape(*sizes))

    def expand_dims(self, *axes: int) -> Tensor:
        """Inserts axes of length 1."""
        return self.op("Unsqueeze", np.array(axes))

    def take(self, index: Operand, axis: int = 0) -> Tensor:
        """Selects elements along an axis; a scalar index removes the axis."""
        return self.op("Gather", index, axis=axis)

    def part(self, start: int | Tensor, stop: int | Tensor, axis: int = 0) -> Tensor:
        """Selects a range along an axis."""
        limits = (self.program.shape(start), self.program.shape(stop))
        return self.op("Slice", *limits, np.array([axis]))

    def flip(self, axis: int) -> Tensor:
        """Reverses an axis."""
        first = np.iinfo(np.int64).min
        limits = (np.array([-1]), np.array([first]), np.array([axis]), np.array([-1]))
        return self.op("Slice", *limits)

    def transpose(self, *axes: int) -> Tensor:
        """Changes the order of the axes."""
        return self.op("Transpose", perm=axes)

    def clip(self, low: Operand, high: Operand) -> Tensor:
        """Limits the elements."""
        return self.op("Max", low).op("Min", high)

    def sum(self, axis: int) -> Tensor:
        """Sums along an axis, which is removed."""
        return self.op("ReduceSum", np.array([axis]), keepdims=0)

    def max(self, axis: int) -> Tensor:
        """Returns the maximum along an axis, which is removed."""
        return self.op("ReduceMax", np.array([axis]), keepdims=0)

    def min(self, axis: int) -> Tensor:
        """Returns the minimum along an axis, which is removed."""
        return self.op("ReduceMin", np.array([axis]), keepdims=0)

    def argmax(self) -> Tensor:
        """Returns the index of the first maximum of a vector."""
        return self.reshape(-1).op("ArgMax", axis=0, keepdims=0)  # OpenVINO needs a known rank

    def argmin(self) -> Tensor:
        """Returns the index of the first minimum of a vector."""
        return self.reshape(-1).op("ArgMin", axis=0, keepdims=0)

    def any(self) -> Tensor:
        """Returns whether an element of a vector, which is not empty, is true."""
        return self.cast(np.int64).max(0) > 0

    def nonzero(self) -> Tensor:
        """Returns the indices of the true elements of a vector."""
        return self.op("NonZero").reshape(-1)
