"""Runs that are stopped and go on."""

import pytest


def stop_at(monkeypatch, epoch, batch):
    """Stop a run after a batch, as Ctrl-C does."""
    from workbench.callbacks.graceful_stop import GracefulStop

    original = GracefulStop.on_train_batch_end

    def stop(self, trainer, module, outputs, batch_, batch_idx):
        if (trainer.current_epoch, batch_idx) == (epoch, batch):
            self.stopping = True
        original(self, trainer, module, outputs, batch_, batch_idx)

    monkeypatch.setattr(GracefulStop, "on_train_batch_end", stop)


def flat(value, name=""):
    """The leaves of nested dicts and lists, by their paths."""
    if isinstance(value, dict):
        return {k: v for key, item in value.items() for k, v in flat(item, f"{name}/{key}").items()}
    if isinstance(value, list | tuple):
        return {k: v for i, item in enumerate(value) for k, v in flat(item, f"{name}/{i}").items()}
    return {name: value}


class Resuming:
    """Stops a run of some overrides and resumes it; the fixture `resuming` has what it needs."""

    def __init__(self, run_here, trained, compose_launch, runs, monkeypatch):
        self.run_here, self.trained, self.compose_launch = run_here, trained, compose_launch
        self.runs, self.monkeypatch = runs, monkeypatch

    def ends_in_the_same_bits(self, *overrides, place=(1, 1)):
        """Check the weights and all else in the last checkpoint; returns that."""
        import torch

        from workbench.config.quoting import quote
        from workbench.runs.weights import load_checkpoint
        from workbench.training.run import run

        whole = self.trained(*overrides)
        with self.monkeypatch.context() as patch:
            stop_at(patch, *place)
            with pytest.raises(SystemExit):
                self.run_here(*overrides)
        (path,) = {folder for folder in self.runs.iterdir() if folder != whole.path}
        run(self.compose_launch(quote(f"resume={path}")))
        expected = flat(load_checkpoint(whole.checkpoint("last")))
        found = flat(load_checkpoint(path / "checkpoints" / "last.ckpt"))
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            assert not isinstance(value, torch.Tensor) or torch.equal(found[name], value), name
        return expected


@pytest.fixture
def resuming(run_here, trained, compose_launch, tmp_path, monkeypatch):
    return Resuming(run_here, trained, compose_launch, tmp_path / "logs" / "runs", monkeypatch)
