"""Jobs from Python: `musigma.compose` and `musigma.build`, and Hydra's own functions."""

import sys
from pathlib import Path

import hydra
import pytest
import torch
from hydra.core.global_hydra import GlobalHydra
from hydra.utils import instantiate
from omegaconf import flag_override

import musigma
from musigma import load_run
from musigma.module import AutoencoderModule
from small import SMALL
from workbench.config.build import build_data, build_module, compared_settings
from workbench.config.identity import identity
from workbench.errors import ConfigError, RunError
from workbench.jobs.command_line import read_command_line
from workbench.jobs.quoting import quote
from workbench.training.run import run

PACKAGES = ("musigma", "workbench")
CONFIGS = Path(__file__).parents[2] / "configs"


def test_compose_gives_the_checked_config_from_anywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = musigma.compose(["model=vae", "model.latent_dim=8", "model.network.activation=GELU"])
    assert config["name"] == "vae"
    assert config["model"]["latent_dim"] == 8
    assert not GlobalHydra.instance().is_initialized()
    with pytest.raises(ConfigError) as error:
        musigma.compose(["model=vea", "optimizer.lr=fast", "seeed=1"])
    message = str(error.value)
    assert "did you mean vae?" in message
    assert "optimizer.lr=" in message
    assert "from optimizer.lr=fast" in message
    assert "seeed" in message
    with pytest.raises(ConfigError, match="is for the command line"):
        musigma.compose(["resume=latest"])
    with pytest.raises(ConfigError, match=r"compose\(\['model=vae'\]\)"):
        musigma.compose("model=vae")


def test_build_gives_objects_that_train_into_a_run_folder(tmp_path):
    config = musigma.compose([*SMALL, "trainer.max_epochs=1", f"log_dir={tmp_path}"])
    module, data, trainer, folder = musigma.build(config)
    assert folder.parent == tmp_path / "runs"
    trainer.fit(module, data)
    run = musigma.load_run(folder)
    for name, value in run.model.state_dict().items():
        assert torch.equal(value, module.model.state_dict()[name])
    with pytest.raises(RunError, match="holds a run already"):
        musigma.build(config, folder)
    config["trainer"]["max_epochs"] = "many"
    with pytest.raises(ConfigError, match=r"trainer\.max_epochs"):
        musigma.build(config, tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_hydras_own_functions_build_and_train_from_the_configs(tmp_path):
    with hydra.initialize_config_dir(str(CONFIGS), version_base="1.3"):
        cfg = hydra.compose("train", ["model=vae", "data.source=sample", "trainer=cpu"])
    data = instantiate(cfg.data)
    with flag_override(cfg, "struct", False):
        objective = instantiate(cfg.model.pop("objective"))
    model = instantiate(cfg.model)
    optimizer = instantiate(cfg.optimizer)
    module = instantiate(cfg.module, model, objective, optimizer=optimizer, seed=cfg.seed)
    assert cfg.log_dir == str(CONFIGS.parent / "logs")
    trainer = instantiate(cfg.trainer, default_root_dir=tmp_path, logger=False, fast_dev_run=True)
    trainer.fit(module, data)


OWN = '''
from musigma.module import AutoencoderModule

class Doubled(AutoencoderModule):
    """Trains on a multiple of the loss."""

    def __init__(self, *arguments, factor: float = 2.0, **settings):
        super().__init__(*arguments, **settings)
        self.factor = factor

    def training_step(self, batch, batch_idx):
        return self.factor * super().training_step(batch, batch_idx)
'''


@pytest.fixture
def doubled(tmp_path, monkeypatch):
    """The overrides that choose a module of the user."""
    (tmp_path / "mylab_modules.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("MUSIGMA_TRUSTED", "mylab_modules")
    yield "module._target_=mylab_modules.Doubled", "++module.factor=3"
    sys.modules.pop("mylab_modules", None)


@pytest.mark.slow
def test_a_users_module_is_configured_trained_swept_and_resumed(doubled, run_here, compose_launch):
    folder = run_here(*doubled, "trainer.max_epochs=1")
    run(compose_launch(quote(f"resume={folder.path}"), "trainer.max_epochs=2"))
    module = AutoencoderModule.load_from_checkpoint(folder.checkpoint("last"))
    assert type(module).__name__ == "Doubled"
    assert module.factor == 3
    usual = run_here("trainer.max_epochs=2")
    mine, theirs = (load_run(path).model.state_dict() for path in (folder.path, usual.path))
    assert not all(torch.equal(mine[name], theirs[name]) for name in mine)
    jobs = read_command_line("train", ["-m", *doubled[:1], "module.factor=1,2", *SMALL]).jobs
    assert [job.config["module"]["factor"] for job in jobs] == [1, 2]
    assert len({identity(job.config) for job in jobs}) == 2
    assert compared_settings(jobs[0].config)["module"] == "Doubled"


def test_a_module_of_the_wrong_type_is_refused():
    for target, message in (("torch.nn.Linear", "LightningModule"), ("os.system", "not allowed")):
        with pytest.raises(ConfigError, match=rf"module\._target_.*{message}"):
            musigma.compose([f"module._target_={target}"])
    with pytest.raises(ConfigError, match=r"module\.seed: is set by the run itself"):
        musigma.compose(["module.seed=3"])


def test_configs_of_older_versions_without_a_module_compare_with_new_ones(compose_small):
    new = compose_small().config
    old = {name: value for name, value in new.items() if name != "module"}
    assert identity(new) == identity(old)
    assert compared_settings(new) == compared_settings(old)
    assert type(build_module(old, build_data(old))) is AutoencoderModule


def test_the_packages_are_marked_as_typed():
    assert all((CONFIGS.parent / "src" / name / "py.typed").is_file() for name in PACKAGES)
