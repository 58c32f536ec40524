"""Epoch means are taken over examples, not over batches."""

import pytest
import torch

from workbench.epoch_means import EpochMeans


@pytest.mark.parametrize("batch_size", [1, 3, 7, 10])
def test_the_mean_over_examples_does_not_depend_on_the_batches(batch_size):
    values = torch.randn(10, dtype=torch.float64)
    means = EpochMeans()
    for batch in values.split(batch_size):
        means.add({"a": batch, "b": 2 * batch})
    expected = values.mean().item()
    assert means.compute() == pytest.approx({"a": expected, "b": 2 * expected})


def test_sums_of_all_ranks_are_added_before_dividing():
    means = EpochMeans()
    means.add({"a": torch.tensor([1.0, 3.0])})
    other = torch.tensor([10.0, 1.0])  # the other rank's sum and number of examples
    assert means.compute(lambda sums: sums + other) == {"a": 14 / 3}


def test_the_last_batch_has_a_mean_of_its_own():
    means = EpochMeans()
    means.add({"a": torch.tensor([1.0, 3.0])})
    means.add({"a": torch.tensor([7.0])})
    assert means.of_last_batch() == {"a": 7}


def test_a_mean_over_a_million_examples_is_exact():
    means = EpochMeans()
    for _ in range(1000):
        means.add({"a": torch.full((1000,), 794.7175)})
    assert means.compute()["a"] == pytest.approx(float(torch.tensor(794.7175)), rel=1e-12)


def test_means_continue_from_a_loaded_state():
    first, second = EpochMeans(), EpochMeans()
    first.add({"a": torch.tensor([1.0, 2.0])})
    second.load_state_dict(first.state_dict(), torch.device("cpu"))
    for means in (first, second):
        means.add({"a": torch.tensor([6.0])})
    assert first.compute() == second.compute() == {"a": 3}


def test_without_examples_there_are_no_metrics():
    assert EpochMeans().compute() == {}


def test_loading_a_state_forgets_the_last_batch():
    means = EpochMeans()
    means.add({"a": torch.tensor([float("nan")])})
    means.load_state_dict(EpochMeans().state_dict(), torch.device("cpu"))
    assert means.of_last_batch() == {}
    assert means.compute() == {}
