"""evaluate: measures the accuracy of a model or of a file of predictions."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from tyro.conf import arg

from higherhrnet.cli.options import Flag, InferenceOptions, write_json
from higherhrnet.config.flags import flag
from higherhrnet.errors import InputError
from higherhrnet.messages import counted


def evaluate(
    annotations: Path,
    images: Annotated[Path | None, flag("searched for next to --annotations", "PATH")] = None,
    predictions: Annotated[Path | None, flag("a model is evaluated", "PATH")] = None,
    options: Annotated[InferenceOptions, arg(name="")] = InferenceOptions(),
    json: Annotated[Path | None, flag("not written", "PATH")] = None,
    report: Annotated[Path | None, flag("not written", "PATH")] = None,
    resume: Flag = False,
) -> int:
    """Measure the accuracy of a model, or of a file of predictions, on annotated images.

    Prints the ten metrics of COCO's keypoint evaluation, or the nine metrics of CrowdPose where the
    keypoints are CrowdPose's, and what was left out or assumed. The exit code is 3 if some images
    could not be read.

    Args:
        annotations: A COCO keypoints file with the ground truth.
        images: The folder or .zip file of the images.
        predictions: Evaluate this file of COCO keypoint results instead of a model; `predict`
            writes such files. Excludes --model and the inference flags.
        options: The model and the inference settings.
        json: Write the metrics to this JSON file as well.
        report: Write a report into this folder: an HTML page with curves, error types and the
            worst images. The predictions are written there while the evaluation runs, so that
            --resume can continue it.
        resume: Continue an earlier run with the same --report folder.
    """
    from higherhrnet.evaluation.crowd_index import crowd_index_note
    from higherhrnet.evaluation.metrics import compute_metrics, format_metrics
    from higherhrnet.evaluation.notes import evaluation_notes
    from higherhrnet.evaluation.pairing import pair_results
    from higherhrnet.evaluation.predict_dataset import predict_dataset
    from higherhrnet.evaluation.rotation import require_equal_rotation
    from higherhrnet.io.datasets.coco import load_annotations, load_predictions
    from higherhrnet.io.datasets.image_folder import find_images

    if predictions and options != InferenceOptions():
        raise InputError("--predictions excludes --model and the inference flags; omit them")
    if resume and (predictions or not report):
        raise InputError("--resume needs --report, and a model instead of --predictions")
    truth = load_annotations(annotations)
    truth.require_people()
    failed: list[str] = []
    if predictions:
        results = load_predictions(predictions)
        require_equal_rotation(truth, results, images)
    else:
        images = images or find_images(annotations, truth.file_names, "--images")
        results, failed = predict_dataset(options.load(), truth, images, report, resume)
    paired = pair_results(truth, results)
    metrics = compute_metrics(paired)
    print(format_metrics(metrics, len(truth.images), truth.num_people))
    if "AP_hard" in metrics and (note := crowd_index_note(truth.images)):
        print(note)
    for note in evaluation_notes(paired):
        print(note)
    if failed:
        print(f"{counted(len(failed), 'image')} could not be read; their people count as missed")
    if json:
        counts = {
            "images": len(truth.images),
            "unreadable": len(failed),
            "people": truth.num_people,
        }
        write_json(json, {**counts, **metrics})
    if report:
        from higherhrnet.evaluation.report import write_report

        title = f"{predictions or options.model} on {annotations}"
        print(write_report(report, truth, results, images, title))
    return 3 if failed else 0
