"""A predictor that runs the network and decodes its maps as the reference implementation does.

It is the baseline of the benchmarks, and an oracle for the tests of `Predictor`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from higherhrnet.config.header import Header
from higherhrnet.engines.torch import TorchEngine
from higherhrnet.errors import InputError, require
from higherhrnet.inference.predictor import Predictor
from higherhrnet.inference.processing import PreprocessedImage
from higherhrnet.network import checkpoint
from higherhrnet.network.higherhrnet import HigherHRNet
from higherhrnet.poses.poses import Poses
from higherhrnet.reference.decoder import aggregate, decode


class ReferencePredictor(Predictor):
    """Runs the network with eager PyTorch in float32, and decodes with `reference.decoder`.

    The network runs once for each view. Images are preprocessed as in `Predictor`, at scale 1 only,
    and decoded with the published settings. On a GPU, the maps stay on the device until the decoder
    copies them to the host.

    Args:
        model: the network.
        header: the header of the model.
    """

    def __init__(self, model: HigherHRNet, header: Header) -> None:
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.model = model.to(self.device)
        engine = TorchEngine(self.model, self.device)
        engine.description = f"reference implementation: {engine.description}"
        super().__init__(engine, header)

    @classmethod
    def from_file(cls, path: Path, threads: int) -> ReferencePredictor:
        """Loads the weights in a .safetensors file.

        Args:
            path: the file.
            threads: number of CPU threads.

        Raises:
            InputError: the file cannot be read, or the decoder of the reference implementation does
                not support its network.
        """
        torch.set_num_threads(threads)
        model, header = checkpoint.load(path)
        require(
            header.model.head == "tags",
            f"the reference implementation has no decoding for the head {header.model.head} of "
            f"{path.name}, so the engines are measured without a comparison",
        )
        if (
            not isinstance(model, HigherHRNet)
            or len(model.config.deconv_kernels) != 1
            or not model.config.tag_per_keypoint
        ):
            raise InputError(
                f"{path}: the reference implementation supports only networks with one transposed "
                "convolution and one tag per keypoint"
            )
        require(
            header.input.convention != "udp",
            f"{path}: the reference implementation does not support the convention udp",
        )
        return cls(model, header)

    def forward(self, images: Sequence[PreprocessedImage]) -> list[Any]:
        """Runs the network on one view at a time.

        Returns:
            For each image, the network's outputs at scale 1, as tensors.
        """
        outputs = []
        for image in images:
            views = torch.from_numpy(image.inputs[1.0]).to(self.device)
            with torch.inference_mode():
                by_view = [self.model(view[None]) for view in views]
                outputs.append({1.0: [torch.cat(maps) for maps in zip(*by_view, strict=True)]})
        return outputs

    def merge_maps(self, preprocessed: PreprocessedImage, outputs: Any) -> Any:  # noqa: ANN401 (tensors)
        """Merges the outputs of one image.

        Args:
            preprocessed: the image.
            outputs: its outputs at scale 1, as tensors or arrays.

        Returns:
            (1, K, H, W) heatmaps and (1, K, H, W, T) tags, as tensors.
        """
        resize = preprocessed.resizes[1.0]
        tensors = [torch.as_tensor(maps, device=self.device) for maps in outputs[1.0]]
        views = [(low[None], high[None]) for low, high in zip(*tensors, strict=True)]
        flip_index, project = self.header.skeleton.flip_index, self.config.project
        return aggregate({1.0: views}, flip_index, resize.size, project)

    def decode_maps(self, preprocessed: PreprocessedImage, maps: Any) -> Poses:  # noqa: ANN401 (tensors)
        """Decodes what `merge_maps` returned into poses in the pixels of the image."""
        heatmaps, tags = maps
        people, scores = decode(heatmaps, tags, self.header.skeleton.grouping_order)
        positions = preprocessed.resizes[1.0].to_image(people[..., :2], heatmaps.shape[2:])
        keypoint_scores = people[..., 2]
        keypoints = (positions * (keypoint_scores[..., None] > 0)).astype("f4")
        return Poses(keypoints, keypoint_scores, scores, self.header.skeleton)
