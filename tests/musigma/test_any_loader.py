"""The LightningModule trains, validates, tests and predicts with any PyTorch DataLoader."""

import logging

import lightning as L
import pytest
import torch
from lightning.pytorch.loggers import TensorBoardLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.utils.data import DataLoader, Dataset, IterableDataset, Subset

from musigma.callbacks import BestAndLast, EpochLines, ImagePanel, LatentPanel, Progress, Throughput
from musigma.data import Batch
from musigma.data.batch import as_batch
from musigma.evaluation_noise import EvaluatedBatch, EvaluationNoise
from musigma.models import MLP, Autoencoder
from musigma.module import AutoencoderModule
from musigma.objectives import ELBO
from musigma.objectives.likelihoods import Bernoulli, Gaussian
from workbench.errors import ConfigError, DataError

# Lightning's advice for loaders without workers, validation or a length.
pytestmark = pytest.mark.filterwarnings(
    "ignore::lightning.fabric.utilities.warnings.PossibleUserWarning"
)

SHAPE = (1, 6, 6)
COUNT = 50
IMAGES = torch.rand(COUNT, *SHAPE, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(COUNT) % 3
AS = {
    "x": lambda i: IMAGES[i],
    "(x, y)": lambda i: (IMAGES[i], int(LABELS[i])),
    "a mapping": lambda i: {"x": IMAGES[i], "y": LABELS[i], "name": f"{i}.png"},
    "a Batch": lambda i: Batch(IMAGES[i], LABELS[i], torch.tensor(i)),
}


class Items(Dataset):
    def __init__(self, item=AS["(x, y)"], count=COUNT):
        self.item, self.count = item, count

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        if index >= self.count:
            raise IndexError
        return self.item(index)


class Augmented(Items):
    def __getitem__(self, index):
        x, y = super().__getitem__(index)
        return (x + 0.1 * torch.rand_like(x)).clamp(0, 1), y


class Stream(IterableDataset):
    def __iter__(self):
        return iter([(IMAGES[i], int(LABELS[i])) for i in range(COUNT)])


def _module(objective=None, likelihood=None, **settings):
    torch.manual_seed(0)
    model = Autoencoder(
        MLP(encoder_sizes=[16], decoder_sizes=[16]),
        likelihood or Gaussian(),
        image_shape=SHAPE,
        **settings,
    )
    return AutoencoderModule(model, objective or ELBO())


def _trainer(folder, **settings):
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "logger": False}
    settings = {"max_epochs": 2, "accelerator": "cpu", "enable_checkpointing": False} | settings
    return L.Trainer(default_root_dir=folder, **quiet | settings)


def _metrics(folder, loader, **settings):
    module, trainer = _module(), _trainer(folder, **settings)
    trainer.fit(module, loader, loader)
    (val,) = trainer.validate(module, loader, verbose=False)
    assert val["val/loss"] == pytest.approx(module.metrics("val")["loss"])
    (test,) = trainer.test(module, loader, verbose=False)
    assert test["test/loss"] == pytest.approx(module.metrics("test")["loss"])
    codes = trainer.predict(module, loader)
    assert torch.cat([mu for mu, *_ in codes]).shape == (COUNT, 2)
    return module.metrics("val"), module.metrics("test")


@pytest.mark.slow
def test_every_kind_of_batch_gives_the_same_metrics(tmp_path):
    found = [_metrics(tmp_path, DataLoader(Items(item), batch_size=20)) for item in AS.values()]
    found.append(_metrics(tmp_path, DataLoader(Items(), batch_size=20, num_workers=2)))
    assert all(metrics == found[0] for metrics in found)
    val, test = found[0]
    assert val == test
    assert val["elbo"] == pytest.approx(-val["distortion"] - val["rate"])


def test_evaluation_noise_depends_only_on_the_place_of_an_image(tmp_path):
    """For batches of any size, and for ranks that take every other image."""
    module, trainer = _module(), _trainer(tmp_path)
    found = []
    for size in (7, 50):
        trainer.validate(module, DataLoader(Items(), batch_size=size), verbose=False)
        found.append(module.metrics("val"))
    assert found[0] == pytest.approx(found[1])
    loader = DataLoader(torch.utils.data.Subset(Items(), range(6)))

    def noise(of, rank, *batches):
        drawn = EvaluationNoise()
        found = [
            drawn(Batch(torch.empty(count), torch.empty(count), None), at, samples=2, size=3)
            for number, count in enumerate(batches)
            if (at := EvaluatedBatch(number, of, rank, loader))
        ]
        return torch.cat(found, 1)

    alone = noise(1, 0, 6)
    assert torch.equal(noise(2, 1, 2, 1), alone[:, 1::2])
    # Lightning repeats images to fill the last batch.
    assert torch.equal(noise(2, 1, 3, 2), alone[:, [1, 3, 5, 1, 3]])


def test_a_stream_without_a_length_trains_reproducibly(tmp_path):
    found = [_metrics(tmp_path, DataLoader(Stream(), batch_size=20)) for _ in range(2)]
    assert found[0] == found[1]


class _NeedsDatasetSize(ELBO):
    def __call__(self, draw, step):
        assert draw.known_dataset_size() > 0
        return super().__call__(draw, step)


def test_an_objective_that_needs_the_dataset_size_refuses_a_stream_before_training(
    tmp_path,
):
    trainer = _trainer(tmp_path)
    with pytest.raises(DataError, match="data set is needed, and unknown: give"):
        trainer.fit(_module(_NeedsDatasetSize()), DataLoader(Stream(), batch_size=20))
    assert trainer.global_step == 0
    _trainer(tmp_path).fit(_module(_NeedsDatasetSize()), DataLoader(Items(), batch_size=20))


@pytest.mark.parametrize(
    ("item", "likelihood", "message"),
    [
        (lambda i: {"image": IMAGES[i]}, None, "a dict with the keys image; it should be x, "),
        (lambda i: (IMAGES[i], 0, 1), None, "a list of Tensor, Tensor, Tensor; it should be"),
        (lambda i: "digit", None, "a list of"),
        (lambda i: IMAGES[i][0], None, r"of shape \[10, 6, 6\], and the model takes \[B, 1, 6, 6"),
        (lambda i: (IMAGES[i] * 255).byte(), None, "holds torch.uint8 pixels, and the model takes"),
        (lambda i: IMAGES[i] * 2 - 1, Bernoulli, "lie between -.* and .*, and the likelihood"),
        (lambda i: IMAGES[i] / 0, None, "not all finite"),
    ],
)
def test_an_unusable_batch_is_reported_in_one_line(tmp_path, item, likelihood, message):
    module = _module(likelihood=likelihood and likelihood())
    with pytest.raises(DataError, match=message) as error:
        _trainer(tmp_path).fit(module, DataLoader(Items(item), batch_size=10))
    assert "\n" not in str(error.value)


def test_a_dataset_in_place_of_a_loader_is_reported(tmp_path):
    with pytest.raises(DataError, match="single images, .* into a DataLoader with a batch_size"):
        _trainer(tmp_path).fit(_module(), Items(AS["x"]))


def test_float64_images_and_labels_that_are_not_classes_are_accepted(tmp_path):
    items = Items(lambda i: (IMAGES[i].double(), torch.zeros(4)))
    module = _module()
    _trainer(tmp_path).fit(module, DataLoader(items, batch_size=10))
    assert module.metrics("train")["loss"] > 0


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
def test_a_run_stopped_after_an_epoch_resumes_to_the_same_bits(tmp_path, workers):
    def loader():
        return DataLoader(Augmented(), batch_size=20, shuffle=True, num_workers=workers)

    whole, begun, resumed = _module(), _module(), _module()
    _trainer(tmp_path / "whole", max_epochs=3).fit(whole, loader(), loader())
    first = _trainer(tmp_path, max_epochs=1)
    first.fit(begun, loader(), loader())
    first.save_checkpoint(tmp_path / "one.ckpt")
    torch.manual_seed(123)  # a resume must not depend on it
    _trainer(tmp_path, max_epochs=3).fit(
        resumed, loader(), loader(), ckpt_path=tmp_path / "one.ckpt", weights_only=True
    )
    for name, value in whole.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], value), name
    assert resumed.metrics("train") == whole.metrics("train")


def test_a_run_stopped_after_the_last_batch_of_an_epoch_resumes_to_the_same_bits(tmp_path):
    def loader():
        return DataLoader(Augmented(), batch_size=20, shuffle=True)

    class Keep(L.Callback):
        def on_train_batch_end(self, trainer, *_):
            trainer.save_checkpoint(tmp_path / f"{trainer.global_step}.ckpt")

    def fit(**resumed):
        module = _module()
        trainer = _trainer(tmp_path, max_epochs=3, callbacks=[Keep()])
        trainer.fit(module, loader(), loader(), **resumed)
        return module.state_dict()

    whole = fit()
    torch.manual_seed(123)  # a resume must not depend on it
    resumed = fit(ckpt_path=tmp_path / f"{len(loader())}.ckpt", weights_only=True)
    torch.testing.assert_close(resumed, whole, rtol=0, atol=0)


def test_metrics_of_several_loaders_are_means_over_all_of_their_images(tmp_path):
    def found(*parts):
        module, trainer = _module(), _trainer(tmp_path, max_epochs=1)
        loaders = [DataLoader(Subset(Items(), part), batch_size=20) for part in parts]
        trainer.fit(module, DataLoader(Items(), batch_size=20), loaders)
        trainer.test(module, loaders, verbose=False)
        assert module.metrics("val") == module.metrics("test")
        return module.metrics("test")["loss"]

    first, second = range(30), range(30, COUNT)
    mean = (30 * found(first) + (COUNT - 30) * found(second)) / COUNT
    assert found(first, second) == pytest.approx(mean)


def test_a_float64_model_uses_the_same_noise(tmp_path):
    loader = DataLoader(Items(), batch_size=25)
    found = []
    for dtype, precision in (("float", "32-true"), ("double", "32-true"), ("float", "64-true")):
        module = getattr(_module(), dtype)()
        _trainer(tmp_path, max_epochs=1, precision=precision).fit(module, loader, loader)
        found.append(module.metrics("train") | module.metrics("val"))
    assert found[1] == pytest.approx(found[0], rel=1e-4)
    assert found[2] == pytest.approx(found[0], rel=1e-4)


@pytest.mark.slow
def test_panels_progress_throughput_and_best_checkpoint_need_no_data_module(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    board = TensorBoardLogger(tmp_path, name="", version="")
    callbacks = [BestAndLast(), ImagePanel(), LatentPanel(1, 40), Progress(), Throughput()]
    callbacks.append(EpochLines())
    trainer = _trainer(
        tmp_path,
        callbacks=callbacks,
        logger=board,
        enable_checkpointing=True,
        enable_progress_bar=True,
        log_every_n_steps=1,
    )
    trainer.fit(_module(), DataLoader(Items(), batch_size=20), DataLoader(Items(), batch_size=30))
    assert {path.name for path in (tmp_path / "checkpoints").iterdir()} >= {
        "best.ckpt",
        "last.ckpt",
    }
    events = EventAccumulator(str(tmp_path)).Reload()
    assert {"val/reconstructions", "val/latent_codes"} & {*events.Tags()["images"]}
    assert events.Scalars("train/images_per_second")[0].value > 0
    assert "epoch 1/2   train loss" in caplog.text
    assert "resumes exactly from the end of an epoch" in caplog.text

    alone = _trainer(tmp_path, callbacks=[ImagePanel(), BestAndLast()], enable_checkpointing=True)
    alone.fit(_module(), DataLoader(Stream(), batch_size=20))  # without validation
    assert alone.global_step == 6


def test_persistent_workers_cause_a_warning_about_resuming(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    loader = DataLoader(Items(), batch_size=25, num_workers=1, persistent_workers=True)
    _trainer(tmp_path, max_epochs=1).fit(_module(), loader)
    assert "persistent_workers" in caplog.text


def test_center_output_without_a_data_module_has_no_effect_and_the_log_says_so(tmp_path, caplog):
    _trainer(tmp_path).fit(_module(center_output=True), DataLoader(Items(), batch_size=25))
    assert "center_output has no effect" in caplog.text


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_weights_of_16_bits_are_refused(dtype, tmp_path):
    module = _module().to(dtype)
    with pytest.raises(ConfigError, match="need 32 bits"):
        _trainer(tmp_path).test(module, DataLoader(torch.rand(4, *SHAPE)), verbose=False)


def test_a_part_of_a_batch_that_nothing_uses_is_warned_of_once(caplog):
    batch = {"x": IMAGES, "mask": IMAGES > 0.5, "name": ["1.png"] * COUNT}
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            as_batch(batch, SHAPE, torch.float32)
    (message,) = (record.getMessage() for record in caplog.records)
    assert "are used, not mask: pass what else" in message
