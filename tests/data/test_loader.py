"""The order of images in batches, and the content of batches for any number of processes."""

from __future__ import annotations

import pickle
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import fields, replace
from functools import partial
from itertools import chain, islice
from multiprocessing import active_children
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from higherhrnet.config.data import AugmentConfig, DataConfig
from higherhrnet.config.model import InputConfig
from higherhrnet.config.training import OptimConfig, RunConfig, TrainConfig
from higherhrnet.data.augment import Sample
from higherhrnet.data.dataset import KeypointDataset, load_dataset
from higherhrnet.data.loader import (
    AugmentedSamples,
    Batch,
    BatchSampler,
    SampleKey,
    collate,
    load_batches,
)
from higherhrnet.errors import InputError
from higherhrnet.synthetic.scenes import write_scenes
from higherhrnet.training.offset_learner import OffsetLearner

ONES = np.ones(10)


def batches(sampler: BatchSampler, count: int, start: int = 0) -> list[list[SampleKey]]:
    sampler.start_batch = start
    return list(islice(sampler, count))


def image_indices(keys: list[list[SampleKey]]) -> list[int]:
    return [index for _, _, index in chain.from_iterable(keys)]


def test_each_epoch_is_another_permutation() -> None:
    sampler = BatchSampler(np.ones(12), 4)
    assert sampler.batches_per_epoch == 3
    indices = image_indices(batches(sampler, 9))
    epochs = [tuple(indices[i : i + 12]) for i in (0, 12, 24)]
    assert len(set(epochs)) == 3
    assert all(sorted(epoch) == list(range(12)) for epoch in epochs)
    assert epochs[0] != tuple(range(12))


def test_the_last_batch_is_filled_with_the_first_images_of_the_epoch() -> None:
    indices = image_indices(batches(BatchSampler(ONES, 4), 3))
    assert sorted(indices[:10]) == list(range(10))
    assert indices[10:] == indices[:2]


def test_a_dataset_smaller_than_a_batch_is_repeated() -> None:
    indices = image_indices(batches(BatchSampler(np.ones(3), 8), 1))
    assert len(indices) == 8
    assert set(indices) == {0, 1, 2}


def test_the_order_depends_on_the_seed() -> None:
    one, equal, other = (batches(BatchSampler(ONES, 4, seed), 6) for seed in (0, 0, 1))
    assert one == equal != other


def test_images_are_used_in_proportion_to_their_weights() -> None:
    weights = np.array([2.0, 1.0, 0.25, 1.5] * 25)
    sampler = BatchSampler(weights, 1)
    epochs = 200
    counts = Counter(i for epoch in range(epochs) for _, _, i in sampler.epoch_keys(epoch))
    for index, weight in enumerate(weights):
        # Six standard errors of a Bernoulli variable, and the effect of filling and truncating the
        # epochs to 119 samples.
        tolerance = 6 * 0.5 / epochs**0.5 + 0.05 * weight
        assert counts[index] / epochs == pytest.approx(weight, abs=tolerance)
    one = Counter(i for _, _, i in sampler.epoch_keys(0))
    assert {one[i] for i in range(0, 100, 4)} <= {1, 2, 3}
    assert {one[i] for i in range(2, 100, 4)} == {0, 1}


def test_an_epoch_is_not_empty_if_all_weights_are_tiny() -> None:
    sampler = BatchSampler(np.full(50, 1e-9), 4)
    indices = image_indices(batches(sampler, 5))
    assert len(indices) == 20 and len(set(indices)) > 10


@pytest.mark.parametrize("start", [1, 3, 7])
def test_starts_at_any_batch(start: int) -> None:
    complete = batches(BatchSampler(ONES, 4), 5 + start)
    assert batches(BatchSampler(ONES, 4), 5, start) == complete[start:]


@pytest.mark.parametrize("world_size", [2, 3])
def test_processes_share_the_batches_of_a_single_process(world_size: int) -> None:
    single = BatchSampler(ONES, 2 * world_size)
    samplers = [BatchSampler(ONES, 2, rank=r, world_size=world_size) for r in range(world_size)]
    assert {sampler.batches_per_epoch for sampler in samplers} == {single.batches_per_epoch}
    parts = [batches(sampler, 7) for sampler in samplers]
    for batch, *shares in zip(batches(single, 7), *parts, strict=True):
        assert all(len(share) == 2 for share in shares)
        assert sorted(chain.from_iterable(shares)) == batch


def test_all_processes_together_use_each_image_once_per_epoch() -> None:
    """Three processes with two images per batch have 18 samples, of which two are repeated."""
    samplers = [BatchSampler(np.ones(16), 2, rank=rank, world_size=3) for rank in range(3)]
    counts = Counter(i for s in samplers for i in image_indices(batches(s, s.batches_per_epoch)))
    assert sorted(counts) == list(range(16)) and counts.total() == 18


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> KeypointDataset:
    folder = tmp_path_factory.mktemp("scenes")
    path = write_scenes(folder, 6, height=64, width=72, people=(1, 4), crowd=0.4)
    return load_dataset(DataConfig((str(path),)), outlines=True)


def training(seed: int = 0, workers: int = 0) -> TrainConfig:
    """A configuration with all random augmentation."""
    return TrainConfig(
        input=InputConfig(64),
        data=DataConfig(workers=workers),
        augment=AugmentConfig(color=0.5, paste=0.5),
        optim=OptimConfig(batch_size=4),
        run=RunConfig(seed=seed),
    )


def load(dataset: KeypointDataset, config: TrainConfig, count: int = 3) -> list[Batch]:
    sampler = BatchSampler(dataset.weights, config.optim.batch_size, config.run.seed)
    with closing(load_batches(dataset, config, sampler)) as loaded:
        return list(islice(loaded, count))


def contents(batch: Batch) -> Iterator[object]:
    for field in fields(Batch):
        value = getattr(batch, field.name)
        for item in value if isinstance(value, list) else [value]:
            yield item.tolist() if isinstance(item, torch.Tensor) else item


def are_equal(one: list[Batch], other: list[Batch]) -> bool:
    return [list(contents(b)) for b in one] == [list(contents(b)) for b in other]


def test_batches_depend_on_the_seed_and_not_on_the_number_of_processes(
    dataset: KeypointDataset,
) -> None:
    batches = load(dataset, training())
    assert are_equal(load(dataset, training()), batches)
    assert are_equal(load(dataset, training(workers=2)), batches)
    other = load(dataset, training(seed=1))
    assert not are_equal(other, batches)
    images = {image.numpy().tobytes() for batch in [*batches, *other] for image in batch.images}
    assert len(images) == 24  # each use of an image gives another sample


def test_batches_have_the_documented_shapes(dataset: KeypointDataset) -> None:
    batch = load(dataset, training(), 1)[0]
    assert batch.images.shape == (4, 3, 64, 64) and batch.images.dtype == torch.uint8
    assert batch.images.is_contiguous(memory_format=torch.channels_last)
    assert [mask.shape for mask in batch.masks] == [(4, 16, 16), (4, 32, 32)]
    assert batch.keypoints.shape[2:] == (17, 3) and batch.sizes.shape == batch.keypoints.shape[:2]
    assert batch.labeled.all() and batch.flipped.shape == (4,)
    assert set(batch.names) <= set(dataset.names)


def random_sample(people: int) -> Sample:
    rng = np.random.default_rng(people)
    return Sample(
        f"{people}.png",
        rng.integers(0, 256, (32, 32, 3), np.uint8),
        rng.uniform(1, 30, (people, 5, 3)).astype(np.float32),
        rng.uniform(1, 30, people).astype(np.float32),
        people % 2 == 1,
        (np.ones((8, 8), np.bool_), np.zeros((16, 16), np.bool_)),
        np.arange(5) != people % 5,
    )


@pytest.mark.parametrize("people", [[0, 0], [0, 3, 1], [40, 0, 31]])
def test_people_are_padded_with_zeros(people: list[int]) -> None:
    samples = [random_sample(count) for count in people]
    batch = collate(samples)
    assert batch.keypoints.shape == (len(people), max(people), 5, 3)
    for row, one in enumerate(samples):
        count = len(one.keypoints)
        assert batch.names[row] == one.name
        assert batch.flipped[row] == one.flipped
        np.testing.assert_array_equal(batch.images[row].permute(1, 2, 0), one.image)
        np.testing.assert_array_equal(batch.keypoints[row, :count], one.keypoints)
        np.testing.assert_array_equal(batch.sizes[row, :count], one.sizes)
        np.testing.assert_array_equal(batch.labeled[row], one.labeled)
        for level, mask in enumerate(one.masks):
            np.testing.assert_array_equal(batch.masks[level][row], mask)
        assert not batch.keypoints[row, count:].any() and not batch.sizes[row, count:].any()


def test_to_moves_all_tensors() -> None:
    batch = collate([random_sample(2), random_sample(1)])
    moved = batch.to(torch.device("meta"))
    assert moved.names == batch.names
    tensors = [moved.images, moved.keypoints, moved.sizes, moved.flipped, moved.labeled]
    assert all(tensor.device.type == "meta" for tensor in [*tensors, *moved.masks])
    assert moved.images.shape == batch.images.shape


def test_spawned_workers_make_the_same_samples(tmp_path: Path) -> None:
    """Python starts workers as new processes on Windows and macOS, and on Linux from 3.14 on."""
    dataset = load_dataset(DataConfig((str(write_scenes(tmp_path, 2, height=64, width=64)),)))
    config = TrainConfig(input=InputConfig(64))
    samples = AugmentedSamples(dataset, config, partial(OffsetLearner.prepare, config=config))
    copied = pickle.loads(pickle.dumps(samples))
    key: SampleKey = (0, 0, 1)
    np.testing.assert_array_equal(samples[key].image, copied[key].image)
    np.testing.assert_array_equal(samples[key].keypoints, copied[key].keypoints)


def dataset_with_damaged_images(folder: Path, count: int, damaged: int) -> KeypointDataset:
    path = write_scenes(folder, count, height=64, width=64)
    for number in range(1, damaged + 1):
        (folder / "images" / f"{number:012d}.png").write_bytes(b"not an image")
    return load_dataset(DataConfig((str(path),)))


@pytest.mark.parametrize("workers", [0, 1])
def test_an_image_that_cannot_be_read_is_replaced_and_reported(
    tmp_path: Path, workers: int, capfd: pytest.CaptureFixture[str]
) -> None:
    config = replace(training(workers=workers), augment=AugmentConfig())
    (batch,) = load(dataset_with_damaged_images(tmp_path, 4, 1), config, 1)
    assert len(batch.names) == 4
    assert set(batch.names) == {f"{n:012d}.png" for n in (2, 3, 4)}
    lines = capfd.readouterr().err.splitlines()
    assert lines
    assert all("image skipped: " in line and "000000000001.png" in line for line in lines)


@pytest.mark.parametrize("workers", [0, 1])
def test_stops_with_one_line_if_no_image_can_be_read(tmp_path: Path, workers: int) -> None:
    config = replace(training(workers=workers), augment=AugmentConfig())
    with pytest.raises(InputError, match=r"^none of .* can be read; .* check-data$") as error:
        load(dataset_with_damaged_images(tmp_path, 2, 2), config, 1)
    assert error.traceback and not active_children()


def test_closing_ends_the_workers_while_a_traceback_is_kept(dataset: KeypointDataset) -> None:
    sampler = BatchSampler(dataset.weights, 2)
    loaded = load_batches(dataset, training(workers=2), sampler)
    with pytest.raises(KeyError) as error, closing(loaded):
        next(loaded)
        assert len(active_children()) == 2
        raise KeyError
    assert error.traceback and not active_children()
