"""A rehearsal warns about a run whose state is not all in its checkpoints."""

import copy
import logging

import lightning as L
import pytest
import torch
from torch import nn
from torch.optim import SGD, Adam, Optimizer
from torchmetrics import MeanMetric

from workbench.module import ReportingModule
from workbench.resumable_loaders import StepLoader
from workbench.seeded_draws import SeededDraws
from workbench.training.resume_check import FirstSteps


class Rows(StepLoader):
    """Batches that are the rows of their examples."""

    def read(self, first):
        return self.rows(first)


class Part(nn.Module):
    """A weight, with a count of its calls in an attribute or in a buffer."""

    def __init__(self, where):
        super().__init__()
        self.w = nn.Parameter(torch.ones(1))
        self.register_buffer("mask", torch.tensor([True, False]))
        if where == "buffer":
            self.register_buffer("calls", torch.zeros(()))
        elif where == "attribute":
            self.calls = 0

    def forward(self, rows):
        if hasattr(self, "calls"):
            self.calls += 1
        return (self.w * (1 + rows) + torch.randn(())).square()


class Trained(SeededDraws, ReportingModule):
    def __init__(self, where=None, optimizer=Adam, part=None):
        super().__init__()
        self.part, self.optimizer = part or Part(where), optimizer

    def training_step(self, rows, batch_idx):
        loss = self.part(rows)
        self.add("train", {"loss": loss.detach()})
        return loss.mean()


class Growing(nn.Module):
    """A weight, with the losses of all batches in an attribute, as in a queue of codes."""

    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.ones(1))
        self.losses = torch.zeros(0)

    def forward(self, rows):
        loss = self.w * rows
        self.losses = torch.cat([self.losses, loss.detach()])
        return loss


class Measured(Part):
    """A weight, with a metric of an epoch."""

    def __init__(self):
        super().__init__(None)
        self.mean = MeanMetric()

    def forward(self, rows):
        loss = super().forward(rows)
        self.mean.update(loss.detach())
        return loss


class Wrapped(Optimizer):
    """An Adam whose state is in no checkpoint, as in common implementations of SAM."""

    def __init__(self, params):
        super().__init__(params, {"lr": 0.1})
        self.base = Adam(self.param_groups, lr=0.1)

    def step(self, closure=None):
        loss = closure()
        self.base.step()
        return loss


class Decay(L.Callback):
    """Divides the step size by a number that grows with each batch."""

    count = 1

    def on_train_batch_start(self, trainer, pl_module, *_):
        self.count += 1
        trainer.optimizers[0].param_groups[0]["lr"] = 1 / self.count


class StopsOnResume(L.Callback):
    """Stops a training that is resumed before its first step."""

    def state_dict(self):
        return {"is_saved": True}

    def load_state_dict(self, state_dict):
        self.is_saved = state_dict["is_saved"]

    def on_train_start(self, trainer, pl_module):
        trainer.should_stop = hasattr(self, "is_saved")


class SavedDecay(Decay):
    def state_dict(self):
        return {"count": self.count}

    def load_state_dict(self, state_dict):
        self.count = state_dict["count"]


def _compare(module, folder, callback=None):
    first = FirstSteps(folder / "first.ckpt")
    for steps, path in ((first, None), (again := FirstSteps(None), first.path)):
        callbacks = [copy.deepcopy(callback), steps] if callback else [steps]
        options = {"accelerator": "cpu", "max_epochs": 1, "limit_train_batches": 2}
        quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
        trainer = L.Trainer(**options, **quiet, callbacks=callbacks)
        loader = Rows(dataset=range(8), batch_size=2, shuffle=True)
        trainer.fit(copy.deepcopy(module), loader, ckpt_path=path, weights_only=True)
    first.compare(again)


@pytest.mark.parametrize(
    ("module", "callback", "lost"),
    [
        (Trained(), None, None),
        (Trained("buffer"), None, None),
        (Trained("attribute"), None, "part.calls"),
        (Trained(part=Growing()), None, "part.losses"),
        (Trained(part=Measured()), None, None),
        (Trained(optimizer=Wrapped), None, "part.w"),
        (Trained(optimizer=lambda p: SGD(p, lr=0.1)), Decay(), "part.w"),
        (Trained(optimizer=lambda p: SGD(p, lr=0.1)), SavedDecay(), None),
        (Trained("attribute"), StopsOnResume(), None),
    ],
)
def test_state_that_a_checkpoint_lacks_is_named(module, callback, lost, tmp_path, caplog):
    with caplog.at_level(logging.WARNING, "workbench.training.resume_check"):
        _compare(module, tmp_path, callback)
    warnings = [r.getMessage() for r in caplog.records if r.name.startswith("workbench.")]
    assert len(warnings) == (lost is not None)
    assert lost is None or f"gives another\n{lost}. Keep" in warnings[0]
