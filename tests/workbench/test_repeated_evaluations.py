"""Optimizers that evaluate a batch more than once, such as LBFGS."""

import lightning as L
import pytest
import torch
from torch import nn
from torch.optim import LBFGS
from torch.utils.data import DataLoader, TensorDataset

from workbench.errors import ConfigError
from workbench.module import ReportingModule
from workbench.seeded_draws import SeededDraws

STEPS = 3


class Noisy(SeededDraws, ReportingModule):
    """Minimises w², with a noise that is reported, and keeps what it drew for each batch."""

    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.ones(1))
        self.optimizer = lambda parameters: LBFGS(parameters, lr=0.5, max_iter=4)
        self.drawn = {}

    def training_step(self, batch, batch_idx):
        noise = torch.randn(())
        self.drawn.setdefault(batch_idx, []).append(noise.item())
        loss = (self.w**2).sum()
        self.add("train", {"loss": loss.detach().expand(len(batch[0])), "w": self.w.expand(2)})
        return loss


def _fit(**settings):
    module = Noisy()
    loader = DataLoader(TensorDataset(torch.zeros(2 * STEPS, 1)), 2)
    steps = {"max_epochs": 1, "logger": False, "enable_checkpointing": False, **settings}
    trainer = L.Trainer(accelerator="cpu", enable_progress_bar=False, **steps)
    before = []
    hook = module.on_train_batch_start
    module.on_train_batch_start = lambda *a: (before.append(module.w.item()), hook(*a))[1]
    trainer.fit(module, loader)
    return module, before


def test_the_metrics_of_an_epoch_count_each_batch_once():
    module, before = _fit()
    assert module.metrics("train")["w"] == pytest.approx(sum(before) / STEPS)
    assert len(set(before)) == STEPS


def test_all_evaluations_of_a_batch_have_the_same_draws():
    module, _ = _fit()
    assert all(len(draws) > 1 and len(set(draws)) == 1 for draws in module.drawn.values())
    assert len({draws[0] for draws in module.drawn.values()}) == STEPS


def test_accumulated_gradients_are_refused():
    with pytest.raises(ConfigError, match=r"accumulate_grad_batches=3: set it to 1"):
        _fit(accumulate_grad_batches=3)
