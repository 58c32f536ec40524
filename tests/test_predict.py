"""Codes of images, images of codes, and new images, through the real function and script."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

import musigma
from musigma.errors import DataError, RunError
from musigma.paths import PROJECT_ROOT
from musigma.predicting import predict

pytestmark = pytest.mark.slow

DEFAULTS = {"checkpoint": "best", "input": "test", "count": 9, "seed": 0, "output": None}


@pytest.fixture
def vae(run_here):
    return run_here("model=vae", "model.latent_dim=3").path


def _predict(task, run, **settings):
    return predict(task, str(run), run.parent, **{**DEFAULTS, **settings})


@pytest.mark.parametrize(("source", "count"), [("test", 500), ("val", 500)])
def test_encode_gives_the_posterior_of_every_image_and_its_label(source, count, vae):
    with np.load(_predict("encode", vae, input=source)) as arrays:
        mu, std, label = arrays["mu"], arrays["std"], arrays["label"]
    assert mu.shape == std.shape == (count, 3)
    model, data, _ = musigma.load_run(vae)
    data.setup("test" if source == "test" else "fit")
    loader = data.test_dataloader() if source == "test" else data.val_dataloader()
    batch = next(iter(loader))
    with torch.no_grad():
        posterior = model.encode(batch.x)
    torch.testing.assert_close(torch.from_numpy(mu), posterior.mu)
    torch.testing.assert_close(torch.from_numpy(std), posterior.std)
    assert np.array_equal(label, batch.y.numpy())


def test_a_folder_of_images_is_encoded_as_the_data_set_would_be(vae, tmp_path):
    _, data, _ = musigma.load_run(vae)
    pixels, _ = data.read(train=False)
    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(3):
        Image.fromarray(pixels[number, 0].numpy()).save(folder / f"{number}.png")
    Image.fromarray(pixels[3, 0].numpy()).convert("RGB").save(folder / "3.bmp")
    (folder / "notes.txt").write_text("not an image")
    with np.load(_predict("encode", vae, input=str(folder))) as arrays:
        mu, names = arrays["mu"], arrays["name"]
    with np.load(_predict("encode", vae)) as arrays:
        assert np.allclose(mu, arrays["mu"][:4], atol=1e-6)
    assert list(names) == ["0.png", "1.png", "2.png", "3.bmp"]


def test_decode_turns_codes_back_into_images(vae, tmp_path):
    codes = _predict("encode", vae)
    with np.load(_predict("decode", vae, input=str(codes))) as arrays:
        x = arrays["x"]
    assert x.shape == (500, 1, 28, 28)
    assert 0 <= x.min() < x.max() <= 1
    model, data, _ = musigma.load_run(vae)
    data.setup("test")
    with torch.no_grad():
        mu = model.encode(next(iter(data.test_dataloader())).x).mu
        expected = model.likelihood.mean(model.decode(mu)) * 0.3081 + 0.1307
    torch.testing.assert_close(torch.from_numpy(x), expected.clamp(0, 1), atol=1e-5, rtol=1e-5)
    assert (vae / "predictions" / "decode.png").exists()


def test_samples_are_the_same_for_a_seed_and_a_grid(vae, tmp_path):
    grids = []
    for number, seed in enumerate((0, 0, 1)):
        path = _predict("sample", vae, seed=seed, output=str(tmp_path / f"{number}.png"))
        grids.append(np.asarray(Image.open(path)))
    assert grids[0].shape == (3 * 29 + 1, 3 * 29 + 1, 3)
    assert np.array_equal(grids[0], grids[1])
    assert not np.array_equal(grids[0], grids[2])


def test_a_model_without_a_prior_is_not_sampled(run_here):
    with pytest.raises(RunError, match="trained without a rate"):
        _predict("sample", run_here().path)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: None, "holds no image files"),
        (lambda folder: (folder / "a.png").write_bytes(b"no image"), r"a\.png cannot be read"),
        (
            lambda folder: Image.new("L", (28, 27)).save(folder / "a.png"),
            r"a\.png has 27 × 28 pixels, and the model takes 28 × 28",
        ),
    ],
)
def test_images_that_do_not_fit_are_named(make, message, vae, tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    make(folder)
    with pytest.raises(DataError, match=message):
        _predict("encode", vae, input=str(folder))
    with pytest.raises(DataError, match="is no folder of images"):
        _predict("encode", vae, input=str(tmp_path / "nowhere"))


def test_codes_that_do_not_fit_are_named(vae, tmp_path):
    np.savez(tmp_path / "wide.npz", z=np.zeros((5, 4), np.float32))
    with pytest.raises(DataError, match=r"shape \[5, 4\], and the model takes \[N, 3\]"):
        _predict("decode", vae, input=str(tmp_path / "wide.npz"))
    np.savez(tmp_path / "other.npz", codes=np.zeros((5, 3)))
    (tmp_path / "text.npz").write_text("no arrays")
    for name in ("other.npz", "text.npz", "missing.npz"):
        with pytest.raises(DataError, match="cannot be read as an .npz with z or mu"):
            _predict("decode", vae, input=str(tmp_path / name))


def test_the_script_says_where_it_wrote(vae):
    done = subprocess.run(
        [sys.executable, "scripts/predict.py", "task=sample", f"run={vae}"],
        cwd=PROJECT_ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == f"written to   {vae}/predictions/sample.png"
