"""The original's way from photograph to people, as a predictor."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from higherhrnet.bench.clocks import Clocked, now
from higherhrnet.config import Header
from higherhrnet.engines.torch import TorchEngine
from higherhrnet.errors import InputError
from higherhrnet.inference.predictor import PreprocessedImage
from higherhrnet.network import checkpoint
from higherhrnet.network.higherhrnet import HigherHRNet
from higherhrnet.poses import Poses
from higherhrnet.reference import decoder as original


class ReferencePredictor(Clocked):
    """Eager torch in float32, a pass for each view; maps enlarged, then searched person by person.

    Photographs are read and resized as ours, at one scale, and decoded with the published settings.
    On a GPU maps stay there until the original fetches them.
    """

    def __init__(self, model: HigherHRNet, header: Header) -> None:
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.model = model.to(self.device)
        engine = TorchEngine(self.model, self.device)
        engine.description = f"the original's way: {engine.description}"
        super().__init__(engine, header)

    @classmethod
    def from_file(cls, path: Path, threads: int) -> ReferencePredictor:
        """With the weights in a .safetensors file.

        Raises:
            InputError: it is another file, or a network that the original's decoder cannot read.
        """
        torch.set_num_threads(threads)
        model, header = checkpoint.load(path)
        if len(model.config.deconv_kernels) != 1 or not model.config.tag_per_keypoint:
            raise InputError("reads one transposed convolution and a tag a keypoint, no others")
        return cls(model, header)

    def forward(self, prepared: Sequence[PreprocessedImage]) -> list[Any]:
        """The network's outputs for each photograph, as tensors."""
        outputs = []
        for photograph in prepared:
            views = torch.from_numpy(photograph.inputs[1.0]).to(self.device)
            with torch.inference_mode():
                passes = [self.model(view[None]) for view in views]
                outputs.append({1.0: [torch.cat(level) for level in zip(*passes, strict=True)]})
        return outputs

    def postprocess(self, prepared: PreprocessedImage, outputs: Any) -> Poses:  # noqa: ANN401 (arrays or tensors)
        """One photograph's outputs → its people, in the photograph's pixels."""
        start, way, skeleton = now(), prepared.resizes[1.0], self.header.skeleton
        levels = [torch.as_tensor(level, device=self.device) for level in outputs[1.0]]
        views = [(low[None], high[None]) for low, high in zip(*levels, strict=True)]
        heatmaps, tags = original.aggregate(
            {1.0: views}, skeleton.flip_index, (way.height, way.width), self.config.project
        )
        self.merging = now() - start
        people, scores = original.decode(heatmaps, tags, skeleton.grouping_order)
        height, width = heatmaps.shape[2:]
        keypoints = way.to_image(people[..., :2], width, height)
        found = people[..., 2]
        return Poses((keypoints * (found[..., None] > 0)).astype("f4"), found, scores, skeleton)
