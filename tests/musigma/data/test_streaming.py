"""Images streamed by worker processes: image folders, and PyTorch datasets of any class."""

import logging
import multiprocessing
import os
import signal
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch.utils.data import get_worker_info

from musigma.data import DatasetDataModule, ImageFolderDataModule, image_folder
from shapes import Shapes, ShapeStream, coloured_shapes, write_folder
from workbench.errors import DataError
from workbench.runs.weights import load_checkpoint

SHAPE = (3, 16, 16)
FLIPPED = "data.augment=[{_target_: torchvision.transforms.v2.RandomHorizontalFlip}]"
SHORT = ("trainer.accelerator=cpu", "trainer.max_epochs=2", "trainer.log_every_n_steps=2")
BARE = ("callbacks.latent_panel=null", "callbacks.image_panel=null")
SMALL = ("model.network.encoder_sizes=[8]", "model.network.decoder_sizes=[8]", *SHORT, *BARE)
IMAGES, LABELS = coloured_shapes(60, side=16)


@pytest.fixture
def small():
    """The overrides of a short run, without settings of MNIST."""
    return SMALL


@pytest.fixture
def folder(tmp_path):
    """The overrides that choose an image folder."""
    write_folder(tmp_path / "shapes", IMAGES, LABELS)
    return (
        *("data=image_folder", f"data.path={tmp_path}/shapes", "data.image_shape=[3,16,16]"),
        *("data.batch_size=10", "data.normalization=binarize_dynamic"),
        *("model/likelihood=bernoulli", "model=vae"),
    )


@pytest.mark.slow
def test_a_run_resumed_within_a_streamed_epoch_equals_training_from_memory(
    folder, resuming, run_here, capfd
):
    streamed = resuming.check_same_bits(*folder, FLIPPED, "data.stream=true", "data.num_workers=1")
    assert "Exception ignored" not in capfd.readouterr().err  # in a destructor
    assert multiprocessing.active_children() == []
    in_memory = load_checkpoint(run_here(*folder, FLIPPED, "data.stream=false").checkpoint("last"))
    for name, value in in_memory["state_dict"].items():
        assert torch.equal(streamed[f"/state_dict/{name}"], value), name


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "place"),
    [
        ("ShapeStream", (0, 3)),  # the last batch of an epoch
        *(
            pytest.param(*case, marks=pytest.mark.exhaustive)
            for case in (
                ("Shapes", (1, 1)),
                ("Shapes", (0, 3)),
                ("ShapeStream", (0, 1)),
                ("ShapeStream", (1, 1)),
            )
        ),
    ],
)
def test_any_dataset_class_trains_and_resumes_to_the_same_bits(kind, place, resuming, monkeypatch):
    monkeypatch.setenv("MUSIGMA_TRUSTED", "shapes")
    resuming.check_same_bits(
        *("data=dataset", f"data.dataset._target_=shapes.{kind}", "data.batch_size=10"),
        *("data.image_shape=[3,16,16]", "+data.test.split=test", "+data.val.split=val"),
        *("data.num_workers=1", FLIPPED),
        place=place,
    )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"odd": "floats"}, "item 0 holds torch.float32, and should hold grey levels 0 to 255"),
        ({"odd": "small"}, r"item 0 has the shape \[3, 8, 16\], and data.image_shape is"),
        ({"odd": "nothing"}, "item 0 holds NoneType"),
        ({"odd": "deep"}, "item 0 holds I;16 pixels, and should hold grey levels 0 to 255"),
        ({"odd": "raises"}, "item 0 cannot be read: ValueError: no such image"),
        ({"count": 0}, "Shapes holds no images"),
        ({"splits": "train"}, "data.dataset: TypeError: .*unexpected keyword argument 'splits'"),
    ],
)
def test_mistakes_in_a_dataset_are_reported_in_one_line_before_training(settings, message):
    data = DatasetDataModule(dataset=partial(Shapes, **settings), image_shape=SHAPE)
    with pytest.raises(DataError, match=message) as error:
        data.prepare_data()
    assert "\n" not in str(error.value)


# Torch may notice the end again while it deletes the loader.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("kind", [pytest.param(Shapes, marks=pytest.mark.exhaustive), ShapeStream])
def test_a_killed_worker_is_reported_with_what_to_do(kind, monkeypatch):
    def read(self, index):
        if get_worker_info():
            os.kill(os.getpid(), signal.SIGKILL)
        return IMAGES[index], 0

    monkeypatch.setattr(Shapes, "__getitem__", read)
    data = DatasetDataModule(dataset=kind, image_shape=SHAPE, num_workers=1)
    data.setup("fit")
    with pytest.raises(DataError, match=r"has ended .*\n.*set data\.num_workers"):
        list(data.train_dataloader())


class _Black(torch.utils.data.Dataset):
    def __len__(self):
        return 6_000

    def __getitem__(self, index):
        return torch.zeros(3, 128, 128, dtype=torch.uint8)


def _private_memory(process):
    """MiB that a process shares with no other."""
    lines = Path(f"/proc/{process.pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_")) / 1024


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="no /proc")
def test_the_memory_of_a_worker_does_not_grow_with_the_images_that_it_has_read():
    data = DatasetDataModule(
        dataset=_Black, image_shape=(3, 128, 128), num_workers=1, batch_size=128, val_size=0
    )
    data.setup("fit")
    memory = []
    for _ in data.train_dataloader():  # 280 MiB of pixels
        (worker,) = multiprocessing.active_children()
        memory.append(_private_memory(worker))
    assert memory[-1] - memory[0] < 50


class _Bands(torch.utils.data.Dataset):
    def __len__(self):
        return 20

    def __getitem__(self, index):
        return torch.full((5, 4, 6), index, dtype=torch.uint8)


def test_a_dataset_of_tensors_can_have_any_number_of_channels():
    data = DatasetDataModule(dataset=_Bands, image_shape=(5, 4, 6), num_workers=0)
    data.setup("fit")
    assert next(iter(data.train_dataloader())).x.shape[1:] == (5, 4, 6)


def test_a_damaged_image_is_reported_when_it_is_streamed(tmp_path):
    write_folder(tmp_path, IMAGES)
    for path in tmp_path.iterdir():  # all of them, as any may be held out
        path.write_bytes(path.read_bytes()[:60])
    data = ImageFolderDataModule(path=tmp_path, image_shape=SHAPE, stream=True, num_workers=0)
    data.prepare_data()
    with pytest.raises(DataError, match=r"\.png cannot be read as an image"):
        list(data.setup("fit") or data.train_dataloader())


def test_a_folder_too_large_for_memory_is_streamed_and_the_log_says_so(
    tmp_path, monkeypatch, caplog
):
    write_folder(tmp_path, IMAGES)
    caplog.set_level(logging.INFO)
    for free, is_streamed in ((1e9, False), (100.0, True)):
        monkeypatch.setattr(image_folder, "free_host_memory", lambda free=free: free)
        data = ImageFolderDataModule(path=tmp_path, image_shape=SHAPE)
        data.prepare_data()
        assert data.stream is is_streamed
        assert ("streaming 60 images from their files" in caplog.text) is is_streamed


def test_the_mean_image_of_streamed_data_is_that_of_all_images_on_each_process(tmp_path):
    write_folder(tmp_path, IMAGES)
    settings = {"image_shape": SHAPE, "val_size": 0, "stream": True, "num_workers": 0}
    data = ImageFolderDataModule(path=tmp_path, **settings)
    data.trainer = SimpleNamespace(
        global_rank=1, world_size=2, strategy=SimpleNamespace(root_device=torch.device("cpu"))
    )
    data.prepare_data()
    data.setup("fit")
    train = data._sets["train"]
    images = torch.stack([train.read(int(row))[0] for row in train.rows])
    torch.testing.assert_close(data.mean_image(), images.double().div(255).mean(0).float())
