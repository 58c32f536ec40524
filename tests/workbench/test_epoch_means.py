"""Epoch means are over examples, whatever the batches."""

import pytest
import torch

from workbench.epoch_means import EpochMeans


@pytest.mark.parametrize("batch_size", [1, 3, 7, 10])
def test_mean_over_examples_does_not_depend_on_batches(batch_size):
    values = torch.randn(10, dtype=torch.float64)
    means = EpochMeans()
    for batch in values.split(batch_size):
        means.add({"a": batch, "b": 2 * batch})
    expected = values.mean().item()
    assert means.compute() == pytest.approx({"a": expected, "b": 2 * expected})


def test_ranks_are_summed_before_dividing():
    means = EpochMeans()
    means.add({"a": torch.tensor([1.0, 3.0])})
    other = torch.tensor([10.0, 1.0])  # the other rank's sum and number of examples
    assert means.compute(lambda sums: sums + other) == {"a": 14 / 3}


def test_last_batch_is_reported_alone():
    means = EpochMeans()
    means.add({"a": torch.tensor([1.0, 3.0])})
    means.add({"a": torch.tensor([7.0])})
    assert means.of_last_batch() == {"a": 7}


def test_a_million_examples_lose_no_digits():
    means = EpochMeans()
    for _ in range(1000):
        means.add({"a": torch.full((1000,), 794.7175)})
    assert means.compute()["a"] == pytest.approx(float(torch.tensor(794.7175)), rel=1e-12)


def test_state_goes_on_where_it_was():
    first, second = EpochMeans(), EpochMeans()
    first.add({"a": torch.tensor([1.0, 2.0])})
    second.load_state_dict(first.state_dict(), torch.device("cpu"))
    for means in (first, second):
        means.add({"a": torch.tensor([6.0])})
    assert first.compute() == second.compute() == {"a": 3}


def test_without_examples_there_are_no_metrics():
    assert EpochMeans().compute() == {}


def test_what_is_loaded_leaves_nothing_of_the_batch_before():
    means = EpochMeans()
    means.add({"a": torch.tensor([float("nan")])})
    means.load_state_dict(EpochMeans().state_dict(), torch.device("cpu"))
    assert means.of_last_batch() == {}
    assert means.compute() == {}
