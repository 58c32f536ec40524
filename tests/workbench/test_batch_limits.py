"""Batches that the trainer's limits leave of one loader and of several, as Lightning counts."""

import re

import lightning as L
import pytest
import torch
from lightning.pytorch.utilities import CombinedLoader
from torch.utils.data import DataLoader

from workbench.config.batch_limits import parts_measured, read_data
from workbench.errors import ConfigError
from workbench.loaders import has_batches

TEN, FOUR = (DataLoader(torch.rand(count, 1), batch_size=3) for count in (30, 10))


class Given(L.LightningDataModule):
    """Given loaders."""

    def __init__(self, train, evaluated=TEN):
        super().__init__()
        self.train_dataloader = lambda: train
        self.val_dataloader = self.test_dataloader = lambda: evaluated


class Counting(L.LightningModule):
    """Counts the steps of training and the examples of validation."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.steps = self.seen = 0

    def training_step(self, batch, batch_idx):
        self.steps += 1
        return self.weight.sum()

    def validation_step(self, batch, batch_idx, dataloader_idx=0):
        self.seen += len(batch)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters())


def trainer_of(**settings):
    names = ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary")
    settings |= dict.fromkeys(names, False)
    return L.Trainer(accelerator="cpu", max_epochs=1, num_sanity_val_steps=0, **settings)


@pytest.mark.parametrize(
    "loaders",
    [
        TEN,
        {"a": TEN, "b": FOUR},
        [TEN, FOUR],
        *(CombinedLoader([TEN, FOUR], mode) for mode in ("min_size", "max_size")),
    ],
)
@pytest.mark.parametrize("limit", [1.0, 0.5, 2])
def test_an_epoch_has_the_batches_that_lightning_trains_on(loaders, limit):
    trainer, module = trainer_of(limit_train_batches=limit), Counting()
    planned = read_data(Given(loaders), trainer_of(limit_train_batches=limit))
    trainer.fit(module, Given(loaders))
    assert planned == module.steps


@pytest.mark.parametrize("loaders", [TEN, [TEN, FOUR], CombinedLoader([TEN, FOUR], "sequential")])
@pytest.mark.parametrize("limit", [1.0, 0.5, 2, 4])
def test_the_part_that_was_measured_is_the_examples_that_lightning_has_validated(loaders, limit):
    trainer, module = trainer_of(limit_val_batches=limit), Counting()
    trainer.validate(module, datamodule=Given(TEN, loaders), verbose=False)
    total = 30 if loaders is TEN else 40
    part = {} if module.seen == total else {"val": f"{module.seen} of {total} examples"}
    assert parts_measured(trainer, {"val/loss": 1.0}) == part


def test_a_share_that_leaves_none_of_one_of_several_loaders_is_refused():
    with pytest.raises(ConfigError, match=r"limit_val_batches=0.2: leaves none of 4 validation"):
        read_data(Given(TEN, [TEN, FOUR]), trainer_of(limit_val_batches=0.2))


@pytest.mark.parametrize("count", [3, 32, 430, 60_000])
def test_the_least_share_that_a_message_names_leaves_a_batch(count):
    data = Given(DataLoader(range(count)))
    with pytest.raises(ConfigError, match="set .* or more") as raised:
        read_data(data, trainer_of(limit_train_batches=1e-6))
    (least,) = re.findall(r"set (\S+) or more", str(raised.value))
    assert read_data(data, trainer_of(limit_train_batches=float(least))) >= 1


def test_a_data_module_may_have_no_validation_loader():
    assert not has_batches(None)
    assert not has_batches([])
    assert has_batches([FOUR])
