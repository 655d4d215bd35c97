"""The files that the commands write match the JSON schemas in the documentation."""

import json
from pathlib import Path

import pytest

for package in ("sphinx", "jsonschema", "fastapi"):
    pytest.importorskip(package)

from jsonschema import Draft202012Validator, ValidationError

import higherhrnet
from docs.json_schemas import json_schema
from higherhrnet.cli.main import main
from higherhrnet.io.weights import read_weights
from tests.conftest import ModelFiles
from tests.io.videos import write_video

PACKAGE = Path(higherhrnet.__file__).parent


def validate(name: str, instance: object) -> None:
    Draft202012Validator(json_schema(name)).validate(instance)


def test_files_of_the_commands_match_their_schemas(small_model: ModelFiles, tmp_path: Path) -> None:
    scenes, out = tmp_path / "scenes", tmp_path / "out"
    run("scenes", scenes, "--count", 2, "--size", 64)
    write_video(tmp_path / "clip.mp4", count=3)
    run(
        "predict", scenes / "images", tmp_path / "clip.mp4", "--model", small_model.onnx,
        "--out", out, "--track", "--tracking.min-new-score", 0,
        "--min-score", 0, "--no-draw",
    )  # fmt: skip
    results = json.loads((out / "predictions.json").read_text(encoding="utf-8"))
    lines = [json.loads(line) for line in (out / "predictions.jsonl").open(encoding="utf-8")]
    assert any("track_id" in result for result in results) and "finished" in lines[-1]
    validate("predictions", results)
    for line in lines:
        validate("predictions-line", line)
    annotations = scenes / "annotations.json"
    validate("annotations", json.loads(annotations.read_text(encoding="utf-8")))
    metrics = tmp_path / "metrics.json"
    run("evaluate", "--annotations", annotations, "--model", small_model.onnx, "--json", metrics)
    validate("metrics", json.loads(metrics.read_text(encoding="utf-8")))
    for model in (small_model.safetensors, PACKAGE / "zoo" / "default.safetensors"):
        _, header = read_weights(model)
        validate("header", json.loads(header.to_metadata()["higherhrnet"]))
    validate("service-poses", json.loads((PACKAGE / "serving" / "example.json").read_text("utf-8")))
    validate("skeleton", {"names": ["tip", "end"], "limbs": [["tip", "end"]]})


@pytest.mark.parametrize(
    ("name", "instance"),
    [
        ("predictions", [{"image_id": 1}]),
        ("predictions-line", {"file_name": "a.mp4", "path": "/a.mp4"}),
        ("header", {"model": {"width": "32"}}),
        ("header", {"models": {}}),
        ("skeleton", {"limbs": []}),
        ("metrics", {"AP": 0.5}),
    ],
)
def test_schemas_reject_other_files(name: str, instance: object) -> None:
    with pytest.raises(ValidationError):
        validate(name, instance)


def run(*arguments: object) -> None:
    """Runs a command of higherhrnet, which must succeed."""
    with pytest.raises(SystemExit) as exit:
        main(list(map(str, arguments)))
    assert not exit.value.code
