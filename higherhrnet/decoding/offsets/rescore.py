"""Rescoring: the score of each person times the quality that a small network predicts.

DEKR, section 3, "Scoring Network": from the shape of a pose and the scores of its keypoints, the
network predicts the Object Keypoint Similarity of the pose with the true one.
"""

from __future__ import annotations

import numpy as np

from higherhrnet.arrays import DoubleArray, FloatArray
from higherhrnet.config.rescoring import RescoringNetwork


def pose_features(
    keypoints: DoubleArray | FloatArray, scores: FloatArray, network: RescoringNetwork
) -> FloatArray:
    """Computes the inputs of the rescoring network.

    Args:
        keypoints: (P, K, 2) x and y in pixels of the image.
        scores: (P, K) scores of the keypoints.
        network: the network.

    Returns:
        (P, F): x and y of each link, then the length of each link, both relative to the mean length
        of the unit links, which is at least one pixel; then the scores.
    """
    first, second = np.array(network.links).T
    links = keypoints[:, first] - keypoints[:, second]
    lengths = np.sqrt((links**2).sum(2))
    unit = np.maximum(lengths[:, list(network.unit_links)].mean(1), 1)[:, None]
    parts = [links.reshape(len(links), 2 * len(first)) / unit, lengths / unit, scores]
    return np.concatenate(parts, 1).astype(np.float32)


def predict_similarity(features: FloatArray, network: RescoringNetwork) -> FloatArray:
    """Runs the network: (P, F) features → (P,) predicted Object Keypoint Similarity.

    The prediction is about 0 to 1, but not limited to this range; it is 0 where it would be NaN.
    """
    *hidden, (weight, bias) = network.layers()
    x = features
    for hidden_weight, hidden_bias in hidden:
        x = np.maximum(x @ hidden_weight.T + hidden_bias, 0)
    return np.asarray(np.nan_to_num((x @ weight.T + bias)[:, 0], nan=0), np.float32)
