"""Callbacks find the metrics of the epoch that ends, and not of the one before."""

import torch

from workbench.callbacks import EpochLines


def test_every_callback_s_hooks_find_the_metrics_of_the_epoch_that_ends(run_here, monkeypatch):
    found, expected = [], []

    def looks(stage):
        def look(self, trainer, module):
            if not trainer.sanity_checking:
                found.append(trainer.callback_metrics[f"{stage}/loss"].item())
                expected.append(module.metrics(stage)["loss"])

        return look

    for stage, name in (("train", "train"), ("val", "validation"), ("test", "test")):
        monkeypatch.setattr(EpochLines, f"on_{name}_epoch_end", looks(stage), raising=False)
    run_here()
    assert len(set(found)) > 2
    torch.testing.assert_close(found, expected)
