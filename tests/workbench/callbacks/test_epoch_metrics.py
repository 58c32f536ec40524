"""Callbacks see the metrics of the epoch that ends, not those of the one before."""

import functools

import lightning as L
import torch

from toy import Line, Points


class RecordLoss(L.Callback):
    """Records Lightning's loss and the module's own at the end of each epoch."""

    def __init__(self):
        self.found, self.expected = [], []

    def record(self, trainer, module, stage):
        if not trainer.sanity_checking:
            self.found.append(trainer.callback_metrics[f"{stage}/loss"].item())
            self.expected.append(module.metrics(stage)["loss"])

    on_train_epoch_end = functools.partialmethod(record, stage="train")
    on_validation_epoch_end = functools.partialmethod(record, stage="val")
    on_test_epoch_end = functools.partialmethod(record, stage="test")


def test_every_epoch_end_hook_sees_the_metrics_of_that_epoch():
    callback, quiet = RecordLoss(), {"logger": False, "enable_checkpointing": False}
    trainer = L.Trainer(max_epochs=2, callbacks=[callback], enable_progress_bar=False, **quiet)
    optimizer = functools.partial(torch.optim.SGD, lr=0.1)
    module = Line(torch.nn.Linear(1, 1), optimizer=optimizer, scheduler=None, parameter_groups=None)
    trainer.fit(module, Points())
    trainer.test(module, Points(), verbose=False)
    assert len(callback.found) == 5
    assert len(set(callback.found)) >= 4
    torch.testing.assert_close(callback.found, callback.expected)
