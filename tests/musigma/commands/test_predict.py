"""Predictions: codes of images, images of codes, and samples, by function and script."""

import pickle
import shutil
import zipfile

import numpy as np
import pytest
import safetensors.torch
import torch
import yaml
from PIL import Image

import musigma
from musigma.commands.predict import predict
from musigma.paths import PROJECT_ROOT
from script_server import python
from workbench.errors import ConfigError, DataError, RunError
from workbench.runs.folder import RunFolder

pytestmark = pytest.mark.slow

DEFAULTS = {"checkpoint": "best", "input": "test", "count": 64, "seed": 0, "output": None}


@pytest.fixture
def vae(trained):
    return trained("model=vae", "model.latent_dim=3").path


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


def test_samples_depend_only_on_the_seed_and_are_shown_in_a_grid(vae, tmp_path):
    grids = []
    for number, seed in enumerate((0, 0, 1)):
        path = _predict("sample", vae, count=9, seed=seed, output=str(tmp_path / f"{number}.png"))
        grids.append(np.asarray(Image.open(path)))
    assert grids[0].shape == (3 * 29 + 1, 3 * 29 + 1, 3)
    assert np.array_equal(grids[0], grids[1])
    assert not np.array_equal(grids[0], grids[2])


@pytest.mark.parametrize("z", ["draw", "mu"])
def test_reconstructions_and_their_errors_equal_those_of_the_test(z, vae):
    with np.load(_predict("reconstruct", vae, z=z)) as arrays:
        found = dict(arrays)
    model, data, _ = musigma.load_run(vae)
    data.setup("test")
    x, label = data.test_dataloader().dataset.tensors
    noise = torch.randn(1, 500, 3, generator=torch.Generator().manual_seed(0))[0]
    with torch.no_grad():
        mu, std = model.encode(x)
        code = mu + std * noise if z == "draw" else mu
        x_hat = model.decoder(code)
    difference = (x_hat - x).double().numpy().reshape(500, -1)
    expected = {
        "x": (x * 0.3081 + 0.1307).clamp(0, 1).numpy(),
        "x_hat": (x_hat * 0.3081 + 0.1307).clamp(0, 1).numpy(),
        "z": code.numpy(),
        "l1": np.abs(difference).mean(1),
        "mse": (difference**2).mean(1),
        "label": label.numpy(),
    }
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_allclose(found[name], array, rtol=1e-5, atol=1e-6)
    if z == "draw":
        reported = RunFolder.open(vae).read_metrics()["metrics"]
        for name in ("l1", "mse"):
            assert found[name].mean() == pytest.approx(reported[f"test/{name}"], rel=1e-5)
    picture = np.asarray(Image.open(vae / "predictions" / "reconstruct.png"))
    assert picture.shape == (2 * 10 * 30 + 2, 8 * 30 + 2, 3)  # 80 pairs, 8 in a row
    first = picture[2:30, 2:30, 0] / 255
    np.testing.assert_allclose(first, expected["x"][0, 0], atol=0.5 / 255 + 1e-6)


@pytest.mark.parametrize(("source", "image"), [("test", 4), ("prior", 0)])
def test_a_traversal_moves_one_dimension_at_a_time(source, image, vae):
    offsets = [-1.5, 0, 2]
    path = _predict("traverse", vae, input=source, image=image, offsets=offsets)
    with np.load(path) as arrays:
        x, z = arrays["x"], arrays["z"]
        assert arrays["offsets"].tolist() == offsets
    assert (x.shape, z.shape) == ((3, 3, 1, 28, 28), (3, 3, 3))
    model, data, _ = musigma.load_run(vae)
    center = torch.zeros(3)
    if source == "test":
        data.setup("test")
        with torch.no_grad():
            center = model.encode(data.test_dataloader().dataset.tensors[0][4:5]).mu[0]
    picture = np.asarray(Image.open(path.with_suffix(".png")))
    assert picture.shape == (3 * 29 + 1, 3 * 29 + 1, 3)
    for j in range(3):
        for k, offset in enumerate(offsets):
            code = center.clone()
            code[j] += offset
            np.testing.assert_allclose(z[j, k], code, rtol=1e-5, atol=1e-6)
            with torch.no_grad():
                expected = model.decoder(code[None])[0].mul(0.3081).add(0.1307).clamp(0, 1)
            np.testing.assert_allclose(x[j, k], expected, atol=1e-5)
            tile = picture[29 * j + 1 : 29 * j + 29, 29 * k + 1 : 29 * k + 29, 0] / 255
            np.testing.assert_allclose(tile, expected[0], atol=0.5 / 255 + 1e-5)


def test_images_are_read_from_a_file_of_any_kind(vae, tmp_path):
    _, data, _ = musigma.load_run(vae)
    pixels = data.read(train=False)[0][:3]
    unit = pixels.float() / 255
    np.savez(tmp_path / "a.npz", images=pixels.numpy(), more=np.zeros(5))
    np.savez(tmp_path / "b.npz", x=unit.double().numpy(), z=np.zeros((3, 3)))
    torch.save({"anything": pixels}, tmp_path / "c.pt")
    torch.save(pixels, tmp_path / "d.pt")
    torch.save(unit[1], tmp_path / "e.pt")
    safetensors.torch.save_file({"images": unit}, tmp_path / "f.safetensors")
    Image.fromarray(pixels[1, 0].numpy()).save(tmp_path / "g.png")
    with np.load(_predict("encode", vae)) as arrays:
        mu = arrays["mu"]
    for name in ("a.npz", "b.npz", "c.pt", "d.pt", "e.pt", "f.safetensors", "g.png"):
        with np.load(_predict("encode", vae, input=str(tmp_path / name))) as arrays:
            expected = mu[1:2] if name in ("e.pt", "g.png") else mu[:3]
            np.testing.assert_allclose(arrays["mu"], expected, rtol=1e-4, atol=1e-5)
            assert arrays.get("name", []) == (["g.png"] if name == "g.png" else [])
    codes = _predict("reconstruct", vae, input=str(tmp_path / "g.png"))
    decoded = _predict("decode", vae, input=str(codes))  # one task reads what another writes
    again = _predict("encode", vae, input=str(decoded))
    with np.load(codes) as arrays, np.load(decoded) as others, np.load(again) as codes_again:
        np.testing.assert_allclose(arrays["x_hat"], others["x"], atol=1e-6)
        assert codes_again["mu"].shape == (1, 3)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.npz", np.zeros((2, 1, 28, 27), np.uint8), r"the shape \[2, 1, 28, 27\], and the model"),
        ("a.npz", np.zeros((2, 3, 28, 28), np.uint8), r"takes images \[N, 1, 28, 28\]"),
        ("a.npz", np.zeros((0, 1, 28, 28), np.uint8), r"the shape \[0, 1, 28, 28\]"),
        ("a.npz", np.zeros((2, 1, 28, 28), int), "is torch.int64, and should be uint8"),
        ("a.npz", np.full((2, 1, 28, 28), -0.4), "holds floats between -0.4 and -0.4"),
        ("a.npz", np.full((2, 1, 28, 28), np.nan), "holds floats between nan and nan"),
        ("a.npz", b"no archive", r"a\.npz cannot be read as \.npz"),
        ("a.pt", b"", r"a\.pt cannot be read as \.pt"),
        ("a.safetensors", b"short", r"cannot be read as \.safetensors"),
        ("a.png", b"no image", r"a\.png cannot be read as an image"),
        ("a.txt", b"text", r"a\.txt is not a folder of images, an image file or a file of tensors"),
    ],
)
@pytest.mark.parametrize("task", ["encode", "reconstruct", "traverse"])
def test_image_files_that_do_not_fit_the_model_are_a_data_error(
    task, name, content, message, opened, tmp_path
):
    path = tmp_path / name
    path.write_bytes(content) if isinstance(content, bytes) else np.savez(path, x=content)
    with pytest.raises(DataError, match=message):
        _predict(task, opened, input=str(path))
    assert not (opened / "predictions").exists()


def test_a_file_of_several_unknown_arrays_is_refused_with_its_contents(opened, tmp_path):
    np.savez(tmp_path / "a.npz", one=np.zeros(2), two=np.zeros(2))
    with pytest.raises(DataError, match=r"a\.npz holds one, two, and should hold images or x"):
        _predict("encode", opened, input=str(tmp_path / "a.npz"))
    Image.new("L", (28, 28)).save(tmp_path / "a.png")
    with pytest.raises(DataError, match="image=2: input=.* holds 1 images, counted from 0"):
        _predict("traverse", opened, input=str(tmp_path / "a.png"), image=2)


@pytest.mark.parametrize(
    ("task", "settings", "message"),
    [
        ("encode", {"input": "prior"}, "input=prior is for task=traverse, and not for task=encode"),
        ("sample", {"input": "val"}, "input=val is for task=encode or task=decode or"),
        ("encode", {"count": 3}, "count=3 is for task=sample, and not for task=encode"),
        ("decode", {"z": "mu"}, "z=mu is for task=reconstruct, and not for task=decode"),
        ("traverse", {"seed": 1}, "seed=1 is for task=sample or task=reconstruct"),
        ("reconstruct", {"image": 1}, "image=1 is for task=traverse"),
        ("sample", {"offsets": [1]}, r"offsets=\(1,\) is for task=traverse"),
        ("traverse", {"input": "prior", "image": 1}, "image=1: input=prior has no images"),
    ],
)
def test_settings_that_a_task_does_not_use_are_refused(
    task, settings, message, opened, monkeypatch
):
    monkeypatch.setattr("musigma.commands.predict.load_run", None)
    with pytest.raises(ConfigError, match=message):
        _predict(task, opened, **settings)


def test_a_traversal_too_large_for_an_image_is_refused(opened):
    with pytest.raises(ConfigError, match="offsets: 30000 for each of 2 dimensions: a grid"):
        _predict("traverse", opened, offsets=[0.0] * 30_000)


def test_a_model_trained_without_a_rate_is_traversed_only_around_images(trained):
    run = trained().path
    with pytest.raises(RunError, match="trained without a rate"):
        _predict("traverse", run, input="prior")
    with np.load(_predict("traverse", run)) as arrays:
        assert arrays["x"].shape == (2, 7, 1, 28, 28)


def test_a_model_trained_without_a_rate_is_not_sampled(trained):
    with pytest.raises(RunError, match="trained without a rate"):
        _predict("sample", trained().path, count=9)


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
def test_images_that_do_not_fit_the_model_are_reported(make, message, vae, tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    make(folder)
    with pytest.raises(DataError, match=message):
        _predict("encode", vae, input=str(folder))
    with pytest.raises(DataError, match="is not a folder of images"):
        _predict("encode", vae, input=str(tmp_path / "nowhere"))


def test_codes_that_do_not_fit_the_model_are_reported(vae, tmp_path):
    np.savez(tmp_path / "wide.npz", z=np.zeros((5, 4), np.float32))
    with pytest.raises(DataError, match=r"shape \[5, 4\], and the model takes \[N, 3\]"):
        _predict("decode", vae, input=str(tmp_path / "wide.npz"))
    np.savez(tmp_path / "other.npz", codes=np.zeros((5, 3)))
    (tmp_path / "text.npz").write_text("no arrays")
    for name in ("other.npz", "text.npz", "missing.npz"):
        with pytest.raises(DataError, match="cannot be read as an .npz with z or mu"):
            _predict("decode", vae, input=str(tmp_path / name))


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    """A run folder with a tiny model, made without training."""
    folder = RunFolder.create(tmp_path_factory.mktemp("runs"), "run")
    older = PROJECT_ROOT / "tests/musigma/runs/written_by_0.1.0"
    config = yaml.safe_load((older / "config.yaml").read_text())
    folder.write_config(config, [])
    shutil.copytree(
        older / "checkpoints",
        folder.path / "checkpoints",
        dirs_exist_ok=True,
    )
    return folder.path


def _codes_file(path, z):
    np.savez(path, z=z)


def _plain(path):
    with path.open("wb") as file:
        np.save(file, np.zeros((3, 2)))


def _not_an_array(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("z.npy", b"no array")


def _cut(path):
    np.savez(path, z=np.zeros((3, 2)))
    path.write_bytes(path.read_bytes()[:-30])


def _flipped(path):
    np.savez(path, z=np.ones((300, 2)))
    content = bytearray(path.read_bytes())
    content[1000] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    "make",
    [
        lambda path: path.write_text("text"),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(pickle.dumps([1])),
        lambda path: path.mkdir(),
        _plain,
        lambda path: None,
        _cut,
        _flipped,
        lambda path: _codes_file(path, np.array([[None, 1]], object)),
    ],
    ids=["text", "empty", "pickle", "folder", "npy", "missing", "cut", "flipped", "objects"],
)
def test_a_damaged_archive_of_codes_is_a_data_error(make, opened, tmp_path):
    path = tmp_path / "codes.npz"
    make(path)
    with pytest.raises(DataError, match=r"codes\.npz cannot be read as an \.npz with z or mu"):
        _predict("decode", opened, input=str(path))
    assert not (opened / "predictions").exists()


@pytest.mark.parametrize(
    ("z", "message"),
    [
        (np.array([["a", "b"]]), "codes of type <U1"),
        (np.zeros((3, 2), complex), "codes of type complex128"),
        (np.zeros((3, 2), bool), "codes of type bool"),
        (np.array([[0, 0], [0, np.nan]]), "code 1 is not finite"),
        (np.array([[0, np.inf]]), "code 0 is not finite"),
        (np.array([[0, 1e300]]), "code 0 is not finite"),
        (np.zeros((0, 2)), r"codes of shape \[0, 2\]"),
        (np.zeros(2), r"codes of shape \[2\]"),
        (np.zeros((2, 2, 2)), r"codes of shape \[2, 2, 2\]"),
        (np.float32(1), r"codes of shape \[\]"),
    ],
)
def test_codes_that_are_not_rows_of_finite_numbers_are_a_data_error(z, message, opened, tmp_path):
    _codes_file(tmp_path / "codes.npz", z)
    with pytest.raises(DataError, match=message):
        _predict("decode", opened, input=str(tmp_path / "codes.npz"))
    _not_an_array(tmp_path / "codes.npz")
    with pytest.raises(DataError, match=r"codes\.npz"):
        _predict("decode", opened, input=str(tmp_path / "codes.npz"))
    assert not (opened / "predictions").exists()


@pytest.mark.parametrize("kind", ["i4", "f2", ">f8", "g"])
def test_codes_of_any_real_dtype_decode_to_the_same_images(kind, opened, tmp_path):
    z = np.array([[1, -2], [0, 3]])
    images = []
    for name, codes in (("a", z.astype(np.float32)), ("b", z.astype(kind))):
        _codes_file(tmp_path / f"{name}.npz", codes)
        output = str(tmp_path / f"{name}_x.npz")
        with np.load(
            _predict("decode", opened, input=str(tmp_path / f"{name}.npz"), output=output)
        ) as arrays:
            images.append(arrays["x"])
    assert np.array_equal(*images)


@pytest.mark.parametrize(
    ("task", "output", "error", "message"),
    [
        ("encode", "", ConfigError, r"task=encode writes a file that ends in \.npz"),
        ("encode", "codes.txt", ConfigError, r"task=encode writes a file that ends in \.npz"),
        ("decode", "x.png", ConfigError, r"task=decode writes a file that ends in \.npz"),
        ("sample", "x.npz", ConfigError, r"task=sample writes a file that ends in \.png"),
        ("encode", "nowhere/codes.npz", RunError, "there is no folder .*nowhere: create it first"),
        ("encode", "file/codes.npz", RunError, "file cannot be written: it is not a folder"),
        ("encode", "folder.npz", RunError, r"folder\.npz cannot be written: it is a folder"),
        ("encode", "there.npz", RunError, r"there\.npz exists"),
        ("decode", "codes.npz", RunError, r"codes\.png exists"),
    ],
)
def test_an_impossible_output_is_refused_before_anything_is_computed(
    task, output, error, message, opened, tmp_path, monkeypatch
):
    (tmp_path / "file").write_text("a file")
    (tmp_path / "folder.npz").mkdir()
    (tmp_path / "there.npz").write_text("somebody's")
    (tmp_path / "codes.png").write_text("somebody's")
    before = sorted(tmp_path.rglob("*"))
    monkeypatch.setattr("musigma.commands.predict.load_run", None)
    with pytest.raises(error, match=message):
        _predict(task, opened, output=str(tmp_path / output))
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("count", [60_000, 10**9, 10**30])
def test_too_many_samples_for_an_image_are_refused(count, opened):
    with pytest.raises(ConfigError, match="a grid of images of this size holds at most 59,453"):
        _predict("sample", opened, count=count)


def test_an_empty_input_is_not_taken_for_the_working_directory(opened, tmp_path, monkeypatch):
    Image.new("L", (28, 28)).save(tmp_path / "a.png")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match="input= is not a folder of images"):
        _predict("encode", opened, input="")


def test_predictions_that_are_not_finite_are_not_written(opened, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(opened, run)
    path = run / "checkpoints" / "best.ckpt"
    checkpoint = torch.load(path)
    for weights in checkpoint["state_dict"].values():
        weights.fill_(float("nan"))
    torch.save(checkpoint, path)
    Image.new("L", (28, 28)).save(tmp_path / "a.png")
    with pytest.raises(RunError, match="codes that are not finite"):
        _predict("encode", run, input=str(tmp_path))
    _codes_file(tmp_path / "z.npz", np.zeros((1, 2)))
    with pytest.raises(RunError, match="images that are not finite"):
        _predict("decode", run, input=str(tmp_path / "z.npz"))
    assert not (run / "predictions").exists()


@pytest.mark.parametrize(("task", "ending"), [("encode", "npz"), ("sample", "png")])
def test_a_full_disk_is_reported_and_no_prediction_is_left(task, ending, opened, tmp_path):
    code = (
        "import resource, runpy, sys; sys.argv = sys.argv[1:]\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (500, 500))\n"
        "runpy.run_path('scripts/predict.py', run_name='__main__')"
    )
    output = f"output={tmp_path}/x.{ending}"
    done = python("-c", code, "predict.py", f"task={task}", f"run={opened}", output)
    assert done.returncode == 2, done.stderr
    assert f"{tmp_path} cannot be written: [Errno 27] File too large" in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []
