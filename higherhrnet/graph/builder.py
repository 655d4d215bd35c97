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

from higherhrnet.arrays import DoubleArray, FloatArray
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
        """Counts the multiply-adds of all convolutions for one image.

        The numbers of the HigherHRNet paper are about 3 % higher: they count each transposed
        convolution at the size of its output, which gives four times its multiply-adds.

        Args:
            height: height of the input in pixels, a multiple of 32.
            width: width of the input in pixels, a multiple of 32.
        """
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
        self.node(
            "Conv",
            [x.name, *self._filters(name, shape, 0, out.stride, norm=norm, bias=bias)],
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
        self.node(
            "ConvTranspose",
            [x.name, *self._filters(name, shape, 1, x.stride, norm=norm)],
            out,
            kernel_shape=[kernel, kernel],
            strides=[2, 2],
            pads=[padding[0]] * 4,
            output_padding=[padding[1]] * 2,
        )
        return out

    def relu(self, x: Value) -> Value:
        """Adds a ReLU."""
        return self.node("Relu", [x.name], Value(f"{x.name}.relu", x.channels, x.stride))

    def relu6(self, x: Value) -> Value:
        """Adds a ReLU whose output is at most 6."""
        limits = [
            self.constant(f"relu6.{end}", np.float32(limit))
            for end, limit in (("min", 0), ("max", 6))
        ]
        return self.node("Clip", [x.name, *limits], Value(f"{x.name}.relu6", x.channels, x.stride))

    def sigmoid(self, x: Value) -> Value:
        """Adds a sigmoid."""
        return self.node("Sigmoid", [x.name], Value(f"{x.name}.sigmoid", x.channels, x.stride))

    def upsample(self, x: Value, factor: int, *, linear: bool = False) -> Value:
        """Adds an upsampling by a factor: bilinear, or by default nearest-neighbor."""
        scales = self.constant(
            f"upsample.scales{factor}", np.array([1, 1, factor, factor], np.float32)
        )
        return self.node(
            "Resize",
            [x.name, "", scales],
            Value(f"{x.name}.upsample", x.channels, x.stride / factor),
            mode="linear" if linear else "nearest",
            nearest_mode="floor",
            coordinate_transformation_mode="half_pixel" if linear else "asymmetric",
        )

    def add(self, x: Value, y: Value) -> Value:
        """Adds the sum of two tensors of equal shape."""
        return self.node("Add", [x.name, y.name], Value(f"{x.name}.sum", x.channels, x.stride))

    def concat(self, *xs: Value, output: str = "") -> Value:
        """Adds the concatenation of tensors along their channels, as `output` if it is given."""
        out = Value(output or f"{xs[0].name}.concat", sum(x.channels for x in xs), xs[0].stride)
        return self.node("Concat", [x.name for x in xs], out, axis=1)

    def weight(self, name: str, shape: tuple[int, ...]) -> FloatArray:
        """Registers a trainable weight; returns its values, or zeros without weights."""
        self.num_parameters += prod(shape)
        return self.buffer(name, shape)

    def buffer(self, name: str, shape: tuple[int, ...]) -> FloatArray:
        """Registers a weight that is not trained; returns its values, or zeros without weights."""
        self.shapes[name] = shape
        if self._weights is None:
            return np.broadcast_to(np.float32(0), shape)
        return self._weights[name].astype(np.float32, copy=False)

    def norm(self, norm: BatchNorm, channels: int) -> tuple[DoubleArray, DoubleArray]:
        """Registers a batch norm; returns the factor and the offset of each channel."""
        gain, offset = (self.weight(f"{norm.name}.{part}", (channels,)) for part in _TRAINED_PARTS)
        mean, variance = (self.buffer(f"{norm.name}.{part}", (channels,)) for part in _STATISTICS)
        self.shapes[norm.name + BATCH_COUNTER] = ()
        scale = gain / np.sqrt(variance.astype(np.float64) + norm.epsilon)
        return scale, offset - mean * scale

    def count_conv(self, filters: FloatArray, stride: float) -> None:
        """Counts the multiply-adds of a convolution.

        Args:
            filters: the filters.
            stride: the stride of its output, or of the input of a transposed convolution.
        """
        self._costs.append((filters.size, stride))

    def constant(self, name: str, values: NDArray[Any] | np.generic) -> str:
        """Adds a constant of any type, once for each name, and returns the name.

        A builder without weights stores no values.
        """
        if name not in self._constants and self._weights is not None:
            self._constants.add(name)
            tensor = onnx.numpy_helper.from_array(np.asarray(values, order="C"), name)
            self._model.graph.initializer.append(tensor)
        return name

    def node(
        self,
        operator: str,
        inputs: Sequence[str],
        out: Value,
        **attributes: Any,  # noqa: ANN401 (ONNX)
    ) -> Value:
        """Adds a node of any operator, and returns its output."""
        node = helper.make_node(operator, inputs, [out.name], name=out.name, **attributes)
        self._model.graph.node.append(node)
        return out

    def to_model(self, images: Value, outputs: Sequence[Value]) -> onnx.ModelProto:
        """Returns the graph as a model for any batch size, height and width."""
        graph = self._model.graph
        graph.input.append(_value_info(images))
        graph.output.extend(_value_info(output) for output in outputs)
        return self._model

    def _filters(
        self,
        name: str,
        shape: tuple[int, ...],
        axis: int,
        stride: float,
        *,
        norm: BatchNorm | None = None,
        bias: bool = False,
    ) -> list[str]:
        """Adds the filters of a convolution, and its bias if there is one.

        Args:
            name: the name of the layer.
            shape: the shape of the filters.
            axis: the axis of the output channels.
            stride: as in `count_conv`.
            norm: the batch norm to fold into the filters, in float64.
            bias: whether the layer has a bias.

        Returns:
            The names of the initializers.
        """
        arrays = {f"{name}.weight": self.weight(f"{name}.weight", shape)}
        if bias:
            arrays[f"{name}.bias"] = self.weight(f"{name}.bias", (shape[axis],))
        if norm:
            scale, offset = self.norm(norm, shape[axis])
            if self._weights is not None:
                broadcast = [-1 if dimension == axis else 1 for dimension in range(4)]
                filters = arrays[f"{name}.weight"] * scale.reshape(broadcast)
                arrays[f"{name}.weight"] = filters.astype(np.float32)
                offset += scale * arrays.get(f"{name}.bias", 0)
            arrays[f"{name}.bias"] = offset.astype(np.float32)
        self.count_conv(arrays[f"{name}.weight"], stride)
        return [self.constant(key, array) for key, array in arrays.items()]


_TRAINED_PARTS = ("weight", "bias")
_STATISTICS = ("running_mean", "running_var")
BATCH_COUNTER = ".num_batches_tracked"
"""The suffix of a buffer of batch norms that inference does not use."""


def _value_info(value: Value) -> onnx.ValueInfoProto:
    sides = [f"{side}/{value.stride:g}" for side in ("height", "width")]
    shape: list[str | int | None] = ["batch", value.channels, *sides]
    return helper.make_tensor_value_info(value.name, TensorProto.FLOAT, shape)
