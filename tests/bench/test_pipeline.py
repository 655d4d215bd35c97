"""Synthetic maps replace the outputs of the network, on a CPU and on a GPU."""

import numpy as np
import pytest

from higherhrnet.bench.pipeline import synthetic_outputs
from higherhrnet.bench.results import equal_poses
from higherhrnet.inference.predictor import Predictor
from tests.conftest import ModelFiles


@pytest.mark.parametrize("flip", [False, True])
def test_synthetic_maps_suit_the_processing_of_a_gpu(small_model: ModelFiles, flip: bool) -> None:
    pytest.importorskip("torch")
    from higherhrnet.engines.torch import load_torch
    from higherhrnet.inference.gpu import GpuProcessing

    engine, header = load_torch(small_model.safetensors, "f32", 1)
    cpu = Predictor(engine, header).with_flip(flip)
    gpu = Predictor(engine, header, cpu.config, processing=GpuProcessing(engine, header))
    image = np.zeros((128, 192, 3), np.uint8)
    poses = []
    for predictor in (cpu, gpu):
        preprocessed = predictor.preprocess(image)
        outputs = synthetic_outputs(predictor, preprocessed, 4)
        shapes = [maps.shape for maps in predictor.forward([preprocessed])[0][1.0]]
        assert [maps.shape for maps in outputs[1.0]] == shapes
        poses.append(predictor.postprocess(preprocessed, outputs))
    assert len(poses[0]) == 4
    assert equal_poses(*poses)
