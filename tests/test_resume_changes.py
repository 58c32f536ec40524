"""A resumed run accepts only the changes that it may have, and these take effect."""

import pytest

from workbench.errors import ConfigError, RunError, UserError
from workbench.jobs.quoting import quote
from workbench.runs.weights import load_checkpoint
from workbench.training.run import run

pytestmark = pytest.mark.slow


def _content(folder):
    return {p: p.read_bytes() for p in sorted(folder.path.rglob("*")) if p.is_file()}


@pytest.fixture
def finished(trained):
    return trained()


REFUSED = [
    ("model.latent_dim=5", RunError, "model.latent_dim=5: the run has 2 and keeps it"),
    ("model.network.activation=Tanh", RunError, "network.activation=Tanh: the run has LeakyReLU"),
    ("model.objective.samples=3", RunError, "samples=3: the run has 1"),
    ("model.likelihood.scale=2", RunError, "scale=2: the run has 1.0"),
    ("model.posterior=point", RunError, "posterior=point: the run has normal"),
    ("data.batch_size=7", RunError, "batch_size=7: the run has 128"),
    ("data.normalization=unit", RunError, "normalization=unit: the run has standardize"),
    ("data.val_size=3", RunError, "val_size=3: the run has 5000"),
    ("seed=3", RunError, "seed=3: the run has 0"),
    ("optimizer.fused=false", RunError, "only numbers may change"),
    ("optimizer._target_=torch.optim.SGD", RunError, "the run has torch.optim.Adam"),
    ("trainer.max_epochs=1", RunError, "max_epochs=1: the run has done 2 epochs already"),
    ("trainer.max_steps=3", RunError, "max_steps=3: the run has done 10 steps already"),
    ("trainer.max_epochs=many", ConfigError, "trainer.max_epochs='many'"),
    ("trainer.val_check_interval=1000", ConfigError, "an epoch has 5 batches"),
    ("trainer.accelerator=gpu", ConfigError, "trainer: "),
    ("callbacks.checkpoint.mode=least", ConfigError, "mode='least'"),
    ("callbacks.checkpoint.monitor=val/nope", ConfigError, "there is no such metric"),
    ("optimized_metric=nonsense", ConfigError, "there is no such metric"),
    ("trainer.strategy=ddp_spawn", ConfigError, "use ddp"),
    ("optimizer.lr=-1", ConfigError, "optimizer"),
]


def test_refused_changes_leave_the_run_folder_as_it_was(finished, compose_launch):
    before = _content(finished)
    resume = compose_launch(quote(f"resume={finished.path}"))
    for override, kind, message in REFUSED:
        with pytest.raises(kind) as error:
            run(resume._replace(overrides=[f"resume={finished.path}", override]))
        assert message in str(error.value)
        assert _content(finished) == before, override
    run(resume)  # an unchanged resume still works


def test_a_checkpoint_that_does_not_fit_the_model_is_refused_and_changes_nothing(
    finished, compose_launch
):
    path = finished.path / "config.yaml"
    path.write_text(path.read_text().replace("latent_dim: 2", "latent_dim: 5"))
    before = _content(finished)
    with pytest.raises(UserError, match="does not fit the run's model"):
        run(compose_launch(quote(f"resume={finished.path}")))
    assert _content(finished) == before


def _group(folder):
    (state,) = load_checkpoint(folder.checkpoint("last"))["optimizer_states"]
    return state["param_groups"][0]


def test_new_optimizer_settings_take_effect_and_are_kept(finished, compose_launch):
    resume = quote(f"resume={finished.path}")
    more = ["optimizer.lr=1e-5", "+optimizer.weight_decay=0.01", "trainer.max_epochs=3"]
    run(compose_launch(resume, *more))
    assert finished.read_config()["optimizer"]["lr"] == 1e-5
    assert _group(finished)["lr"] == 1e-5
    assert _group(finished)["weight_decay"] == 0.01
    run(compose_launch(resume, "trainer.max_epochs=4"))  # the new values are kept
    assert _group(finished)["lr"] == 1e-5


def test_settings_recorded_before_a_kill_take_effect_on_resume(finished, compose_launch):
    config = finished.read_config()
    config["optimizer"]["lr"] = 1e-5
    finished.write_config(config, [])
    run(compose_launch(quote(f"resume={finished.path}"), "trainer.max_epochs=3"))
    assert _group(finished)["lr"] == 1e-5


TRAINER = [
    "trainer.fast_dev_run=true",
    "trainer.overfit_batches=2",
    "trainer.limit_train_batches=0.5",
    "trainer.accumulate_grad_batches=2",
    "trainer.reload_dataloaders_every_n_epochs=1",
]


def test_trainer_settings_that_redefine_an_epoch_or_a_step_are_refused(finished, compose_launch):
    before = _content(finished)
    resume = compose_launch(quote(f"resume={finished.path}"))
    for override in TRAINER:
        with pytest.raises(RunError, match="steps, epochs and the keeping of checkpoints"):
            run(resume._replace(overrides=[f"resume={finished.path}", override]))
        assert _content(finished) == before, override


def test_a_run_with_averaged_weights_is_not_resumed_without_its_averaging(trained, compose_launch):
    folder = trained("++callbacks.ema._target_=lightning.pytorch.callbacks.EMAWeightAveraging")
    config = folder.read_config()
    config["callbacks"]["ema"] = None
    folder.write_config(config, [])
    before = _content(folder)
    with pytest.raises(RunError, match="keep the callback"):
        run(compose_launch(quote(f"resume={folder.path}")))
    assert _content(folder) == before
