"""Trains the offsets of the bundled model; the rest of the network does not change.

    python -m tools.offset_head assembled.safetensors offsets.safetensors features \
        coco_train/annotations.json coco_more/annotations.json

The network processes each image once, plain and flipped, at the scales of the model's inference
settings. The features at cells that belong to people are written into the folder `features`, so
that an interrupted run continues, and the training itself takes minutes.
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
import tyro
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm
from tyro.conf import Positional

from higherhrnet import Predictor
from higherhrnet.errors import InputError, require
from higherhrnet.network import checkpoint
from higherhrnet.network.center_head import CenterBranch
from higherhrnet.network.higherhrnet import HigherHRNet
from tools.offset_cells import Cells, collect, read_cells


def train_offsets(
    model: Positional[Path],
    out: Positional[Path],
    features: Positional[Path],
    annotations: Positional[list[Path]],
    /,
    *,
    epochs: int = 6,
    batch_size: int = 256,
    lr: float = 1e-3,
    weight_decay: float = 0.1,
    dropout: float = 0.2,
    bf16: bool = False,
) -> None:
    """Trains the head for offsets, and writes the model with it.

    Args:
        model: A .safetensors file of a network that predicts tags and offsets.
        out: The .safetensors file to write.
        features: A folder for the features. Those that it contains are not computed again; delete
            it if the model has changed.
        annotations: COCO keypoint files, each beside the folder of its images.
        epochs: Number of passes over the cells.
        batch_size: Number of cells per batch.
        lr: Learning rate of AdamW, which decreases to 0 along a cosine.
        weight_decay: Weight decay of AdamW.
        dropout: Fraction of the coarser features that are 0 in a training step.
        bf16: Compute the features in bfloat16, which is faster on processors that support it.
    """
    torch.manual_seed(0)
    network, header = checkpoint.load(model)
    if not (isinstance(network, HigherHRNet) and network.center_head and network.num_heatmaps):
        raise InputError(f"{model}: is not a network with a MoveNet stem and a head for offsets")
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # faster on CPUs
    predictor = Predictor.load(model, engine="torch")
    folders = [collect(network, predictor, path, features, bf16) for path in annotations]
    cells = read_cells([file for folder in folders for file in folder])
    require(
        len(cells.sizes) >= batch_size,
        f"the images have {len(cells.sizes)} cells of people, fewer than a batch ({batch_size})",
    )
    branch = network.center_head.offsets
    fit(branch, cells, epochs, batch_size, lr, weight_decay, dropout)
    checkpoint.save(out, network, header)


def fit(
    branch: CenterBranch,
    cells: Cells,
    epochs: int,
    batch_size: int,
    lr: float,
    weight_decay: float,
    dropout: float,
) -> None:
    """Minimizes the mean distance of the keypoints, as a fraction of the person's size.

    The branch gets the moving average of the weights over about 100 steps.
    """
    sample = cells.coarser[torch.randperm(len(cells.coarser))[:20_000]].float()
    mean, std = sample.mean(0), sample.std(0) + 1e-3
    change_features(branch, mean, std)
    average = AveragedModel(branch, multi_avg_fn=get_ema_multi_avg_fn(0.99))  # type: ignore[no-untyped-call]
    optimizer = torch.optim.AdamW(branch.parameters(), lr, weight_decay=weight_decay)
    steps = epochs * (len(cells.sizes) // batch_size)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    progress = tqdm(total=steps, disable=None)
    for _ in range(epochs):
        order = torch.randperm(len(cells.sizes))
        for start in range(0, len(order) - batch_size + 1, batch_size):
            batch = order[start : start + batch_size]
            patches, coarser, offsets, sizes, weights = (part[batch] for part in cells)
            normalized = F.dropout((coarser.float() - mean) / std, dropout)
            predicted = predict_at(branch, patches.float(), normalized)
            labeled = ~offsets.isnan().any(2)
            errors = (predicted - offsets).nan_to_num().square().sum(2).add(1e-6).sqrt()
            of_cells = (errors * labeled).sum(1) / labeled.sum(1) / sizes
            loss = (of_cells * weights).sum() / weights.sum()
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
            average.update_parameters(branch)
            progress.update()
            progress.set_postfix(loss=f"{loss.item():.4f}", refresh=False)
    branch.load_state_dict(average.module.state_dict())
    change_features(branch, -mean / std, 1 / std)


@torch.no_grad()
def change_features(branch: CenterBranch, mean: Tensor, std: Tensor) -> None:
    """Changes the weights so that (f - mean) / std gives the same offsets as the features f did."""
    first, *others = convolutions(branch)
    assert first.bias is not None
    start = 0
    for layer in others:
        end = start + layer.in_channels
        first.bias += layer.weight[:, :, 0, 0] @ mean[start:end]
        layer.weight *= std[start:end, None, None]
        start = end


def predict_at(branch: CenterBranch, patches: Tensor, coarser: Tensor) -> Tensor:
    """Predicts the offsets of N cells from their features: (N, K, 2); see `Cells`."""
    first, *others = convolutions(branch)
    weight = torch.cat([layer.weight[:, :, 0, 0] for layer in others], 1)
    finest = (patches * branch.depthwise.weight[:, 0]).sum((2, 3))
    total = F.linear(finest, first.weight[:, :, 0, 0], first.bias) + F.linear(coarser, weight)
    offsets = F.linear(F.relu(total), branch.predict.weight[:, :, 0, 0], branch.predict.bias)
    return offsets.reshape(len(offsets), -1, 2)


def convolutions(branch: CenterBranch) -> list[nn.Conv2d]:
    """Returns the 1×1 convolutions that read the features of each stride, finest first."""
    return [layer for layer in branch.project if isinstance(layer, nn.Conv2d)]


if __name__ == "__main__":
    tyro.cli(train_offsets)
