"""Rescoring: a small network predicts the accuracy of each pose, which corrects its score.

DEKR, section 3, "Scoring Network": from the shape of a pose and the scores of its keypoints, the
network predicts the Object Keypoint Similarity of the pose with the true one, and the score of the
person is multiplied by it. A network with context has further inputs, among them the score, which
its prediction replaces.
"""

from __future__ import annotations

import numpy as np

from higherhrnet.arrays import DoubleArray, FloatArray
from higherhrnet.config.rescoring import RescoringNetwork

MIN_SIZE = 1e-3
"""The minimum size of a person as an input of the network: a fraction of the image's shorter side.
"""


def rescore(
    keypoints: DoubleArray | FloatArray,
    keypoint_scores: FloatArray,
    scores: FloatArray,
    image_side: float,
    network: RescoringNetwork,
) -> FloatArray:
    """Computes new scores of the people of one image.

    Args:
        keypoints: (P, K, 2) x and y in pixels of the image. Every person has all keypoints.
        keypoint_scores: (P, K) scores of the keypoints.
        scores: (P,) scores of the people before rescoring.
        image_side: length of the image's shorter side in pixels.
        network: the network.

    Returns:
        (P,) new scores.
    """
    features = pose_features(keypoints, keypoint_scores, network)
    if network.context:
        context = context_features(keypoints, scores, image_side)
        features = np.concatenate([features, context], 1)
    return np.asarray(new_scores(scores, features, network), np.float32)


def new_scores(
    scores: DoubleArray | FloatArray, features: FloatArray, network: RescoringNetwork
) -> DoubleArray | FloatArray:
    """Computes (P,) new scores from (P,) scores before rescoring and (P, F) features."""
    predictions = predict_accuracy(features, network)
    return predictions if network.context else scores * predictions


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


def context_features(
    keypoints: DoubleArray | FloatArray, scores: FloatArray, image_side: float
) -> FloatArray:
    """Computes the inputs of a rescoring network with context that `pose_features` does not.

    The box of a person is that around all keypoints.

    Args:
        keypoints: (P, K, 2) x and y in pixels, of all people of one image.
        scores: (P,) scores of the people before rescoring.
        image_side: length of the image's shorter side in pixels.

    Returns:
        (P, 5): the score; the logarithm of the person's size, which is the square root of the area
        of the box divided by `image_side`; the highest intersection over union of the box and that
        of another person; the largest fraction of the box that is inside another person's box; and
        the logarithm of the number of people.
    """
    low, high = keypoints.min(1) / image_side, keypoints.max(1) / image_side
    areas = np.maximum((high - low).prod(1), MIN_SIZE**2)
    sides = np.minimum(high[:, None], high) - np.maximum(low[:, None], low)
    shared = np.maximum(sides, 0).prod(2)
    np.fill_diagonal(shared, 0)
    iou = shared / (areas[:, None] + areas - shared)
    inside = (shared / areas[:, None]).max(1, initial=0)
    count = np.full(len(scores), np.log(max(len(scores), 1)))
    parts = [scores, np.log(areas) / 2, iou.max(1, initial=0), inside, count]
    return np.stack(parts, 1).astype(np.float32)


def predict_accuracy(features: FloatArray, network: RescoringNetwork) -> FloatArray:
    """Runs the network: (P, F) features → (P,) predicted accuracy; see `RescoringNetwork`.

    With context, the predictions are from 0 to 1. Otherwise, they are about 0 to 1, but not limited
    to this range. They are 0 where they would be NaN.
    """
    *hidden, (weight, bias) = network.layers
    x = features
    for hidden_weight, hidden_bias in hidden:
        x = np.maximum(x @ hidden_weight.T + hidden_bias, 0)
    output = (x @ weight.T + bias)[:, 0]
    if network.context:
        output = np.nan_to_num(output, nan=-np.inf)
        return np.asarray(np.exp(-np.logaddexp(0, -output)), np.float32)  # the sigmoid
    return np.asarray(np.nan_to_num(output, nan=0), np.float32)
