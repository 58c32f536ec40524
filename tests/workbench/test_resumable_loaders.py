"""A loader serves every example once, in an order that depends only on seed and epoch."""

import pytest
import torch

from workbench.resumable_loaders import StepLoader


class _Rows(StepLoader):
    """Batches that are the rows of their examples."""

    def read(self, first):
        return self.rows(first)


def _loader(count, **settings):
    shuffle = settings.pop("shuffle_seed", None)
    if shuffle is not None:
        settings |= {"shuffle": True, "seed": shuffle}
    return _Rows(dataset=range(count), **{"batch_size": 4, **settings})


def _seen(loader):
    return torch.tensor([i for batch in loader for i in batch.tolist()])


@pytest.mark.parametrize("count", [1, 4, 5, 8, 11])
@pytest.mark.parametrize("seed", [None, 0, 7])
def test_every_example_is_seen_exactly_once(count, seed):
    loader = _loader(count, shuffle_seed=seed)
    assert sorted(_seen(loader).tolist()) == list(range(count))
    assert len(list(loader)) == len(loader)


@pytest.mark.parametrize("world_size", [2, 3, 4])
@pytest.mark.parametrize("count", [8, 9, 12, 13, 16, 17, 25])
@pytest.mark.parametrize("seed", [None, 0])
def test_ranks_share_an_epoch_without_overlap_in_equally_many_steps(count, world_size, seed):
    loaders = [
        _loader(count, shuffle_seed=seed, rank=rank, world_size=world_size)
        for rank in range(world_size)
    ]
    seen = [_seen(loader) for loader in loaders]
    assert sorted(torch.cat(seen).tolist()) == list(range(count))
    assert len({len(list(loader)) for loader in loaders}) == 1
    assert all(len(batch) > 0 for loader in loaders for batch in loader)
    assert {len(loader) for loader in loaders} == {len(list(loaders[0]))}


@pytest.mark.parametrize(("rank", "last"), [(0, 1.2), (1, 0.8)])
@pytest.mark.parametrize("step_size", [8, 16])
def test_an_unevenly_shared_last_batch_is_weighted_by_its_examples(rank, last, step_size):
    loader = _loader(29, rank=rank, world_size=2)
    state = {"epoch": 0, "next_step": 16 // step_size, "step_size": step_size}
    loader.load_state_dict(state)  # saved by two processes, or by four
    assert [loader.weight(1, 4) for _ in loader] == [1.0, pytest.approx(last)]


@pytest.mark.parametrize(("count", "steps"), [(29, 9), (29, 2), (32, 9), (9, 9)])
def test_accumulated_gradients_are_means_over_all_their_examples(count, steps):
    """The trainer takes means over three steps, of which the last may be incomplete."""
    loaders = [_loader(count, rank=rank, world_size=2) for rank in range(2)]
    means = torch.zeros(3)
    seen = [[] for _ in means]
    for step, batches in enumerate(zip(*loaders, strict=True)):
        for loader, batch in zip(loaders, batches, strict=True):
            if step < steps:
                weight = loader.weight(3, steps)
                means[step // 3] += weight * batch.float().mean() / 2 / 3
                seen[step // 3] += batch.tolist()
    for mean, rows in zip(means, seen, strict=True):
        assert mean.item() == pytest.approx(sum(rows) / max(1, len(rows)), rel=1e-5)


def test_more_ranks_than_examples_are_refused():
    with pytest.raises(ValueError, match="3 examples cannot be shared by 4 processes"):
        _loader(3, world_size=4)


def test_the_order_is_a_function_of_seed_and_epoch():
    def order(seed, epoch):
        loader = _loader(50, shuffle_seed=seed)
        loader.sampler.set_epoch(epoch)
        return _seen(loader).tolist()

    assert order(0, 3) == order(0, 3)
    assert len({tuple(order(seed, epoch)) for seed in (0, 1) for epoch in (0, 1, 2)}) == 6


def test_shuffling_does_not_touch_the_global_random_state():
    before = torch.get_rng_state()
    _seen(_loader(50, shuffle_seed=0))
    assert torch.equal(torch.get_rng_state(), before)


def test_without_a_seed_examples_keep_the_order_of_the_data_set():
    assert _seen(_loader(11)).tolist() == list(range(11))


@pytest.mark.parametrize("stop", [0, 1, 2, 3])
def test_a_loaded_state_continues_with_the_next_batch(stop):
    loader = _loader(11, shuffle_seed=5)
    loader.sampler.set_epoch(2)
    whole = _seen(loader).tolist()
    batches = iter(loader)
    taken = [next(batches) for _ in range(stop)]
    other = _loader(11, shuffle_seed=5)
    other.sampler.set_epoch(2)
    other.load_state_dict(loader.state_dict() if stop else {"epoch": 2, "next_step": 0})
    assert [i for rows in taken for i in rows.tolist()] + _seen(other).tolist() == whole
    assert _seen(other).tolist() == whole  # the state was used once only


def test_a_state_saved_at_the_end_of_an_epoch_skips_nothing_in_the_next():
    loader = _loader(11, shuffle_seed=5)
    _seen(loader)
    other = _loader(11, shuffle_seed=5)
    other.load_state_dict(loader.state_dict())
    other.sampler.set_epoch(1)
    assert len(_seen(other)) == 11


def test_an_unfinished_epoch_does_not_shorten_the_next():
    loader = _loader(11, shuffle_seed=5)
    next(iter(loader))
    assert len(_seen(loader)) == 11


@pytest.mark.parametrize("world_size", [1, 2, 3])
@pytest.mark.parametrize("batch_size", [2, 3, 4, 5])
@pytest.mark.parametrize("seed", [None, 0])
def test_a_single_example_is_never_left_as_a_batch_of_its_own(world_size, batch_size, seed):
    for count in range(2 * world_size, 50):
        loaders = [
            _loader(
                count,
                shuffle_seed=seed,
                batch_size=batch_size,
                rank=rank,
                world_size=world_size,
            )
            for rank in range(world_size)
        ]
        sizes = [[len(batch) for batch in loader] for loader in loaders]
        assert min(map(min, sizes)) >= 2
        assert {len(of_rank) for of_rank in sizes} == {len(loaders[0])}
        assert sum(map(sum, sizes)) == count
        assert max(map(max, sizes)) <= batch_size + 2


def test_batches_of_one_example_are_made_on_request():
    assert [len(batch) for batch in _loader(5, batch_size=1)] == [1] * 5


@pytest.mark.parametrize(
    ("count", "batch_size", "sizes"),
    [
        (135, 134, [135]),
        (55_000, 128, [128] * 429 + [88]),
        (60_000, 128, [128] * 468 + [96]),
        (5_000, 1000, [1000] * 5),
        (10_000, 1000, [1000] * 10),
        (4_000, 128, [128] * 31 + [32]),
    ],
)
def test_a_single_last_example_joins_the_batch_before_and_other_batches_are_unchanged(
    count, batch_size, sizes
):
    loader = _loader(count, batch_size=batch_size, shuffle_seed=0)
    assert [len(batch) for batch in loader] == sizes


def test_a_loaded_state_continues_with_an_enlarged_last_batch():
    loader = _loader(9, shuffle_seed=5)
    whole = [batch.tolist() for batch in loader]
    assert [len(rows) for rows in whole] == [4, 5]
    next(iter(loader))
    other = _loader(9, shuffle_seed=5)
    other.load_state_dict(loader.state_dict())
    assert [batch.tolist() for batch in other] == whole[1:]
