"""Measure a model that no run trained, on images that no data module reads."""

from types import SimpleNamespace

import torch

from musigma.commands.measure import measure
from musigma.evaluation.encoding import encoded


class _Images:
    """Unlabelled images with the interface of those that `evaluate` measures."""

    def __init__(self, x):
        self.x = x

    def __len__(self):
        return len(self.x)

    def batches(self, most):
        yield self.x, torch.full((len(self.x),), -1)

    def at(self, rows):
        return self.x[rows]


def measured(model, x, objective):
    """The metrics that `evaluate` writes, of a few images."""
    none = torch.empty(0, model.latent_dim), torch.empty(0)
    run = SimpleNamespace(model=model, objective=lambda: objective, codes=lambda name: none)
    test = encoded(model, _Images(x), lambda x: x)
    return measure(run, test, images=4, samples=25, seed=0)
