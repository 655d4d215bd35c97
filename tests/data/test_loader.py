"""Which photographs make which batch, and batches that do not depend on who made them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import fields, replace
from itertools import chain, islice
from multiprocessing import active_children
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from higherhrnet.config import InputConfig  # noqa: E402
from higherhrnet.data.augment import Sample  # noqa: E402
from higherhrnet.data.dataset import KeypointDataset, load_dataset  # noqa: E402
from higherhrnet.data.loader import Batch, BatchSampler, SampleKey, collate, load_batches  # noqa: E402
from higherhrnet.errors import InputError  # noqa: E402
from higherhrnet.recipes import (  # noqa: E402
    AugmentConfig,
    DataConfig,
    OptimConfig,
    RunConfig,
    TrainConfig,
)
from higherhrnet.synthetic.scenes import write_scenes  # noqa: E402

ONES = np.ones(10)


def batches(order: BatchSampler, count: int, first: int = 0) -> list[list[SampleKey]]:
    order.first = first
    return list(islice(order, count))


def photographs_of(keys: list[list[SampleKey]]) -> list[int]:
    return [index for _, _, index in chain.from_iterable(keys)]


def test_every_epoch_is_a_fresh_permutation() -> None:
    order = BatchSampler(np.ones(12), 4)
    assert order.batches_an_epoch == 3
    shown = photographs_of(batches(order, 9))
    epochs = [tuple(shown[i : i + 12]) for i in (0, 12, 24)]
    assert len(set(epochs)) == 3
    assert all(sorted(epoch) == list(range(12)) for epoch in epochs)
    assert epochs[0] != tuple(range(12))


def test_the_last_batch_is_filled_up_from_the_epochs_beginning() -> None:
    shown = photographs_of(batches(BatchSampler(ONES, 4), 3))
    assert sorted(shown[:10]) == list(range(10))
    assert shown[10:] == shown[:2]


def test_a_set_smaller_than_a_batch_fills_it_by_going_round() -> None:
    assert Counter(photographs_of(batches(BatchSampler(np.ones(3), 8), 1))).keys() == {0, 1, 2}
    assert len(photographs_of(batches(BatchSampler(np.ones(3), 8), 1))) == 8


def test_the_seed_decides_the_order() -> None:
    same, other = (batches(BatchSampler(ONES, 4, seed), 6) for seed in (0, 1))
    assert batches(BatchSampler(ONES, 4, 0), 6) == same != other


def test_weights_say_how_often_and_of_fractions_lots_are_drawn() -> None:
    weights = np.array([2.0, 1.0, 0.25, 1.5] * 25)
    order = BatchSampler(weights, 1)
    epochs = 200
    shown = Counter(i for e in range(epochs) for _, _, i in order.epoch(e))
    for index, weight in enumerate(weights):
        rate = shown[index] / epochs
        # Six standard errors of a lot, and what filling up and cutting off to 119 may add.
        assert rate == pytest.approx(weight, abs=6 * 0.5 / epochs**0.5 + 0.05 * weight)
    one = Counter(i for _, _, i in order.epoch(0))
    assert {one[i] for i in range(0, 100, 4)} <= {1, 2, 3}
    assert {one[i] for i in range(2, 100, 4)} == {0, 1}


def test_an_epoch_in_which_no_lot_was_drawn_shows_any_photographs() -> None:
    order = BatchSampler(np.full(50, 1e-9), 4)
    shown = photographs_of(batches(order, 5))
    assert len(shown) == 20 and len(set(shown)) > 10


@pytest.mark.parametrize("first", [1, 3, 7])
def test_a_resumed_order_goes_on_where_it_stopped(first: int) -> None:
    assert (
        batches(BatchSampler(ONES, 4), 5, first)
        == batches(BatchSampler(ONES, 4), 5 + first)[first:]
    )


@pytest.mark.parametrize("world", [2, 3])
def test_processes_share_out_what_one_would_see(world: int) -> None:
    alone = BatchSampler(ONES, 2 * world)
    together = [BatchSampler(ONES, 2, rank=rank, world=world) for rank in range(world)]
    assert {order.batches_an_epoch for order in together} == {alone.batches_an_epoch}
    for mine, *theirs in zip(
        batches(alone, 7), *(batches(order, 7) for order in together), strict=True
    ):
        assert all(len(part) == 2 for part in theirs)
        assert sorted(chain.from_iterable(theirs)) == mine


def test_all_processes_together_show_each_photograph_once_an_epoch() -> None:
    """Sixteen photographs for three processes of two: 18 places, two of them filled up."""
    orders = [BatchSampler(np.ones(16), 2, rank=rank, world=3) for rank in range(3)]
    shown = Counter(i for o in orders for i in photographs_of(batches(o, o.batches_an_epoch)))
    assert sorted(shown) == list(range(16)) and shown.total() == 18


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> KeypointDataset:
    folder = tmp_path_factory.mktemp("scenes")
    path = write_scenes(folder, 6, height=64, width=72, people=(1, 4), crowd=0.4)
    return load_dataset(DataConfig((str(path),)), outlines=True)


def training(seed: int = 0, workers: int = 0) -> TrainConfig:
    """With everything that is left to chance."""
    return TrainConfig(
        input=InputConfig(64),
        data=DataConfig(workers=workers),
        augment=AugmentConfig(color=0.5, paste=0.5),
        optim=OptimConfig(batch_size=4),
        run=RunConfig(seed=seed),
    )


def made(photographs: KeypointDataset, config: TrainConfig, count: int = 3) -> list[Batch]:
    order = BatchSampler(photographs.weights, config.optim.batch_size, config.run.seed)
    with closing(load_batches(photographs, config, order)) as stream:
        return list(islice(stream, count))


def contents(batch: Batch) -> Iterator[object]:
    for field in fields(Batch):
        value = getattr(batch, field.name)
        for item in value if isinstance(value, list) else [value]:
            yield item.tolist() if isinstance(item, torch.Tensor) else item


def same(one: list[Batch], other: list[Batch]) -> bool:
    return [list(contents(b)) for b in one] == [list(contents(b)) for b in other]


def test_batches_are_the_same_whoever_makes_them_and_differ_by_seed(
    photographs: KeypointDataset,
) -> None:
    alone = made(photographs, training())
    assert same(made(photographs, training()), alone)
    assert same(made(photographs, training(workers=2)), alone)
    other = made(photographs, training(seed=1))
    assert not same(other, alone)
    pictures = {bytes(p.numpy().tobytes()) for b in [*alone, *other] for p in b.images}
    assert len(pictures) == 24  # however often a photograph is shown


def test_a_batch_is_what_the_network_takes(photographs: KeypointDataset) -> None:
    batch = made(photographs, training(), 1)[0]
    assert batch.images.shape == (4, 3, 64, 64) and batch.images.dtype == torch.uint8
    assert batch.images.is_contiguous(memory_format=torch.channels_last)
    assert [mask.shape for mask in batch.masks] == [(4, 16, 16), (4, 32, 32)]
    assert batch.keypoints.shape[2:] == (17, 3) and batch.sizes.shape == batch.keypoints.shape[:2]
    assert batch.labeled.all() and batch.flipped.shape == (4,)
    assert set(batch.names) <= set(photographs.names)


def sample(people: int) -> Sample:
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
def test_people_are_padded_with_nobody(people: list[int]) -> None:
    samples = [sample(count) for count in people]
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


def test_a_batch_moves_whole() -> None:
    batch = collate([sample(2), sample(1)])
    moved = batch.to(torch.device("meta"))
    assert moved.names == batch.names
    tensors = [moved.images, moved.keypoints, moved.sizes, moved.flipped, moved.labeled]
    assert all(tensor.device.type == "meta" for tensor in [*tensors, *moved.masks])
    assert moved.images.shape == batch.images.shape


def broken(folder: Path, count: int, unreadable: int) -> KeypointDataset:
    path = write_scenes(folder, count, height=64, width=64)
    for number in range(unreadable):
        (folder / "images" / f"{number + 1:012d}.png").write_bytes(b"no picture")
    return load_dataset(DataConfig((str(path),)))


@pytest.mark.parametrize("workers", [0, 1])
def test_a_picture_that_cannot_be_read_gives_way_to_another(
    tmp_path: Path, workers: int, capfd: pytest.CaptureFixture[str]
) -> None:
    config = replace(training(workers=workers), augment=AugmentConfig())
    (batch,) = made(broken(tmp_path, 4, 1), config, 1)
    assert len(batch.names) == 4
    assert set(batch.names) == {f"{n:012d}.png" for n in (2, 3, 4)}
    told = capfd.readouterr().err.splitlines()
    assert told and all("left out: " in line and "000000000001.png" in line for line in told)


@pytest.mark.parametrize("workers", [0, 1])
def test_pictures_none_of_which_can_be_read_end_it_in_one_line(
    tmp_path: Path, workers: int
) -> None:
    config = replace(training(workers=workers), augment=AugmentConfig())
    with pytest.raises(InputError, match=r"^none of .* can be read; .* check-data$") as kept:
        made(broken(tmp_path, 2, 2), config, 1)
    assert kept.traceback and not active_children()


def test_workers_end_with_the_batches_whatever_ends_these(photographs: KeypointDataset) -> None:
    order = BatchSampler(photographs.weights, 2)
    stream = load_batches(photographs, training(workers=2), order)
    with pytest.raises(KeyError) as kept, closing(stream):  # a traceback that outlives the loop
        next(stream)
        assert len(active_children()) == 2
        raise KeyError
    assert kept.traceback and not active_children()
