"""DEKR: images → heatmaps of the keypoints and of people's centers, and offsets, at stride 4.

"Bottom-Up Human Pose Estimation via Disentangled Keypoint Regression", CVPR 2021, section 3.
Attribute names are those of the paper's authors, so that published weights load.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from higherhrnet.config.model import ModelConfig
from higherhrnet.graph.architecture import OFFSET_BLOCKS, OFFSET_CHANNELS, TAPS
from higherhrnet.network.hrnet import BasicBlock, HRNet, conv_bn, initialize_convolution


class DEKR(HRNet):
    """HRNet as the backbone, a head for heatmaps and a head for offsets.

    Both heads read the features of all four strides, enlarged to stride 4 and concatenated. The
    head for offsets has one branch for each keypoint.

    Args:
        config: the architecture, whose `head` is `offsets`.
    """

    LAST_LAYERS = ("head_heatmap.1", "offset_final_layer")
    """The prefixes of the names of the convolutions that predict the maps."""
    KEYPOINT_WEIGHTS = r"head_heatmap\.1\.|transition_offset\.|offset_"
    """A regular expression that matches the names of the weights that depend on the keypoints."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(
            config.width,
            all_strides=True,
            stem=config.stem,
            modules=config.modules,
            blocks=config.blocks,
        )
        self.config = config
        keypoints, width = config.num_keypoints, config.width
        features = 15 * width + self.num_heatmaps
        self.transition_heatmap = conv_bn(features, width, kernel=1)
        self.transition_offset = conv_bn(features, keypoints * OFFSET_CHANNELS, kernel=1)
        self.head_heatmap = nn.Sequential(
            nn.Sequential(BasicBlock(width)), nn.Conv2d(width, keypoints + 1, 1)
        )
        self.offset_feature_layers = nn.ModuleList(
            nn.ModuleList(AdaptiveBlock(OFFSET_CHANNELS) for _ in range(OFFSET_BLOCKS))
            for _ in range(keypoints)
        )
        self.offset_final_layer = nn.ModuleList(
            nn.Conv2d(OFFSET_CHANNELS, 2, 1) for _ in range(keypoints)
        )
        self.apply(initialize_convolution)
        for module in self.modules():
            if isinstance(module, AdaptiveBlock):
                module.zero_affine()

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Predicts the maps of a batch of normalized images.

        Args:
            images: (B, 3, H, W), with H and W multiples of 32.

        Returns:
            (B, K + 1, H/4, W/4): the heatmaps of the keypoints, then that of the centers; and
            (B, 2K, H/4, W/4): for each keypoint the x and y offset in cells. A cell minus its
            offset is the position of the keypoint of the person whose center is in the cell.

        Raises:
            InputError: H or W is not a multiple of 32.
        """
        features = self.joined_features(images)
        heatmaps = self.head_heatmap(self.transition_heatmap(features))
        return heatmaps, self._offsets(self.transition_offset(features))

    def joined_features(self, images: Tensor) -> Tensor:
        """Computes the (B, 15 · width, H/4, W/4) features of all strides at stride 4."""
        finest, *coarser = self.features(images)
        size = finest.shape[2:]
        enlarged = [F.interpolate(x, size, mode="bilinear") for x in coarser]
        return torch.cat([finest, *enlarged], 1)

    def _offsets(self, x: Tensor) -> Tensor:
        """Runs the branches of all keypoints at once: (B, 15K, h, w) → (B, 2K, h, w)."""
        for depth in range(OFFSET_BLOCKS):
            blocks = [branch[depth] for branch in self.offset_feature_layers]  # type: ignore[index]
            x = run_adaptive_blocks(blocks, x)
        finals = list(self.offset_final_layer)
        return F.conv2d(x, _stack(finals, "weight"), _stack(finals, "bias"), groups=len(finals))


class AdaptiveBlock(nn.Module):
    """A residual block of a 3×3 convolution whose taps are moved by an affine transform.

    The block predicts a 2×2 matrix A and a translation t for each cell. A tap at the position g of
    the regular 3×3 kernel reads the input at the cell plus A·g + t (section 3, "Adaptive
    Convolution").
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        # A constant that the authors' files contain.
        self.register_buffer("regular_matrix", torch.tensor(TAPS, dtype=torch.float32).T.clone())
        self.transform_matrix_conv = nn.Conv2d(channels, 4, 3, padding=1)
        self.translation_conv = nn.Conv2d(channels, 2, 3, padding=1)
        self.adapt_conv = _AdaptiveWeights(channels)
        self.bn = nn.BatchNorm2d(channels)

    def zero_affine(self) -> None:
        """Makes A and t zero, so that all taps read the middle: the state before training."""
        for layer in (self.transform_matrix_conv, self.translation_conv):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        """Applies the block: (B, C, H, W) → (B, C, H, W)."""
        return run_adaptive_blocks([self], x)


class _AdaptiveWeights(nn.Module):
    """The weights of an adaptive convolution, with the initial values of `nn.Conv2d`."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(channels, channels, 3, 3))
        nn.init.kaiming_uniform_(self.weight, a=5**0.5)


def run_adaptive_blocks(blocks: Sequence[AdaptiveBlock], x: Tensor) -> Tensor:
    """Applies G adaptive blocks, each to its own channels: (B, G·C, H, W) → (B, G·C, H, W)."""
    groups = len(blocks)
    parts = [part for b in blocks for part in (b.transform_matrix_conv, b.translation_conv)]
    affine = F.conv2d(x, _stack(parts, "weight"), _stack(parts, "bias"), padding=1, groups=groups)
    rows, columns = _tap_positions(affine)
    weight = _stack([block.adapt_conv for block in blocks], "weight")
    y = adaptive_convolution(x, rows, columns, weight)
    return F.relu(_batch_norm([block.bn for block in blocks], y) + x)


def _batch_norm(norms: Sequence[nn.BatchNorm2d], x: Tensor) -> Tensor:
    """Applies G batch norms, each to its own channels: (B, G·C, H, W) → (B, G·C, H, W)."""
    if norms[0].training:  # each updates its own statistics, also as a SyncBatchNorm
        parts = zip(norms, x.chunk(len(norms), 1), strict=True)
        return torch.cat([norm(part) for norm, part in parts], 1)
    mean, variance, weight, bias = (
        _stack(norms, name) for name in ("running_mean", "running_var", "weight", "bias")
    )
    return F.batch_norm(x, mean, variance, weight, bias, eps=norms[0].eps)


def _stack(layers: Sequence[nn.Module], name: str) -> Tensor:
    return torch.cat([getattr(layer, name) for layer in layers])


def _tap_positions(affine: Tensor) -> tuple[Tensor, Tensor]:
    """Computes where the taps read.

    Args:
        affine: (B, 6G, H, W) the matrices A, row by row, and the translations t of G blocks.

    Returns:
        (B·G, 9, H, W) rows and columns of the taps, at least in float32.
    """
    _, _, height, width = affine.shape
    dtype = torch.promote_types(affine.dtype, torch.float32)  # float16 has too few digits
    a0, a1, a2, a3, down, right = affine.to(dtype).reshape(-1, 6, height, width).unbind(1)
    row = torch.arange(height, dtype=dtype, device=affine.device)[:, None] + down
    column = torch.arange(width, dtype=dtype, device=affine.device) + right
    rows = [row + (a0 * y + a1 * x) for y, x in TAPS]
    columns = [column + (a2 * y + a3 * x) for y, x in TAPS]
    return torch.stack(rows, 1), torch.stack(columns, 1)


def adaptive_convolution(x: Tensor, rows: Tensor, columns: Tensor, weight: Tensor) -> Tensor:
    """Computes a 3×3 convolution in G groups whose taps read at given positions.

    Values between cells are interpolated bilinearly; cells outside the map are 0. At whole
    positions, the derivatives with respect to the position are those toward higher positions.

    The three taps of a row of the kernel are computed at once: the values that all nine read would
    take nine times the memory of the input, and single taps take more time.

    Args:
        x: (B, G·C, H, W) input.
        rows: (B·G, 9, H, W) the row that each tap reads for each output.
        columns: (B·G, 9, H, W) the column that each tap reads.
        weight: (G·O, C, 3, 3) weights.

    Returns:
        (B, G·O, H, W).
    """
    batch, channels, height, width = x.shape
    groups = channels // weight.shape[1]
    maps = x.reshape(batch * groups, -1, height, width)
    if rows.requires_grad and not torch.compiler.is_exporting():
        # Normalized positions are exact, and so are derivatives at whole positions, only if the
        # sides of the map are powers of 2.
        padding = [2 ** (side - 1).bit_length() - side for side in (width, height)]
        maps = F.pad(maps, (0, padding[0], 0, padding[1]))
    y, x_ = (2 * rows + 1) / maps.shape[2] - 1, (2 * columns + 1) / maps.shape[3] - 1
    grid = torch.stack([x_, y], 4)  # (B·G, 9, H, W, 2), -1 to 1
    parts = []
    for row in range(3):
        places = grid[:, 3 * row : 3 * row + 3].reshape(-1, 3 * height, width, 2)
        values = F.grid_sample(
            maps.to(grid.dtype), places, "bilinear", "zeros", align_corners=False
        )
        values = values.reshape(batch, 3 * channels, height, width).to(x.dtype)
        parts.append(
            F.conv2d(values, weight[:, :, row].reshape(-1, 3 * maps.shape[1], 1, 1), groups=groups)
        )
    return parts[0] + parts[1] + parts[2]
