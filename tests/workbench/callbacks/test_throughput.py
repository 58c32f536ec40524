"""Throughput counts only examples that this process has trained on."""

from types import SimpleNamespace

import torch

from workbench.callbacks import Throughput


def test_an_epoch_without_a_trained_batch_reports_no_speed():
    reported = []
    trainer = SimpleNamespace(strategy=SimpleNamespace(reduce=lambda rate, reduce_op: rate))
    means = {"train": SimpleNamespace(last_size=3)}
    cpu = torch.device("cpu")
    module = SimpleNamespace(examples="points", device=cpu, report=reported.append, means=means)
    throughput = Throughput()
    throughput.on_train_start(trainer, module)
    throughput.on_train_epoch_end(trainer, module)
    assert reported == []
    throughput.on_train_batch_end(trainer, module, None, None, 0)
    throughput.on_train_epoch_end(trainer, module)
    assert reported[0]["train/points_per_second"] > 0
