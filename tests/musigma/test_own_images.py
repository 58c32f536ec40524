"""Images other than MNIST: in colour, of other sizes, with few classes or none."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from commands import QUICK_EVALUATION, run_steps, script
from musigma.paths import PROJECT_ROOT
from shapes import coloured_shapes, write_folder
from workbench.errors import ConfigError, DataError
from workbench.jobs.command_line import read_command_line
from workbench.training.run import run

pytestmark = pytest.mark.slow

FOLDER = (
    "data=image_folder data.path={shapes} data.image_shape=[3,30,33] data.batch_size=20 "
    "data.normalization=standardize data.mean=[0.2,0.21,0.22] data.std=[0.2,0.25,0.3] "
    "model=vae model.latent_dim=3 model/network=conv model.network.channels=[4,8]"
)
FILE = (
    "data=tensor_file data.path={file} data.image_shape=[{channels},16,16] data.batch_size=20 "
    "model.network.encoder_sizes=[16] model.network.decoder_sizes=[16] "
)
BINARY = (
    "model=vae model.latent_dim=1 model/likelihood=bernoulli data.normalization=binarize_dynamic"
)


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """Name → the folder of a run on which every command was run; `""` → all output."""
    place = tmp_path_factory.mktemp("images")
    write_folder(place / "shapes" / "train", *coloured_shapes(60))
    write_folder(place / "shapes" / "test", *coloured_shapes(15, side=40, seed=1))
    write_folder(place / "flat", coloured_shapes(30, side=40)[0])
    images = coloured_shapes(50, side=16)[0].numpy()
    np.savez(place / "codes.npz", z=np.zeros((4, 3)))
    settings = {"folder": FOLDER.format(shapes=place / "shapes")}
    for channels, more in ((3, BINARY), (2, "model.latent_dim=3 data.val_size=0")):
        file = place / f"{channels}.npz"
        np.savez(file, images=images[:, :channels])
        settings[file.stem] = FILE.format(file=file, channels=channels) + more
    commands = []
    for name, train in settings.items():
        logs = f"log_dir={place}/{name}"
        commands += [
            f"scripts/train.py {logs} trainer=cpu trainer.max_epochs=2 {train}",
            f"scripts/evaluate.py {logs} images=4 samples=25",
            f"scripts/predict.py {logs} task=encode",
            f"scripts/report.py {logs} sweep={place}/{name}/runs",
        ]
    logs = f"log_dir={place}/folder"
    commands += [
        f"scripts/predict.py {logs} task=decode input={place}/codes.npz",
        f"scripts/predict.py {logs} input={place}/flat output={place}/flat.npz",
        f"scripts/export.py {logs}",
    ]
    quick = ("code", QUICK_EVALUATION)
    output = run_steps([quick, *map(script, commands)], PROJECT_ROOT)
    found = {name: next((place / name).glob("runs/*/config.yaml")).parent for name in settings}
    return {**found, "": output}


def _metrics(folder):
    return json.loads((folder / "evaluation" / "metrics.json").read_text())


def _drawn(folder):
    return {path.stem for path in (folder / "figures").glob("*.png")}


def test_a_folder_of_images_in_three_classes_trains_evaluates_and_reports(done):
    folder = done["folder"]
    assert "shapes 3 × 30 × 33, pixels: Standardize" in done[""]
    metrics = _metrics(folder)
    assert metrics["classes"]["k_means"]["clusters"] == 3
    gain = metrics["elbo_unit"]["mean"] - metrics["elbo"]["mean"]
    assert gain == pytest.approx(-30 * 33 * np.log([0.2, 0.25, 0.3]).sum())
    labels = np.load(folder / "predictions" / "encode.npz")["label"]
    assert labels.tolist() == [0] * 5 + [1] * 5 + [2] * 5
    assert {"class_errors", "latent_scatter", "interpolations", "traversals"} <= _drawn(folder)
    page = (folder.parent / "report.html").read_text()
    assert "shapes 3 × 30 × 33 (files)" in page
    assert "no plot:" not in page


def test_codes_are_decoded_to_colour_images(done):
    folder = done["folder"]
    assert np.load(folder / "predictions" / "decode.npz")["x"].shape == (4, 3, 30, 33)
    grid = np.asarray(Image.open(folder / "predictions" / "decode.png")).astype(int)
    assert np.ptp(grid[1:31, 1:34], axis=2).max() > 0
    decode = torch.export.load(folder / "export" / "decode.pt2").module()
    assert decode(torch.zeros(5, 3)).shape == (5, 3, 30, 33)


def test_image_files_of_another_size_are_encoded(done):
    folder = done["folder"]
    with np.load(folder.parents[2] / "flat.npz") as arrays:
        assert arrays["name"].tolist() == [f"{number:03}.png" for number in range(30)]
        assert arrays["mu"].shape == (30, 3)


@pytest.mark.parametrize("name", ["2", "3"])
def test_images_without_classes_train_evaluate_and_report(name, done):
    folder = done[name]
    output = " ".join(done[""].split())
    assert "the training images have fewer than two classes" in output
    metrics = _metrics(folder)
    assert metrics["classes"] == {}
    assert metrics["test_images"] == 5
    assert ("log_p_exact" in metrics) == (name == "3")
    assert "label" not in np.load(folder / "predictions" / "encode.npz")
    page = (folder / "report.html").read_text()
    assert "class errors, left out: the test images have fewer than two classes" in page
    drawn = _drawn(folder)
    assert {"interpolations", "worst_reconstructions"} <= drawn
    assert ("latent_scatter" in drawn) == (name == "2")
    assert "class_errors" not in drawn
    assert "no plot:" not in (folder.parent / "report.html").read_text()


def test_an_unreadable_image_is_named_before_there_is_a_run_folder(tmp_path, compose_launch):
    write_folder(tmp_path / "shapes", coloured_shapes(30)[0])
    for path in (tmp_path / "shapes").iterdir():
        path.write_bytes(b"no image")
    launch = compose_launch("trainer=cpu", "data=image_folder", f"data.path={tmp_path}/shapes")
    with pytest.raises(DataError, match=r"shapes/0..\.png cannot be read as an image"):
        run(launch)
    assert not launch.parent.exists()


@pytest.mark.parametrize("data", ["image_folder", "tensor_file"])
def test_missing_data_are_named_before_there_is_a_run_folder(data, tmp_path, compose_launch):
    launch = compose_launch("trainer=cpu", f"data={data}", f"data.path={tmp_path}/no.npz")
    with pytest.raises(DataError, match=r"no\.npz"):
        run(launch)
    assert not launch.parent.exists()
    with pytest.raises(ConfigError, match=r"data\.path.* is missing"):
        read_command_line("train", [f"data={data}"])
