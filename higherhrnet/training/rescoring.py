"""Trains the rescoring network of a model from its results on annotated images.

"Bottom-Up Human Pose Estimation via Disentangled Keypoint Regression" (DEKR, CVPR 2021), section 3,
"Scoring Network". Networks with context have further inputs and another target.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from higherhrnet.arrays import DoubleArray, FloatArray, IndexArray
from higherhrnet.config.rescoring import (
    NUM_CONTEXT_INPUTS,
    RescoringNetwork,
    RescoringTraining,
)
from higherhrnet.decoding.rescore import pose_features
from higherhrnet.errors import InputError
from higherhrnet.poses.skeleton import Skeleton
from higherhrnet.training.rescore_pairs import PosePairs
from higherhrnet.zoo.convert_dekr import authors_links

_HIDDEN, _HIDDEN_CONTEXT = 256, 64
"""Number of units of each hidden layer. With context, 256 units have the same AP, and add 460 KB
instead of 50 KB to a model file."""
_MIN_STEPS = 2000
"""The number of steps of the optimizer that a training has at least if `epochs` is not set.
Networks with context have no minimum: with the poses of two thousand images and 256 hidden units,
AP on other images decreased after about 200 steps (25 epochs)."""
_EPOCHS = 20
_MIN_BATCHES = 8
"""The number of batches of an epoch, at least, as far as there are as many poses."""


def initial_network(skeleton: Skeleton, seed: int, context: bool = False) -> RescoringNetwork:
    """Creates a rescoring network with random weights, as the code of DEKR's authors does.

    Its links are those of the authors for COCO and CrowdPose. Otherwise, they are the limbs of the
    skeleton, whose mean length is the unit of all lengths.

    Raises:
        InputError: the skeleton has no limbs.
    """
    links, unit_links = authors_links(skeleton) or (skeleton.limb_index, ())
    if not links:
        raise InputError(
            f"the skeleton {skeleton.name} has no limbs, by which rescoring measures poses; train "
            "the model with --skeleton FILE.toml that defines limbs"
        )
    unit_links = unit_links or tuple(range(len(links)))
    count = len(skeleton)
    num_inputs = 3 * len(links) + count + NUM_CONTEXT_INPUTS * context
    generator = torch.Generator().manual_seed(seed)
    layers = []
    hidden = _HIDDEN_CONTEXT if context else _HIDDEN
    for outputs, inputs in ((hidden, num_inputs), (hidden, hidden), (1, hidden)):
        weight = torch.empty(outputs, inputs)
        nn.init.kaiming_uniform_(weight, a=1, generator=generator)
        layers.append((weight.numpy(), np.zeros(outputs, np.float32)))
    return RescoringNetwork.from_layers(layers, count, links, unit_links, context)


def network_inputs(
    network: RescoringNetwork, poses: DoubleArray, context: FloatArray
) -> FloatArray:
    """Computes the (N, F) inputs of a network for (N, K, 3) poses and their context features."""
    features = pose_features(poses[..., :2], poses[..., 2].astype(np.float32), network)
    return np.concatenate([features, context], 1)


def fraction_of_thresholds(similarity: DoubleArray) -> DoubleArray:
    """Converts OKS to about the fraction of COCO's thresholds, 0.50 to 0.95, that it passes."""
    return np.asarray((similarity - 0.45) / 0.5).clip(0, 1)


def train_network(
    network: RescoringNetwork, pairs: PosePairs, config: RescoringTraining
) -> RescoringNetwork:
    """Trains a rescoring network to predict the accuracy of poses.

    A network with context learns the fraction of the thresholds of OKS that a pose passes.

    Args:
        network: the network to start from.
        pairs: at least one pose and its similarity.
        config: the settings. The last batch of an epoch is left out if it is incomplete.

    Returns:
        The trained network.
    """
    count = len(pairs.poses)
    batch = min(config.batch_size, max(1, count // _MIN_BATCHES))
    min_steps = 0 if network.context else _MIN_STEPS
    epochs = config.epochs or max(_EPOCHS, -(-min_steps // (count // batch)))
    rng = np.random.default_rng(config.seed)
    orders = (rng.permutation(count) for _ in range(epochs))
    features, targets = network_inputs(network, pairs.poses, pairs.context), pairs.similarity
    if network.context:
        targets = fraction_of_thresholds(targets)
    return fit(network, features, targets.astype(np.float32), orders, batch, config.lr)[0]


def fit(
    network: RescoringNetwork,
    features: FloatArray,
    targets: FloatArray,
    orders: Iterable[IndexArray],
    batch_size: int,
    lr: float,
) -> tuple[RescoringNetwork, list[float]]:
    """Minimizes the mean squared error with Adam; with context, the binary cross entropy.

    Args:
        network: the network to start from.
        features: (N, F) the inputs of the network.
        targets: (N,) the values to predict.
        orders: for each epoch, the (N,) order of the poses.
        batch_size: number of poses per batch; the last batch of an epoch is left out if it is
            incomplete.
        lr: learning rate.

    Returns:
        The trained network, and the mean loss of each epoch.
    """
    parameters = [
        nn.Parameter(torch.from_numpy(part.copy())) for layer in network.layers for part in layer
    ]
    optimizer = torch.optim.Adam(parameters, lr)
    inputs, goals = torch.from_numpy(features), torch.from_numpy(targets)
    loss_of = F.binary_cross_entropy_with_logits if network.context else F.mse_loss
    mean_losses = []
    for order in orders:
        losses = []
        for start in range(0, len(order) - batch_size + 1, batch_size):
            chosen = torch.from_numpy(order[start : start + batch_size])
            x = inputs[chosen]
            for weight, bias in zip(parameters[:-2:2], parameters[1:-2:2], strict=True):
                x = F.relu(F.linear(x, weight, bias))
            loss = loss_of(F.linear(x, *parameters[-2:])[:, 0], goals[chosen])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            losses.append(loss.item())
        mean_losses.append(float(np.mean(losses)))
    arrays = [parameter.detach().numpy() for parameter in parameters]
    layers = list(zip(arrays[::2], arrays[1::2], strict=True))
    trained = RescoringNetwork.from_layers(
        layers, network.num_keypoints, network.links, network.unit_links, network.context
    )
    return trained, mean_losses
