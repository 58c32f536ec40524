"""Evaluate a model on a few tensors, without a run or a data module."""

from types import SimpleNamespace

import torch

from musigma.commands.density import density_metrics
from musigma.commands.measure import measure
from musigma.data import MNISTDataModule
from musigma.evaluation.conditions import LabelledImages
from musigma.evaluation.encoding import encoded
from musigma.objectives import ELBO


class _Images:
    """Unlabelled images, with the interface that `encoded` reads."""

    def __init__(self, x):
        self.x = x

    def __len__(self):
        return len(self.x)

    def batches(self, most):
        yield self.x, torch.full((len(self.x),), -1)

    def at(self, rows):
        return self.x[rows]


def measured(model, x, objective):
    """The metrics that `evaluate` would write for these images."""
    none = torch.empty(0, model.latent_dim), torch.empty(0)
    run = SimpleNamespace(model=model, objective=lambda: objective, codes=lambda name: none)
    test = encoded(model, _Images(x), lambda x: x)
    return measure(run, test, images=4, samples=25, seed=0)


def check_integrated(model):
    """The integral of log p(x) of images with labels is no less than their ELBO."""
    images = LabelledImages(torch.randn(3, 1, 28, 28), torch.arange(3))
    run = SimpleNamespace(model=model.eval(), data=MNISTDataModule(source="sample"))
    metrics = density_metrics(run, ELBO(), images, samples=25, seed=0)
    assert metrics["log_p_exact"]["mean"] >= metrics["elbo"]["mean"]
