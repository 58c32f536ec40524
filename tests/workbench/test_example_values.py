"""Metrics of single test examples, kept in order."""

import pytest
import torch

from workbench.example_values import ExampleValues
from workbench.runs.values import read_values


def test_values_keep_the_order_of_the_examples():
    values = ExampleValues()
    values.add({"loss": torch.tensor([3.0, 1.0])})
    values.add({"loss": torch.tensor([2.0])})
    assert values.arrays()["loss"].tolist() == [3, 1, 2]
    values.reset()
    assert values.arrays() == {}


def test_a_value_of_a_whole_batch_is_not_kept():
    values = ExampleValues()
    for size in (3, 1):  # the last batch may hold a single example
        batch = {"loss": torch.tensor(2.0).expand(size), "error": torch.ones(size)}
        values.add(batch)
    assert values.arrays().keys() == {"error"}


def test_no_values_are_kept_of_too_many_examples(monkeypatch):
    monkeypatch.setattr("workbench.example_values.MOST_EXAMPLES", 3)
    values = ExampleValues()
    for _ in range(3):
        values.add({"loss": torch.ones(2)})
    assert values.arrays() == {}


@pytest.mark.slow
def test_the_values_of_a_run_average_to_its_metric(trained):
    run = trained()
    values = read_values(run.path, "loss")
    assert len(values) == 64
    assert values.mean() == pytest.approx(run.read_metrics()["metrics"]["test/loss"], rel=1e-5)
