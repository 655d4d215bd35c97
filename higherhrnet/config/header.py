"""The header of a model file, which is stored as JSON in the file's metadata."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import dacite

from higherhrnet.config.inference import InferenceConfig
from higherhrnet.config.model import InputConfig, ModelConfig
from higherhrnet.config.rescoring import RescoringNetwork
from higherhrnet.errors import InputError, require
from higherhrnet.poses.skeleton import Skeleton
from higherhrnet.poses.skeletons import COCO


@dataclass(frozen=True)
class Header:
    """The metadata of a model file.

    It has what is needed to build the network, preprocess its input and decode its output.
    """

    model: ModelConfig = field(default_factory=ModelConfig)
    skeleton: Skeleton = COCO
    input: InputConfig = field(default_factory=InputConfig)
    inference: InferenceConfig = field(default_factory=InferenceConfig)
    """The inference settings that suit these weights best."""
    training: dict[str, Any] = field(default_factory=dict)
    """Training metadata: data, recipe, epochs, metrics, license."""
    rescoring: RescoringNetwork | None = None
    """The network that corrects the scores of people, for networks that predict offsets, with or
    without tags."""

    def __post_init__(self) -> None:
        require(
            self.model.num_keypoints == len(self.skeleton),
            f"the network has {self.model.num_keypoints} keypoints, "
            f"the skeleton {self.skeleton.name} has {len(self.skeleton)}",
        )
        require(
            self.rescoring is None or self.rescoring.num_keypoints == len(self.skeleton),
            f"the rescoring network is not for the {len(self.skeleton)} keypoints of the skeleton",
        )
        require(
            self.model.head == "tags" or self.input.convention != "udp",
            "networks that predict offsets do not support the convention udp",
        )
        self.inference.require_convention(self.input.convention)

    KEY = "higherhrnet"
    """The key of the header in a file's metadata."""

    def to_metadata(self) -> dict[str, str]:
        """Converts the header to metadata of a safetensors or ONNX file."""
        return {self.KEY: json.dumps(asdict(self))}

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str] | None, source: str) -> Header:
        """Reads the header from the metadata of a file.

        Args:
            metadata: the entries of the file.
            source: the name of the file, for error messages.

        Raises:
            InputError: there is no header, or it has unknown, missing or invalid fields.
        """
        try:
            text = (metadata or {})[cls.KEY]
        except KeyError as error:
            raise InputError(
                f"{source}: has no higherhrnet header, so the architecture is unknown; convert "
                "weights of the paper's authors or of MMPose from their .pth file: higherhrnet "
                "convert FILE.pth OUT.safetensors"
            ) from error
        try:
            return _parse(json.loads(text))
        except (ValueError, RecursionError, dacite.DaciteError) as error:
            reason = " ".join(str(error).split())
            raise InputError(f"{source}: the header is invalid: {reason}") from error


def _parse(values: Any) -> Header:  # noqa: ANN401 (JSON)
    """Parses a header, including field names of earlier versions."""
    if not isinstance(values, dict):
        raise InputError(f"it must be an object, not {values!r}")
    values = _with_current_names(values)
    # The dataclasses have tuples where JSON has lists, except in the training metadata.
    values = {key: value if key == "training" else _tuples(value) for key, value in values.items()}
    config = dacite.Config(strict=True, type_hooks={k: _no_bool(k) for k in (int, float)})
    return dacite.from_dict(Header, values, config)


def _tuples(value: Any) -> Any:  # noqa: ANN401 (JSON)
    if isinstance(value, list):
        return tuple(map(_tuples, value))
    if isinstance(value, dict):
        return {key: _tuples(item) for key, item in value.items()}
    return value


def _no_bool(kind: type) -> Callable[[Any], Any]:
    """Creates a dacite hook that rejects booleans, which are integers in Python."""

    def check(value: Any) -> Any:  # noqa: ANN401 (JSON)
        if isinstance(value, bool):
            raise dacite.WrongTypeError(kind, value)
        return value

    return check


def _with_current_names(header: dict[str, Any]) -> dict[str, Any]:
    """Renames fields of earlier versions."""
    header = dict(header)
    if "test" in header:
        header["inference"] = header.pop("test")
    for path, old, new in (
        (("model",), "trunk", "stem"),
        (("inference", "decode"), "position", "position_weight"),
        (("inference", "decode"), "limit", "max_results"),
        (("training",), "photographs", "images"),
        (("training",), "licence", "license"),
        (("training",), "figures", "metrics"),
        (("training",), "batch", "batch_size"),
    ):
        parent: Any = header
        for key in path:
            parent = parent.get(key) if isinstance(parent, dict) else None
        if isinstance(parent, dict) and old in parent:
            parent[new] = parent.pop(old)
    if isinstance(header.get("input"), dict) and header["input"].get("convention") == "original":
        header["input"]["convention"] = "reference"
    return header
