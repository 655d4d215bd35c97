"""train-rescore: trains the rescoring network of a model that predicts offsets."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

from tyro.conf import arg

from higherhrnet.cli.options import Flag, InferenceOptions
from higherhrnet.config.flags import flag
from higherhrnet.config.rescoring import RescoringTraining
from higherhrnet.errors import require, require_packages


def train_rescore(
    annotations: Path,
    out: Path,
    images: Annotated[Path | None, flag("searched for next to --annotations", "PATH")] = None,
    options: Annotated[InferenceOptions, arg(name="")] = InferenceOptions(),
    training: Annotated[RescoringTraining, arg(name="")] = RescoringTraining(),
    results: Annotated[Path | None, flag("not written", "PATH")] = None,
    resume: Flag = False,
) -> int:
    """Train the rescoring network of a model, which corrects the scores of people.

    The model processes annotated images. From the shape of each pose and the scores of its
    keypoints, the rescoring network learns to predict the accuracy of the pose. For DEKR, that is
    the similarity (OKS) to the annotated person, by which `predict` and all other commands multiply
    the person's score. For models with --model.head tags-and-offsets, such as the bundled one, it
    is the fraction of COCO's thresholds of OKS that the pose passes, which replaces the score; see
    --inputs. The exit code is 3 if some images could not be read.

    Args:
        annotations: A COCO keypoints file, usually that on which the model was trained.
        out: The .safetensors file to write: the model with the rescoring network in its header. It
            may be the file of --model.
        images: The folder or .zip file of the images.
        options: The model, a .safetensors file with --model.head offsets or tags-and-offsets, and
            the inference settings with which it processes the images. Poses of all scores are used
            unless --min-score is set.
        training: The training of the rescoring network.
        results: Write the predictions into this folder as they are made, so that --resume can
            continue an interrupted run.
        resume: Continue an earlier run with the same --results folder.
    """
    require_packages("train-rescore", "train", "torch", "safetensors")
    require(not resume or results is not None, "--resume needs --results")
    require(out.suffix == ".safetensors", f"{out}: --out must end in .safetensors")
    from higherhrnet.io.datasets.coco import load_annotations
    from higherhrnet.io.datasets.image_folder import find_images
    from higherhrnet.io.weights import read_weights, write_weights
    from higherhrnet.training.rescoring_run import train_rescoring
    from higherhrnet.zoo.resolve import resolve_model, torch_weights

    model = torch_weights(resolve_model(options.model))
    require(
        model.suffix == ".safetensors",
        f"{model}: must be a .safetensors file, which can be exported to ONNX afterwards",
    )
    weights, header = read_weights(model)
    if options.min_score is None:
        options = replace(options, min_score=0.0)
    truth = load_annotations(annotations)
    truth.require_people()
    images = images or find_images(annotations, truth.file_names, "--images")
    network, report = train_rescoring(options.load(), truth, images, training, results, resume)
    write_weights(out, weights, replace(header, rescoring=network))
    print(f"{out}: {report}")
    return 3 if report.failures else 0
