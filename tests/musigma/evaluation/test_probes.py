"""Probes on codes whose best possible accuracy is known."""

import math

import pytest
import torch

from musigma.evaluation.probes import (
    ClusterAgreement,
    Codes,
    cluster_agreement,
    labelled,
    linear_probe,
    neighbours_probe,
)

PROBES = [linear_probe, neighbours_probe]


def _split(mu, y):
    """Split codes into training, validation and test sets."""
    sizes = [len(mu) // 2, len(mu) // 4, len(mu) - len(mu) // 2 - len(mu) // 4]
    return [Codes(*parts) for parts in zip(mu.split(sizes), y.split(sizes), strict=True)]


def _two_gaussians(distance, count=8000, seed=0):
    """Two classes around ±distance on the first of three axes; the best accuracy is Φ(distance)."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.randint(0, 2, (count,), generator=generator)
    mu = torch.randn(count, 3, generator=generator)
    mu[:, 0] += distance * (2 * y - 1)
    return mu, y


def _checkerboard(count=4000):
    generator = torch.Generator().manual_seed(0)
    mu = 4 * torch.rand(count, 2, generator=generator)
    return mu, mu.floor().sum(1).long() % 2


@pytest.mark.parametrize("probe", PROBES)
@pytest.mark.parametrize("distance", [0.5, 1.0, 2.0])
def test_probes_come_near_the_best_possible_accuracy(probe, distance):
    best = 0.5 * (1 + math.erf(distance / math.sqrt(2)))
    found = probe(*_split(*_two_gaussians(distance)))
    assert found.accuracy == pytest.approx(best, abs=4 * found.error + 0.01)
    assert found.error == pytest.approx(math.sqrt(best * (1 - best) / 2000), rel=0.1)


@pytest.mark.parametrize("probe", PROBES)
def test_random_labels_are_predicted_only_by_chance(probe):
    generator = torch.Generator().manual_seed(0)
    mu = torch.randn(4000, 4, generator=generator)
    found = probe(*_split(mu, torch.randint(0, 10, (4000,), generator=generator)))
    assert found.accuracy == pytest.approx(0.1, abs=4 * found.error)


def test_neighbours_separate_classes_that_no_line_does():
    codes = _split(*_checkerboard())
    assert linear_probe(*codes).accuracy < 0.6
    assert neighbours_probe(*codes).accuracy > 0.9


def test_few_neighbours_are_chosen_for_fine_classes_and_many_for_noisy_ones():
    assert neighbours_probe(*_split(*_checkerboard())).chosen <= 5
    assert neighbours_probe(*_split(*_two_gaussians(0.3))).chosen >= 20


@pytest.mark.parametrize("probe", PROBES)
def test_test_codes_affect_only_the_accuracy(probe):
    train, val, test = _split(*_two_gaussians(1.0))
    found = probe(train, val, test)
    opposite = probe(train, val, Codes(test.mu, 1 - test.y))
    assert opposite.accuracy == pytest.approx(1 - found.accuracy)
    assert opposite.chosen == found.chosen
    moved = probe(train, val, Codes(test.mu + torch.tensor([100.0, 0, 0]), test.y))
    assert moved.accuracy == pytest.approx(test.y.float().mean().item())


def test_a_linear_probe_does_not_depend_on_the_scale_of_the_codes():
    mu, y = _two_gaussians(1.0)
    scaled = mu * torch.tensor([1e-3, 1.0, 1e3]) + 50
    expected = linear_probe(*_split(mu, y))
    assert linear_probe(*_split(scaled, y)) == pytest.approx(expected, abs=1e-3)


def test_inactive_dimensions_do_not_disturb_the_neighbours_probe():
    mu, y = _two_gaussians(4.0)
    dead = 1e-3 * torch.randn(len(mu), 30, generator=torch.Generator().manual_seed(0))
    assert neighbours_probe(*_split(torch.cat([mu, dead], 1), y)).accuracy > 0.99


@pytest.mark.parametrize("probe", PROBES)
def test_probing_again_gives_the_same_bits(probe):
    codes = _split(*_two_gaussians(1.0))
    assert probe(*codes) == probe(*codes)


@pytest.mark.parametrize("probe", PROBES)
def test_a_probe_is_fitted_on_no_more_training_codes_than_the_limit(probe, monkeypatch):
    monkeypatch.setattr("musigma.evaluation.probes.TRAINING_CODES", 50)
    train, val, test = _split(*_two_gaussians(1.0))
    order = torch.randperm(len(train.mu), generator=torch.Generator().manual_seed(0))
    y = train.y.clone()
    y[order[50:]] = 1 - y[order[50:]]
    assert probe(Codes(train.mu, y), val, test) == probe(train, val, test)


@pytest.mark.parametrize("probe", PROBES)
def test_a_probe_without_validation_codes_is_refused(probe):
    train, _, test = _split(*_two_gaussians(1.0))
    with pytest.raises(ValueError, match="validation"):
        probe(train, Codes(train.mu[:0], train.y[:0]), test)


def test_clusters_equal_to_the_classes_have_full_agreement():
    generator = torch.Generator().manual_seed(0)
    y = torch.randint(0, 10, (2000,), generator=generator)
    centres = 100 * torch.randn(10, 4, generator=generator)
    train, _, test = _split(centres[y] + torch.randn(2000, 4, generator=generator), y)
    assert cluster_agreement(train, test) == pytest.approx(ClusterAgreement(1.0, 1.0, 10))
    renamed = Codes(test.mu, (test.y + 3) % 10)
    assert cluster_agreement(train, renamed) == pytest.approx(ClusterAgreement(1.0, 1.0, 10))
    elsewhere = Codes(test.mu + 1e6, test.y)  # all nearest to one cluster
    assert cluster_agreement(train, elsewhere) == pytest.approx(ClusterAgreement(0.0, 0.0, 10))


def test_clusters_of_random_codes_agree_only_by_chance():
    generator = torch.Generator().manual_seed(0)
    mu = torch.randn(4000, 4, generator=generator)
    train, _, test = _split(mu, torch.randint(0, 10, (4000,), generator=generator))
    found = cluster_agreement(train, test)
    assert found.adjusted_rand == pytest.approx(0, abs=0.01)
    assert found.normalized_information < 0.05
    assert cluster_agreement(train, test) == found


def test_images_without_a_class_are_left_out():
    codes = Codes(torch.arange(8.0).unsqueeze(1), torch.tensor([0, -1, 1, -1, 2, -1, -1, 0]))
    known = labelled(codes)
    assert known.mu.flatten().tolist() == [0, 2, 4, 7]
    assert known.y.tolist() == [0, 1, 2, 0]
