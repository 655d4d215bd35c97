"""ONNX graphs written as expressions: nodes and constants, loops and branches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import DTypeLike, NDArray
from onnx import helper

from higherhrnet.graph.decode.tensor import Operand, Tensor

LARGEST = np.int64(2**30)
"""An index above all others; OpenVINO computes with some indices as int32 or float32."""
_COMPARISONS = {"Less", "Greater", "GreaterOrEqual", "Equal"}
_INDICES = {"Shape", "Size", "NonZero", "ArgMax", "ArgMin"}


class Program:
    """The nodes and constants of an ONNX graph, in the order in which they are added."""

    def __init__(self) -> None:
        self.initializers: list[onnx.TensorProto] = []
        """The constants."""
        self.nodes: list[onnx.NodeProto] = []
        """The nodes of the graph, or within `loop` and `branch` those of the inner graph."""
        self._constants: dict[tuple[str, tuple[int, ...], bytes], Tensor] = {}
        self._count = 0

    def input(self, name: str, dtype: DTypeLike) -> Tensor:
        """Returns a tensor that is computed elsewhere."""
        return Tensor(self, name, dtype)

    def constant(self, values: NDArray[Any] | np.generic) -> Tensor:
        """Adds a constant; equal constants are stored once."""
        array = np.asarray(values)
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._constants:
            name = f"people/constant.{len(self._constants)}"
            self.initializers.append(onnx.numpy_helper.from_array(np.array(array, order="C"), name))
            self._constants[key] = Tensor(self, name, array.dtype)
        return self._constants[key]

    def op(
        self,
        operator: str,
        *inputs: Operand,
        dtype: DTypeLike | None = None,
        **attributes: Any,  # noqa: ANN401 (ONNX)
    ) -> Tensor:
        """Adds a node with one output.

        Args:
            operator: the name of the operator.
            inputs: the inputs; None: an optional input that is omitted. Numbers become constants
                of the type of the first tensor.
            dtype: the type of the output (default: that of the operator or of the first tensor).
            attributes: the attributes of the node.
        """
        return self.ops(operator, *inputs, dtypes=[dtype], **attributes)[0]

    def ops(
        self,
        operator: str,
        *inputs: Operand,
        dtypes: Sequence[DTypeLike | None],
        **attributes: Any,  # noqa: ANN401 (ONNX)
    ) -> list[Tensor]:
        """Adds a node with one output for each of `dtypes`; see `op`."""
        first = next((x.dtype for x in inputs if isinstance(x, Tensor)), np.dtype(np.float32))
        default: DTypeLike = first
        if operator in _COMPARISONS:
            default = np.bool_
        elif operator in _INDICES:
            default = np.int64
        outputs = [Tensor(self, self._new_name(operator), dtype or default) for dtype in dtypes]
        names = ["" if x is None else self._to_tensor(x, first).name for x in inputs]
        node = helper.make_node(
            operator, names, [x.name for x in outputs], name=outputs[0].name, **attributes
        )
        self.nodes.append(node)
        return outputs

    def shape(self, *sizes: int | Tensor) -> Tensor:
        """Concatenates numbers and scalar tensors to a vector of integers."""
        if all(isinstance(size, int) for size in sizes):
            return self.constant(np.array(sizes, np.int64))
        parts = [
            self.constant(np.array([size])) if isinstance(size, int) else size.expand_dims(0)
            for size in sizes
        ]
        return parts[0] if len(parts) == 1 else self.concat(parts)

    def concat(self, parts: Sequence[Tensor], axis: int = 0) -> Tensor:
        """Concatenates tensors along an axis."""
        return self.op("Concat", *parts, axis=axis)

    def stack(self, parts: Sequence[Tensor], axis: int) -> Tensor:
        """Stacks tensors along a new axis."""
        return self.concat([part.expand_dims(axis) for part in parts], axis)

    def where(self, condition: Tensor, x: Operand, y: Operand) -> Tensor:
        """Selects elements of x where the condition is true, otherwise of y."""
        dtype = next((v.dtype for v in (x, y) if isinstance(v, Tensor)), np.dtype(np.float32))
        x, y = (self._to_tensor(v, dtype) for v in (x, y))
        return self.op("Where", condition, x, y, dtype=dtype)

    def arange(self, count: Tensor) -> Tensor:
        """Returns the integers from 0 to count - 1."""
        return self.op("Range", np.int64(0), count, np.int64(1), dtype=np.int64)

    def full(self, value: np.generic, *sizes: int | Tensor) -> Tensor:
        """Returns a tensor filled with one value."""
        return self.constant(value).op("Expand", self.shape(*sizes))

    def top_k(
        self, values: Tensor, count: int | Tensor, largest: bool = True
    ) -> tuple[Tensor, Tensor]:
        """Returns the highest elements of a vector from high to low, and their indices.

        Args:
            values: (N,).
            count: number of elements, at most N.
            largest: False: return the lowest elements, from low to high.
        """
        sorted_values, indices = self.ops(
            "TopK", values, self.shape(count), dtypes=[None, np.int64], axis=0, largest=largest
        )
        return sorted_values, indices

    def loop(
        self,
        count: Tensor | None,
        state: Sequence[Tensor],
        body: Callable[..., tuple[Sequence[Tensor], Sequence[Tensor]]],
    ) -> list[Tensor]:
        """Adds a loop.

        Args:
            count: number of iterations; None: until the first tensor of the state, a boolean, is
                false.
            state: the tensors that change from iteration to iteration.
            body: adds the nodes of an iteration. It is called with the index of the iteration and
                the state, and returns the new state and results.

        Returns:
            The last state, then each result, stacked over the iterations.
        """
        names = [self._new_name("iteration"), self._new_name("condition")]
        inputs = [Tensor(self, self._new_name("state"), x.dtype) for x in state]
        index, condition = (
            Tensor(self, name, dtype)
            for name, dtype in zip(names, (np.int64, np.bool_), strict=True)
        )
        split: list[DTypeLike] = []

        def iterate() -> list[Tensor]:
            new, results = body(index, *inputs)
            split[:] = [x.dtype for x in (*new, *results)]
            going = new[0] if count is None else condition
            return [going, *new, *results]

        graph = self._inner_graph("body", iterate, inputs)
        graph.input.insert(0, condition.info([]))
        graph.input.insert(0, index.info([]))
        first = state[0] if count is None else np.bool_(True)
        return self.ops("Loop", count, first, *state, dtypes=split, body=graph)

    def branch(
        self, condition: Tensor, then: Callable[[], Tensor], otherwise: Callable[[], Tensor]
    ) -> Tensor:
        """Adds a branch: computes one of two tensors of the same type."""
        graphs = {
            f"{name}_branch": self._inner_graph(name, lambda add=add: [add()], [])  # type: ignore[misc]
            for name, add in (("then", then), ("else", otherwise))
        }
        dtype = helper.tensor_dtype_to_np_dtype(
            graphs["then_branch"].output[0].type.tensor_type.elem_type
        )
        return self.op("If", condition, dtype=dtype, **graphs)

    def _inner_graph(
        self, name: str, add: Callable[[], list[Tensor]], inputs: Sequence[Tensor]
    ) -> onnx.GraphProto:
        """Returns a graph with the nodes that a function adds, and with its results as outputs."""
        outer, self.nodes = self.nodes, []
        outputs = [x.op("Identity") for x in add()]  # outputs must be computed in the graph
        graph = helper.make_graph(
            self.nodes,
            self._new_name(name),
            [x.info() for x in inputs],
            [x.info() for x in outputs],
        )
        self.nodes = outer
        return graph

    def _to_tensor(self, value: Operand, dtype: np.dtype[Any]) -> Tensor:
        if isinstance(value, Tensor):
            return value
        return self.constant(
            value if isinstance(value, np.ndarray | np.generic) else dtype.type(value)
        )

    def _new_name(self, label: str) -> str:
        self._count += 1
        return f"people/{label}.{self._count}"
