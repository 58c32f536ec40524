"""Foreign LightningModules and data modules train, sweep, resume and report."""

import json
from types import SimpleNamespace

import lightning as L
import pytest
import torch

import tutorial
from curves import scalars_of
from musigma.commands.evaluate import evaluate
from musigma.commands.export import export_run
from musigma.commands.predict import predict
from musigma.data import ForeignDataModule
from musigma.loading import load_run
from musigma.metrics import meanings
from musigma.models import MLP, Autoencoder
from musigma.module import AutoencoderModule
from musigma.objectives import ELBO
from musigma.objectives.likelihoods import Laplace
from resuming import stop_at
from workbench.config.misfits import find_misfits
from workbench.errors import ConfigError, DataError, RunError
from workbench.interactive import compose
from workbench.jobs.quoting import quote
from workbench.runs.folder import RunFolder
from workbench.runs.weights import load_checkpoint
from workbench.stages import without_stage
from workbench.sweeps.job import mark_running, run_job
from workbench.sweeps.report import report
from workbench.training.run import run

pytestmark = pytest.mark.filterwarnings(
    "ignore::lightning.fabric.utilities.warnings.PossibleUserWarning"
)

MODULE = ("module=own", "module._target_=tutorial.LitAutoEncoder", "++module.hidden=8")
GAN = ("module=own", "module._target_=tutorial.LitGAN")
DATA = ("data=own", "data._target_=tutorial.Blobs", "++data.count=80")
OURS = ("data.source=sample", "+trainer.limit_train_batches=4", "+trainer.limit_val_batches=1")
SHORT = ("trainer.accelerator=cpu", "trainer.max_epochs=2", "trainer.log_every_n_steps=1")
SMALL = ("model.network.encoder_sizes=[8]", "model.network.decoder_sizes=[8]")
BARE = (*SMALL, "callbacks.image_panel=null", "callbacks.latent_panel=null")


@pytest.fixture(autouse=True)
def _trusted(monkeypatch):
    monkeypatch.setenv("MUSIGMA_TRUSTED", "tutorial")


@pytest.fixture
def train(compose_launch, tmp_path):
    """Overrides → the folder of a short run."""

    def run_it(*overrides):
        before = {*tmp_path.glob("logs/runs/*")}
        run(compose_launch(*SHORT, *overrides))
        (path,) = {*tmp_path.glob("logs/runs/*")} - before
        return RunFolder.open(path)

    return run_it


def test_metric_names_lose_only_the_name_of_their_stage():
    assert without_stage("val_loss", "val") == without_stage("valid/loss", "val") == "loss"
    assert without_stage("loss", "train") == without_stage("train_loss", "train") == "loss"
    assert without_stage("val_loss", "train") == "val_loss"
    assert without_stage("value", "val") == "value"
    assert without_stage("test", "test") == "test"


def test_a_foreign_module_trains_on_our_data_and_its_metrics_are_reported(train):
    done = train(*MODULE, *OURS)
    metrics = done.read_metrics()
    assert metrics["status"] == "completed"
    assert metrics["monitor"] == "loss"
    assert {"train/loss", "val/loss", "test/loss"} <= metrics["metrics"].keys()
    output = (done.path / "train.log").read_text()
    assert "tensorboard --logdir" in output
    assert "evaluate.py" not in output  # that script is for this project's models
    best = load_checkpoint(done.checkpoint("best"))
    assert best["validation"]["loss"] == metrics["metrics"]["val/loss"]
    curves = scalars_of(done.path)
    assert {"train/loss", "train/loss_step", "val/loss", "train/lr"} <= curves.keys()
    # Lightning's own way to open it: the weights have the module's names.
    module = tutorial.LitAutoEncoder.load_from_checkpoint(done.checkpoint("best"))
    assert module.hparams.hidden == 8


def test_the_epochs_metric_is_the_mean_over_its_images(train):
    """The last batch is smaller than the others, and the model does not learn."""
    done = train(*MODULE, "++module.lr=0.0", *DATA, "++data.count=70", "trainer.max_epochs=1")
    curves = scalars_of(done.path)
    steps = [value for _, value in curves["train/loss_step"]]
    sizes = torch.tensor([32.0, 10.0])
    assert len(steps) == 2
    mean = float((sizes * torch.tensor(steps)).sum() / sizes.sum())
    assert done.read_metrics()["metrics"]["train/loss"] == pytest.approx(mean, rel=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("overrides", "place"),
    [
        # within an epoch: our loader has a state
        ((*MODULE, *OURS), (1, 1)),
        # at the end of an epoch
        pytest.param((*MODULE, *DATA), (0, 1), marks=pytest.mark.exhaustive),
        ((*GAN, *DATA, "monitor=score"), (0, 1)),
        ((*DATA, "model=vae", *BARE), (0, 1)),
    ],
)
def test_an_interrupted_foreign_run_resumes_to_the_same_bits(
    overrides, place, train, compose_launch, tmp_path, monkeypatch
):
    whole = train(*overrides, "trainer.max_epochs=3")
    with monkeypatch.context() as patch:
        stop_at(patch, *place)
        with pytest.raises(SystemExit):
            train(*overrides, "trainer.max_epochs=3")
    (path,) = {*tmp_path.glob("logs/runs/*")} - {whole.path}
    assert json.loads((path / "metrics.json").read_text())["status"] == "interrupted"
    run(compose_launch(quote(f"resume={path}")))
    resumed = RunFolder.open(path)
    assert resumed.read_metrics()["status"] == "completed"
    expected = load_checkpoint(whole.checkpoint("last"))["state_dict"]
    for name, value in load_checkpoint(resumed.checkpoint("last"))["state_dict"].items():
        assert torch.equal(value, expected[name]), name
    for stage in ("val/", "test/"):
        metrics = [
            {k: v for k, v in folder.read_metrics()["metrics"].items() if k.startswith(stage)}
            for folder in (whole, resumed)
        ]
        assert metrics[0] == metrics[1]


def test_layers_made_in_configure_model_are_frozen_and_resumed(train, compose_launch):
    made = ("module=own", "module._target_=tutorial.MadeLater", *DATA, "trainer.max_epochs=1")
    done = train(*made, "freeze=[decoder]")
    before = load_checkpoint(done.checkpoint("last"))["state_dict"]
    run(compose_launch(quote(f"resume={done.path}"), "trainer.max_epochs=2"))
    after = load_checkpoint(done.checkpoint("last"))["state_dict"]
    assert not torch.equal(before["last.weight"], after["last.weight"])
    assert torch.equal(before["decoder.0.weight"], after["decoder.0.weight"])
    frozen = train(*made, "freeze=[last]")
    assert "615,440 of them frozen" in (frozen.path / "train.log").read_text().replace("\n", " ")


def test_a_metric_of_one_of_several_validation_sets_is_monitored(train):
    sets = ("data=own", "data._target_=tutorial.Several", "++data.count=80")
    choice = "monitor=loss/dataloader_idx_1"
    done = train("module=own", "module._target_=tutorial.OfSets", *sets, choice)
    best = load_checkpoint(done.checkpoint("best"))
    metrics = done.read_metrics()["metrics"]
    assert best["validation"]["loss/dataloader_idx_1"] == metrics["val/loss/dataloader_idx_1"]
    assert metrics["val/loss/dataloader_idx_1"] != metrics["val/loss/dataloader_idx_0"]


def test_our_module_is_validated_on_all_images_of_several_sets(train):
    limit = "+trainer.limit_val_batches=1"
    sets = ("data=own", "data._target_=tutorial.Several", "++data.count=80", limit)
    done = train(*sets, "model=vae", *BARE[:-2], "callbacks.latent_panel=null")
    assert done.read_metrics()["measured_on"] == {"val": "16 of 32 examples"}


@pytest.mark.slow
def test_a_sweep_over_a_foreign_modules_arguments_is_reported(compose_launch, tmp_path):
    folder = tmp_path / "logs" / "sweeps" / "mine"
    folder.mkdir(parents=True)
    for hidden in (4, 8):
        overrides = (*MODULE[:2], *DATA, *SHORT, f"++module.hidden={hidden}", "sweep=mine")
        launch = compose_launch(*overrides, "varied=[module.hidden]")
        run_job(launch._replace(parent=folder, name=f"hidden={hidden}", in_sweep=True))
    page = report("mine", folder.parent).read_text()
    assert "hidden=8" in page
    (meanings, _) = (path.read_text() for path in sorted(folder.glob("*/metrics.json")))
    assert "as LitAutoEncoder logs it" in meanings
    table = (folder / "report.csv").read_text()
    assert table.count("completed") == 2


def test_a_gan_without_a_test_is_monitored_by_a_metric_to_maximise(train):
    done = train(*GAN, *DATA, "monitor=score", "+callbacks.checkpoint.mode=max")
    metrics = done.read_metrics()
    assert metrics["meanings"]["metrics"]["score"]["better"] == "higher"
    assert metrics["meanings"]["metrics"]["*"]["better"] == "neither"  # it may be an accuracy
    assert {"val/score", "train/critic", "train/g_loss"} <= metrics["metrics"].keys()
    assert not any(name.startswith("test/") for name in metrics["metrics"])
    assert "no test: LitGAN has no test_step" in (done.path / "train.log").read_text()
    scores = [value for _, value in scalars_of(done.path)["val/score"]]
    assert metrics["metrics"]["val/score"] == pytest.approx(max(scores))


def test_a_trial_of_a_foreign_module_is_judged_by_its_metric_and_pruned(compose_launch, tmp_path):
    launch = compose_launch(*SHORT, *MODULE, *OURS, "optimized_metric=val/loss")
    folder = RunFolder.at(tmp_path / "trial")
    folder.claim()
    mark_running(folder, launch, trial=0)
    values = []
    run(launch, folder, lambda value, epoch: values.append(value) or epoch == 0)
    known = folder.read_metrics()
    assert known["status"] == "pruned"
    assert values == [known["metrics"]["val/loss"]]


def test_a_test_of_no_batches_is_not_announced(train):
    done = train(*MODULE, *DATA, "trainer.max_epochs=1", "+trainer.limit_test_batches=0")
    assert not any(name.startswith("test/") for name in done.read_metrics()["metrics"])
    assert "testing" not in (done.path / "train.log").read_text()


@pytest.mark.filterwarnings("ignore:.*configure_optimizers. returned .None.")
def test_a_module_without_an_optimizer_is_tested(train):
    done = train("module=own", "module._target_=tutorial.Unoptimized", *DATA)
    assert "test/loss" in done.read_metrics()["metrics"]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (GAN, "monitor=loss is not among the metrics of a validation: val/score; set monitor to"),
        (("module=own", "module._target_=tutorial.Silent"), "validation_step logs none"),
        ((*MODULE, "optimized_metric=val/acc"), "no such metric; there are train/loss, val/loss"),
        ((*GAN, "monitor=score", "optimized_metric=test/score"), "there is no such metric"),
        ((*MODULE, "++module.optimizer=sgd"), None),
    ],
)
def test_a_metric_that_cannot_be_monitored_is_reported_before_training(
    overrides, message, train, tmp_path
):
    with pytest.raises(ConfigError if message else AssertionError, match=message):
        train(*overrides, *DATA)
    assert not [*tmp_path.glob("logs/runs/*/checkpoints/*")]


@pytest.mark.parametrize(
    ("where", "message"),
    [("step", "^module: .* the 'loss' key"), ("save", "^a checkpoint of Mistaken cannot be read")],
)
def test_a_mistake_of_a_module_is_found_in_its_rehearsal(where, message, train):
    module = ("module=own", "module._target_=tutorial.Mistaken", f"++module.where={where}")
    with pytest.raises(ConfigError, match=message):
        train(*module, *DATA)


def test_a_foreign_class_may_take_mappings():
    module = ("module=own", "module._target_=tutorial.Mapped")
    compose((*module, "++module.a={x: {y: 1}}", "++module.b={x: 0.5}"))
    with pytest.raises(ConfigError, match=r"module\.b\.x='a': should be a number"):
        compose((*module, "++module.b={x: a}"))
    with pytest.raises(ConfigError, match="should be a plain value, without a _target_"):
        compose((*module, "++module.a={x: {_target_: torch.nn.ReLU}}"))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ((*MODULE, "model=vae"), "model=vae: cannot be set here, as tutorial.LitAutoEncoder has"),
        ((*MODULE, "optimizer.lr=0.1"), "optimizer.lr=0.1: cannot be set here"),
        ((*MODULE, "module.hiden=3"), "has no argument hiden; did you mean hidden"),
        (("module=own", "module._target_=tutorial.Lazy"), "module: has lazy layers, whose shapes"),
        ((*MODULE, "module.hidden=many"), "module.hidden=.many.: should be a whole number"),
        (("module=own", "module._target_=tutorial.Blobs"), "should be LightningModule"),
        (("data=own", "data._target_=tutorial.LitGAN"), "should be LightningDataModule"),
    ],
)
def test_mistakes_are_reported_when_jobs_are_checked(overrides, message):
    with pytest.raises(ConfigError, match=message):
        compose(overrides)


@pytest.mark.parametrize("precision", ["bf16-true", "64-true"])
def test_weights_of_a_foreign_module_have_any_precision(precision, train):
    folder = train(*MODULE, *DATA, f"trainer.precision={precision}")
    weights = load_checkpoint(folder.checkpoint("last"))["state_dict"].values()
    kind = torch.bfloat16 if precision == "bf16-true" else torch.float64
    assert {weight.dtype for weight in weights} == {kind}


def test_a_package_that_is_not_trusted_is_not_imported(monkeypatch):
    monkeypatch.setenv("MUSIGMA_TRUSTED", "")
    for overrides in (MODULE, DATA):
        with pytest.raises(ConfigError, match=r"tutorial\..* is not allowed"):
            compose(overrides)


@pytest.mark.slow
def test_our_module_trains_on_foreign_data_and_is_evaluated(train, without_plots, tmp_path):
    done = train(*DATA, "model=vae", *SMALL)
    metrics = done.read_metrics()["metrics"]
    where = {"checkpoint": "best", "images": 4, "samples": 25, "seed": 0}
    (found,) = evaluate([str(done.path)], tmp_path, **where)
    assert found["distortion"]["mean"] == pytest.approx(metrics["test/distortion"], rel=1e-5)
    assert found["test_images"] == 16
    predict("reconstruct", str(done.path), tmp_path, checkpoint="best", input="val")
    assert export_run(load_run(done.path), tmp_path / "exported")


def test_pixels_of_foreign_data_are_checked_against_the_likelihood(train):
    with pytest.raises(DataError, match="pixels lie between .* and 2, and the likelihood"):
        train(*DATA, "++data.levels=2.0", "model=vae", "model/likelihood=bernoulli", *SMALL)


@pytest.mark.slow
def test_pixels_beyond_one_have_no_metrics_on_the_common_scale(train):
    done = train(*DATA, "++data.levels=2.0", "model=vae", *BARE)
    metrics = done.read_metrics()["metrics"]
    assert "test/elbo" in metrics
    assert "test/elbo_unit" not in metrics


def test_a_declared_image_shape_is_checked_before_anything_is_read(compose_launch):
    declared = ("data=own", "data._target_=tutorial.Known", "model/network=conv")
    wrong = compose_launch(*declared, "model.network.channels=[4,8,16,32,64,64,64]")
    assert next(find_misfits(wrong.config), None) is not None
    assert next(find_misfits(compose_launch(*declared).config), None) is None


@pytest.mark.slow
def test_without_validation_and_test_the_last_weights_are_the_result(train):
    done = train("data=own", "data._target_=tutorial.Known", "++data.count=40", *BARE)
    names = {name.partition("/")[0] for name in done.read_metrics()["metrics"]}
    assert names == {"train"}
    assert done.checkpoint("best").is_file()


def test_other_commands_refuse_a_foreign_run_and_say_how_to_open_it(train, tmp_path):
    done = train(*MODULE, *DATA)
    message = r"is a run of tutorial.LitAutoEncoder, not of a model of musigma, .*Open it with"
    for use in (
        lambda: load_run(done.path),
        lambda: evaluate(
            [str(done.path)], tmp_path, checkpoint="best", images=1, samples=25, seed=0
        ),
        lambda: predict("encode", str(done.path), tmp_path, checkpoint="best", input="test"),
    ):
        with pytest.raises(RunError, match=message):
            use()
    with pytest.raises(RunError, match="holds a LitAutoEncoder: open it with LitAutoEncoder."):
        AutoencoderModule.load_from_checkpoint(done.checkpoint("best"))


def test_a_split_without_a_generator_is_the_same_in_every_run():
    found = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        data = ForeignDataModule(tutorial.Blobs(count=40))
        data.prepare_data()
        data.setup("fit")
        found.append(data.inner.val.indices)
        assert torch.initial_seed() == seed
    assert found[0] == found[1]


class _Stream(torch.utils.data.IterableDataset):
    def __iter__(self):
        return iter(torch.rand(5, 1, 4, 4))


class _Streams(L.LightningDataModule):
    def train_dataloader(self):
        return torch.utils.data.DataLoader(_Stream(), batch_size=2)

    val_dataloader = train_dataloader


def test_foreign_loaders_may_have_no_length():
    name, images, labels = ForeignDataModule(_Streams()).first_images(3)
    assert (name, len(images), len(labels)) == ("val", 3, 3)


class _Noise(L.LightningDataModule):
    def __init__(self, batch_size):
        super().__init__()
        self.batch_size = batch_size

    def train_dataloader(self):
        images = torch.randn(40, 1, 28, 28, generator=torch.Generator().manual_seed(0))
        return torch.utils.data.DataLoader(images, batch_size=self.batch_size, shuffle=True)


def test_metrics_on_foreign_data_compare_for_any_seed_and_batch_size():
    config = {"model": {"likelihood": {}, "objective": {}}}
    module = SimpleNamespace(model=Autoencoder(MLP((8,), (8,)), Laplace()), objective=ELBO())
    found, firsts = [], []
    for seed, size in ((0, 10), (1, 10), (1, 20)):
        torch.manual_seed(seed)
        data = ForeignDataModule(_Noise(size))
        found.append(meanings(config, module, data).of("test/loss"))
        firsts.append(data.first_batch().x)
    assert len({*found}) == 1
    assert torch.equal(firsts[0], firsts[1])


class _Flat(L.LightningDataModule):
    def train_dataloader(self):
        return torch.utils.data.DataLoader(torch.rand(4, 784))


class _Nothing(L.LightningDataModule):
    def train_dataloader(self):
        return None


class _Missing(_Flat):
    def setup(self, stage):
        raise FileNotFoundError("no /data/x.npz")


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (_Flat, r"_Flat: a batch holds images of shape \[1, 784\]"),
        (_Nothing, "_Nothing.train_dataloader returns no loader"),
        (_Missing, "_Missing.setup: FileNotFoundError: no /data/x.npz"),
    ],
)
def test_an_unusable_data_module_is_reported_in_one_line(kind, message):
    with pytest.raises(DataError, match=message):
        _ = ForeignDataModule(kind()).image_shape


def test_other_attributes_come_from_the_foreign_data_module():
    data = ForeignDataModule(tutorial.Blobs(count=40))
    assert data.hparams.count == 40
    with pytest.raises(AttributeError, match="nothing_of_the_kind"):
        _ = data.nothing_of_the_kind
