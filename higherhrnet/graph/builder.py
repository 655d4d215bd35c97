"""Builds ONNX graphs of convolutional networks from weights by name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from higherhrnet.arrays import FloatArray
from higherhrnet.io.weights import Weights

OPSET, IR_VERSION = 18, 10
"""The versions of ONNX's operators and files, which ONNX Runtime 1.20 and later support."""


@dataclass(frozen=True)
class Value:
    """A tensor of the graph, (B, channels, H / stride, W / stride) for (B, 3, H, W) images."""

    name: str
    channels: int
    stride: float


@dataclass(frozen=True)
class BatchNorm:
    """A batch norm, which is folded into the convolution before it."""

    name: str
    epsilon: float = 1e-5


class GraphBuilder:
    """Adds the layers of a network to an ONNX graph.

    Args:
        weights: the weights of the network, of the shapes that a builder without weights computes;
            None: only `shapes`, `num_parameters` and `multiply_adds` are computed.
    """

    def __init__(self, weights: Weights | None = None) -> None:
        self.shapes: dict[str, tuple[int, ...]] = {}
        """The shape of every weight and buffer of the network."""
        self.num_parameters = 0
        """The number of trainable weights."""
        self._weights = weights
        # The model is filled in place, since a copy of the graph would copy the weights.
        self._model = helper.make_model(
            onnx.GraphProto(name="higherhrnet"),
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
            producer_name="higherhrnet",
        )
        self._constants: set[str] = set()
        self._costs: list[tuple[int, float]] = []  # of convolutions: multiply-adds per cell, stride

    def multiply_adds(self, height: int, width: int) -> int:
        """Counts the multiply-adds of all convolutions for one image of the given size."""
        return sum(
            cost * int(height / stride) * int(width / stride) for cost, stride in self._costs
        )

    def conv(
        self,
        x: Value,
        name: str,
        channels: int,
        kernel: int = 1,
        stride: int = 1,
        *,
        groups: int = 1,
        norm: BatchNorm | None = None,
        bias: bool = False,
        pads: tuple[int, int] | None = None,
        output: str = "",
    ) -> Value:
        """Adds a convolution.

        Args:
            x: the input.
            name: the name of the layer.
            channels: number of output channels.
            kernel: side of the kernel.
            stride: stride of the convolution.
            groups: number of groups of channels.
            norm: the batch norm that follows.
            bias: whether the layer has a bias.
            pads: number of rows and columns of zeros before and after the input (default: half a
                kernel each).
            output: the name of the result (default: derived from the name of the layer).
        """
        before, after = pads or (kernel // 2, kernel // 2)
        shape = (channels, x.channels // groups, kernel, kernel)
        out = Value(output or f"{name}.output", channels, x.stride * stride)
        self._costs.append((prod(shape), out.stride))
        self._add(
            "Conv",
            [x.name, *self._filters(name, shape, 0, norm, bias)],
            out,
            kernel_shape=[kernel, kernel],
            strides=[stride, stride],
            pads=[before, before, after, after],
            group=groups,
        )
        return out

    def transposed_conv(
        self,
        x: Value,
        name: str,
        channels: int,
        kernel: int,
        padding: tuple[int, int],
        norm: BatchNorm,
    ) -> Value:
        """Adds a transposed convolution that doubles height and width, and its batch norm.

        Args:
            x: the input.
            name: the name of the layer.
            channels: number of output channels.
            kernel: side of the kernel.
            padding: padding and output padding, as in torch.
            norm: the batch norm that follows.
        """
        shape = (x.channels, channels, kernel, kernel)
        out = Value(f"{name}.output", channels, x.stride / 2)
        self._costs.append((prod(shape), x.stride))
        self._add(
            "ConvTranspose",
            [x.name, *self._filters(name, shape, 1, norm, False)],
            out,
            kernel_shape=[kernel, kernel],
            strides=[2, 2],
            pads=[padding[0]] * 4,
            output_padding=[padding[1]] * 2,
        )
        return out

    def relu(self, x: Value) -> Value:
        """Adds a ReLU."""
        return self._add("Relu", [x.name], Value(f"{x.name}.relu", x.channels, x.stride))

    def relu6(self, x: Value) -> Value:
        """Adds a ReLU whose output is at most 6."""
        limits = [self._constant("relu6.min", 0.0), self._constant("relu6.max", 6.0)]
        return self._add("Clip", [x.name, *limits], Value(f"{x.name}.relu6", x.channels, x.stride))

    def sigmoid(self, x: Value) -> Value:
        """Adds a sigmoid."""
        return self._add("Sigmoid", [x.name], Value(f"{x.name}.sigmoid", x.channels, x.stride))

    def upsample(self, x: Value, factor: int, *, linear: bool = False) -> Value:
        """Adds an upsampling by a factor: bilinear, or by default nearest-neighbor."""
        scales = self._constant(f"upsample.scales{factor}", [1.0, 1.0, factor, factor])
        return self._add(
            "Resize",
            [x.name, "", scales],
            Value(f"{x.name}.upsample", x.channels, x.stride / factor),
            mode="linear" if linear else "nearest",
            nearest_mode="floor",
            coordinate_transformation_mode="half_pixel" if linear else "asymmetric",
        )

    def add(self, x: Value, y: Value) -> Value:
        """Adds the sum of two tensors of equal shape."""
        return self._add("Add", [x.name, y.name], Value(f"{x.name}.sum", x.channels, x.stride))

    def concat(self, *xs: Value) -> Value:
        """Adds the concatenation of tensors along their channels."""
        out = Value(f"{xs[0].name}.concat", sum(x.channels for x in xs), xs[0].stride)
        return self._add("Concat", [x.name for x in xs], out, axis=1)

    def weight(self, name: str, shape: tuple[int, ...]) -> FloatArray:
        """Registers a trainable weight; returns its values, or zeros without weights."""
        self.num_parameters += prod(shape)
        return self.buffer(name, shape)

    def buffer(self, name: str, shape: tuple[int, ...]) -> FloatArray:
        """Registers a weight that is not trained; returns its values, or zeros without weights."""
        self.shapes[name] = shape
        if self._weights is None:
            return np.zeros(shape, np.float32)
        return self._weights[name].astype(np.float32, copy=False)

    def norm(self, norm: BatchNorm, channels: int) -> tuple[FloatArray, FloatArray]:
        """Registers a batch norm; returns the factor and the offset of each channel."""
        gain, offset = (self.weight(f"{norm.name}.{part}", (channels,)) for part in _NORM_PARTS[:2])
        mean, variance = (
            self.buffer(f"{norm.name}.{part}", (channels,)) for part in _NORM_PARTS[2:]
        )
        self.shapes[norm.name + BATCH_COUNTER] = ()
        scale = gain.astype(np.float64) / np.sqrt(variance.astype(np.float64) + norm.epsilon)
        return scale.astype(np.float32), (offset - mean * scale).astype(np.float32)

    def count_conv(self, filters: FloatArray, stride: float) -> None:
        """Counts the multiply-adds of a convolution whose output has a stride."""
        self._costs.append((filters.size, stride))

    def constant(self, name: str, values: NDArray[Any] | np.generic) -> str:
        """Adds a constant of any type, once for each name."""
        if name not in self._constants:
            self._constants.add(name)
            tensor = onnx.numpy_helper.from_array(np.asarray(values), name)
            self._model.graph.initializer.append(tensor)
        return name

    def node(self, operator: str, inputs: list[str], out: Value, **attributes: Any) -> Value:  # noqa: ANN401 (of ONNX)
        """Adds a node of any operator."""
        return self._add(operator, inputs, out, **attributes)

    def to_model(self, images: Value, outputs: Sequence[Value]) -> onnx.ModelProto:
        """Returns the graph as a model for any batch size, height and width."""
        graph = self._model.graph
        graph.input.append(_value_info(images))
        graph.output.extend(_value_info(output) for output in outputs)
        return self._model

    def _filters(
        self, name: str, shape: tuple[int, ...], axis: int, norm: BatchNorm | None, bias: bool
    ) -> list[str]:
        """Adds the filters of a convolution, and its bias if there is one.

        Args:
            name: the name of the layer.
            shape: the shape of the filters.
            axis: the axis of the output channels.
            norm: the batch norm to fold into the filters.
            bias: whether the layer has a bias.

        Returns:
            The names of the initializers.
        """
        channels = (shape[axis],)
        names = [f"{name}.weight", *([f"{name}.bias"] if bias else [])]
        self.shapes |= dict(zip(names, (shape, channels), strict=False))
        self.num_parameters += prod(shape) + bias * channels[0]
        if norm:
            statistics = [f"{norm.name}.{part}" for part in _NORM_PARTS]
            self.shapes |= dict.fromkeys(statistics, channels) | {norm.name + BATCH_COUNTER: ()}
            self.num_parameters += 2 * channels[0]
        if self._weights is None:
            return names
        arrays = [self._weights[key].astype(np.float32, copy=False) for key in names]
        if norm:
            arrays = _fold(arrays, [self._weights[key] for key in statistics], axis, norm.epsilon)
            names = [f"{name}.weight", f"{name}.bias"]
        for key, array in zip(names, arrays, strict=True):
            self._add_initializer(key, array)
        return names

    def _constant(self, name: str, value: float | list[float]) -> str:
        if name not in self._constants:
            self._constants.add(name)
            self._add_initializer(name, np.array(value, np.float32))
        return name

    def _add_initializer(self, name: str, array: FloatArray) -> None:
        tensor = self._model.graph.initializer.add(name=name, data_type=TensorProto.FLOAT)
        tensor.dims.extend(array.shape)
        tensor.raw_data = array.astype("<f4", copy=False).tobytes()

    def _add(self, operator: str, inputs: list[str], out: Value, **attributes: Any) -> Value:  # noqa: ANN401 (of ONNX)
        node = helper.make_node(operator, inputs, [out.name], name=out.name, **attributes)
        self._model.graph.node.append(node)
        return out


_NORM_PARTS = ("weight", "bias", "running_mean", "running_var")
BATCH_COUNTER = ".num_batches_tracked"
"""The suffix of a buffer of batch norms that inference does not use."""


def _fold(
    arrays: Sequence[NDArray[Any]], norm: Sequence[NDArray[Any]], axis: int, epsilon: float
) -> list[FloatArray]:
    """Folds a batch norm into the filters, and the bias, of a convolution, in float64."""
    gain, offset, mean, variance = (part.astype(np.float64) for part in norm)
    scale = gain / np.sqrt(variance + epsilon)
    bias = arrays[1] if len(arrays) > 1 else 0
    shape = [-1 if dimension == axis else 1 for dimension in range(4)]
    weight = (arrays[0] * scale.reshape(shape)).astype(np.float32)
    return [weight, (offset + (bias - mean) * scale).astype(np.float32)]


def _value_info(value: Value) -> onnx.ValueInfoProto:
    sides = [f"{side}/{value.stride:g}" for side in ("height", "width")]
    shape: list[str | int | None] = ["batch", value.channels, *sides]
    return helper.make_tensor_value_info(value.name, TensorProto.FLOAT, shape)
