"""The keypoints of COCO-WholeBody in addition to COCO's: feet, face and hands.

The names, limbs, pairs and sigmas are those of the dataset (Jin et al., ECCV 2020) as MMPose lists
them.
"""

from __future__ import annotations

_FINGERS = ("thumb", "forefinger", "middle_finger", "ring_finger", "pinky_finger")
_SIDES = ("left", "right")
_FEET = tuple(f"{side}_{part}" for side in _SIDES for part in ("big_toe", "small_toe", "heel"))
_HANDS = tuple(
    f"{side}_{part}"
    for side in _SIDES
    for part in ("hand_root", *(f"{finger}{joint}" for finger in _FINGERS for joint in range(1, 5)))
)

NAMES = (*_FEET, *(f"face-{index}" for index in range(68)), *_HANDS)
"""The names of the 6 keypoints of the feet, the 68 of the face and the 42 of the hands."""

LIMBS = (
    *((f"{foot.split('_')[0]}_ankle", foot) for foot in _FEET),
    *(
        (
            f"{side}_wrist" if joint == 1 else f"{side}_{finger}{joint - 1}",
            f"{side}_{finger}{joint}",
        )
        for side in _SIDES
        for finger in _FINGERS
        for joint in range(1, 5)
    ),
)
"""The limbs of the feet and the hands; the face has none."""

_FACE_PAIRS = (
    *((index, 16 - index) for index in range(8)),  # jaw
    *((index, 43 - index) for index in range(17, 22)),  # eyebrows
    (31, 35), (32, 34),  # nose
    (36, 45), (37, 44), (38, 43), (39, 42), (40, 47), (41, 46),  # eyes
    (48, 54), (49, 53), (50, 52), (55, 59), (56, 58),  # outline of the mouth
    (60, 64), (61, 63), (65, 67),  # inner side of the lips
)  # fmt: skip
FLIP_PAIRS = (
    *((name, name.replace("left", "right")) for name in (*_FEET, *_HANDS) if "left" in name),
    *((f"face-{a}", f"face-{b}") for a, b in _FACE_PAIRS),
)
"""The keypoints that are exchanged by a flip."""

_HAND_SIGMAS = (
    0.029, 0.022, 0.035, 0.037, 0.047, 0.026, 0.025, 0.024, 0.035, 0.018, 0.024, 0.022, 0.026,
    0.017, 0.021, 0.021, 0.032, 0.02, 0.019, 0.022, 0.031,
)  # fmt: skip
SIGMAS = (
    # feet
    0.068, 0.066, 0.066, 0.092, 0.094, 0.094,
    # face
    0.042, 0.043, 0.044, 0.043, 0.040, 0.035, 0.031, 0.025, 0.020, 0.023, 0.029, 0.032, 0.037,
    0.038, 0.043, 0.041, 0.045, 0.013, 0.012, 0.011, 0.011, 0.012, 0.012, 0.011, 0.011, 0.013,
    0.015, 0.009, 0.007, 0.007, 0.007, 0.012, 0.009, 0.008, 0.016, 0.010, 0.017, 0.011, 0.009,
    0.011, 0.009, 0.007, 0.013, 0.008, 0.011, 0.012, 0.010, 0.034, 0.008, 0.008, 0.009, 0.008,
    0.008, 0.007, 0.010, 0.008, 0.009, 0.009, 0.009, 0.007, 0.007, 0.008, 0.011, 0.008, 0.008,
    0.008, 0.01, 0.008,
    # hands
    *_HAND_SIGMAS, *_HAND_SIGMAS,
)  # fmt: skip
"""The sigmas, in the order of `NAMES`."""
