"""Stop runs, resume them, and compare them with uninterrupted ones."""

import pytest


def stop_at(monkeypatch, epoch, batch):
    """Make runs stop after a batch, as Ctrl-C does."""
    from workbench.callbacks.graceful_stop import GracefulStop

    original = GracefulStop.on_train_batch_end

    def stop(self, trainer, module, outputs, batch_, batch_idx):
        if (trainer.current_epoch, batch_idx) == (epoch, batch):
            self.stopping = True
        original(self, trainer, module, outputs, batch_, batch_idx)

    monkeypatch.setattr(GracefulStop, "on_train_batch_end", stop)


def flat(value, name=""):
    """Path → leaf, of nested dicts and lists."""
    if isinstance(value, dict):
        return {k: v for key, item in value.items() for k, v in flat(item, f"{name}/{key}").items()}
    if isinstance(value, list | tuple):
        return {k: v for i, item in enumerate(value) for k, v in flat(item, f"{name}/{i}").items()}
    return {name: value}


class Resuming:
    """Stops a run and resumes it; made by the fixture `resuming`."""

    def __init__(self, run_here, trained, compose_launch, runs, monkeypatch):
        self.run_here, self.trained, self.compose_launch = run_here, trained, compose_launch
        self.runs, self.monkeypatch = runs, monkeypatch

    def check_same_bits(self, *overrides, place=(1, 1)):
        """Check that a run that is stopped at an (epoch, batch) and resumed ends like a whole one.

        Returns the leaves of the last checkpoint.
        """
        import torch

        from curves import scalars_of
        from workbench.jobs.quoting import quote
        from workbench.runs.folder import RunFolder
        from workbench.runs.weights import load_checkpoint
        from workbench.training.run import run

        whole = self.trained(*overrides)
        with self.monkeypatch.context() as patch:
            stop_at(patch, *place)
            with pytest.raises(SystemExit):
                self.run_here(*overrides)
        (path,) = {folder for folder in self.runs.iterdir() if folder != whole.path}
        run(self.compose_launch(quote(f"resume={path}")))
        resumed = RunFolder.open(path)
        for checkpoint in ("best", "last"):
            expected = flat(load_checkpoint(whole.checkpoint(checkpoint)))
            found = flat(load_checkpoint(resumed.checkpoint(checkpoint)))
            assert found.keys() == expected.keys()
            for name, value in expected.items():
                assert not isinstance(value, torch.Tensor) or torch.equal(found[name], value), name
        assert scalars_of(path) == scalars_of(whole.path)
        assert resumed.read_metrics()["metrics"] == whole.read_metrics()["metrics"]
        return expected


@pytest.fixture
def resuming(run_here, trained, compose_launch, tmp_path, monkeypatch):
    return Resuming(run_here, trained, compose_launch, tmp_path / "logs" / "runs", monkeypatch)
