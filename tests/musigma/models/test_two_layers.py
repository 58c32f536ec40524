"""The experiments with one and two stochastic layers."""

import pytest

EXPERIMENTS = ("experiment=iwae", "experiment=iwae_two_layers")


@pytest.mark.slow
def test_the_published_values_of_the_experiments_follow_the_papers_table(compose_launch):
    """Burda et al. 2016, Table 1: more samples or another layer, a better model."""
    values = []
    for layers in EXPERIMENTS:
        configs = [compose_launch(f"{layers}{k}").config for k in ("_1", "", "_50")]
        values.append([config["published"]["log_p"]["value"] for config in configs])
        assert values[-1] == sorted(values[-1])
        assert [config["model"]["objective"]["samples"] for config in configs] == [1, 5, 50]
    assert all(one < two for one, two in zip(*values, strict=True))
