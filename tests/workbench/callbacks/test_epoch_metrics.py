"""Callbacks find the metrics of the epoch that ends, and not of the one before."""

import functools

import lightning as L
import torch

from toy import Line, Points


class Look(L.Callback):
    """Keeps the loss that Lightning knows at the end of each epoch, and the module's own."""

    def __init__(self):
        self.found, self.expected = [], []

    def look(self, trainer, module, stage):
        if not trainer.sanity_checking:
            self.found.append(trainer.callback_metrics[f"{stage}/loss"].item())
            self.expected.append(module.metrics(stage)["loss"])

    on_train_epoch_end = functools.partialmethod(look, stage="train")
    on_validation_epoch_end = functools.partialmethod(look, stage="val")
    on_test_epoch_end = functools.partialmethod(look, stage="test")


def test_every_hook_of_a_callback_finds_the_metrics_of_the_epoch_that_ends():
    look, quiet = Look(), {"logger": False, "enable_checkpointing": False}
    trainer = L.Trainer(max_epochs=2, callbacks=[look], enable_progress_bar=False, **quiet)
    optimizer = functools.partial(torch.optim.SGD, lr=0.1)
    module = Line(torch.nn.Linear(1, 1), optimizer=optimizer, scheduler=None, parameter_groups=None)
    trainer.fit(module, Points())
    trainer.test(module, Points(), verbose=False)
    assert len(look.found) == 5
    assert len(set(look.found)) >= 4
    torch.testing.assert_close(look.found, look.expected)
