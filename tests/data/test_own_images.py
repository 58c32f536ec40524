"""A folder of image files and a file of tensors as data sets."""

import numpy as np
import pytest
import safetensors.torch
import torch
from PIL import Image
from torchvision.datasets import ImageFolder

from musigma.data import ImageFolderDataModule, TensorFileDataModule
from musigma.data.image_files import read_files
from musigma.errors import DataError
from shapes import coloured_shapes, write_folder

SHAPE = (3, 32, 32)
WRITERS = {
    "images.npz": lambda path, arrays: np.savez(path, **{k: v.numpy() for k, v in arrays.items()}),
    "images.pt": lambda path, arrays: torch.save(arrays, path),
    "images.safetensors": lambda path, arrays: safetensors.torch.save_file(arrays, path),
}


def _sizes(data):
    data.prepare_data()
    data.setup("fit")
    data.setup("test")
    loaders = data.train_dataloader(), data.val_dataloader(), data.test_dataloader()
    return [len(loader.dataset) for loader in loaders]


def test_a_folder_is_what_torchvision_s_image_folder_reads(tmp_path):
    write_folder(tmp_path / "train", *coloured_shapes(12))
    write_folder(tmp_path / "test", *coloured_shapes(6, seed=1))
    data = ImageFolderDataModule(path=tmp_path, image_shape=SHAPE)
    for train in (True, False):
        images, labels = data.read(train)
        expected = ImageFolder(tmp_path / ("train" if train else "test"))
        assert labels.tolist() == expected.targets
        for image, (file, _) in zip(images, expected, strict=True):
            assert np.array_equal(image.permute(1, 2, 0).numpy(), np.asarray(file))


def test_without_a_test_set_of_its_own_a_fixed_tenth_is_held_out(tmp_path):
    images, labels = coloured_shapes(50)
    write_folder(tmp_path / "folder", images, labels)
    np.savez(tmp_path / "file.npz", images=images.numpy(), labels=labels.numpy())
    for data in (
        ImageFolderDataModule(path=tmp_path / "folder", image_shape=SHAPE),
        TensorFileDataModule(path=tmp_path / "file.npz", image_shape=SHAPE),
    ):
        assert _sizes(data) == [41, 4, 5]
        again = type(data)(path=data.path, image_shape=SHAPE, seed=7, val_size=0)
        assert torch.equal(again.read(train=False)[0], data.read(train=False)[0])
        both = torch.cat([data.read(train)[0] for train in (True, False)])
        assert len(both.flatten(1).unique(dim=0)) == 50


def test_files_in_no_folder_have_no_class(tmp_path):
    write_folder(tmp_path, coloured_shapes(20)[0])
    _, labels = ImageFolderDataModule(path=tmp_path, image_shape=SHAPE).read(train=True)
    assert labels.tolist() == [-1] * 18


def test_images_are_scaled_and_cut_to_fit(tmp_path):
    picture = np.zeros((40, 80, 3), np.uint8)
    picture[:, :, 0] = np.linspace(0, 255, 80)
    Image.fromarray(picture).save(tmp_path / "wide.png")
    Image.new("L", (80, 40), 99).save(tmp_path / "grey.bmp")
    data = ImageFolderDataModule(path=tmp_path, image_shape=(3, 20, 20), val_size=0)
    grey, wide = torch.cat([data.read(train)[0] for train in (True, False)]).sort(0).values
    del grey
    assert wide.shape == (3, 20, 20)
    # Half as large and without a quarter on each side: what is left is the middle half.
    middle = torch.linspace(0, 255, 80)[20:60].reshape(20, 2).mean(1)
    torch.testing.assert_close(wide[0].amax(0).float(), middle.clamp(min=99), atol=3, rtol=0)


@pytest.mark.parametrize("name", WRITERS)
def test_a_tensor_file_of_each_kind_is_read(name, tmp_path):
    images, labels = coloured_shapes(20)
    test_images, test_labels = coloured_shapes(6, seed=1)
    arrays = {"images": images, "labels": labels}
    WRITERS[name](
        tmp_path / name, {**arrays, "test_images": test_images, "test_labels": test_labels}
    )
    data = TensorFileDataModule(path=tmp_path / name, image_shape=SHAPE)
    assert _sizes(data) == [18, 2, 6]
    for found, expected in zip(data.read(train=False), (test_images, test_labels), strict=True):
        assert torch.equal(found, expected)
    WRITERS[name](tmp_path / name, {"images": images})
    assert data.read(train=True)[1].unique().tolist() == [-1]


class _Runs:
    def __reduce__(self):
        return exec, ("raise SystemExit('it ran')",)


@pytest.mark.parametrize("ending", ["npz", "pt"])
def test_nothing_in_a_tensor_file_runs(ending, tmp_path):
    path = tmp_path / f"images.{ending}"
    if ending == "npz":
        np.savez(path, images=np.array([_Runs()], dtype=object))
    else:
        torch.save({"images": _Runs()}, path)
    with pytest.raises(DataError, match="cannot be read"):
        TensorFileDataModule(path=path, image_shape=SHAPE).prepare_data()


IMAGES, LABELS = coloured_shapes(20)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": IMAGES}, "holds x, and should hold images"),
        ({"images": IMAGES.float()}, "images is torch.float32, and should be uint8"),
        (
            {"images": IMAGES.permute(0, 2, 3, 1).contiguous()},
            r"images has the shape \[20, 32, 32, 3\], and should have \[N, 3, 32, 32\]",
        ),
        ({"images": IMAGES[0, 0, 0, 0]}, r"images has the shape \[\]"),
        ({"images": IMAGES[:0]}, r"images has the shape \[0, 3, 32, 32\]"),
        ({"images": IMAGES, "labels": LABELS[:9]}, r"labels is .*\[9\], and should .* \[20\]"),
        ({"images": IMAGES, "labels": LABELS.float()}, "labels is torch.float32"),
        (
            {"images": IMAGES, "labels": LABELS, "test_images": IMAGES, "test_labels": LABELS + 1},
            r"a test image has the label 3 \(−1: none\), which no training image has",
        ),
        ({"images": IMAGES[:1]}, "holding out 1 images leaves none of 1"),
    ],
)
def test_a_tensor_file_that_is_not_as_it_should_be_is_named(arrays, message, tmp_path):
    torch.save(arrays, tmp_path / "images.pt")
    data = TensorFileDataModule(path=tmp_path / "images.pt", image_shape=SHAPE)
    with pytest.raises(DataError, match=message):
        data.prepare_data()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("missing.npz", "cannot be read as .npz"),
        ("damaged.safetensors", "cannot be read as .safetensors"),
        ("notes.txt", r"should be a file that ends in \.npz, \.pt, \.safetensors"),
    ],
)
def test_a_file_that_is_none_of_these_is_named(name, message, tmp_path):
    (tmp_path / "damaged.safetensors").write_bytes(b"no tensors")
    with pytest.raises(DataError, match=message):
        TensorFileDataModule(path=tmp_path / name, image_shape=SHAPE).prepare_data()


def _beside(folder):
    write_folder(folder, IMAGES[:6], LABELS[:6])
    (folder / "disc" / "000.png").rename(folder / "000.png")


def _another_class(folder):
    write_folder(folder / "train", IMAGES[:6], LABELS[:6] % 2)
    write_folder(folder / "test", IMAGES[:6], LABELS[:6])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: folder.rmdir(), "is no folder of images"),
        (lambda folder: (folder / ".hidden.png").write_bytes(b""), "hold no image files"),
        (_beside, r"000\.png lies beside folders of classes"),
        (_another_class, "test holds the class 'stripes', and .*train does not"),
    ],
)
def test_a_folder_that_is_not_as_it_should_be_is_named(make, message, tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    make(folder)
    with pytest.raises(DataError, match=message):
        ImageFolderDataModule(path=folder, image_shape=SHAPE).prepare_data()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: path.write_bytes(b"no image"), r"a\.png cannot be read as an image"),
        (
            lambda path: Image.fromarray(np.zeros((32, 32), np.uint16)).save(path),
            r"a\.png holds I;16 pixels: save it with 8 bits",
        ),
    ],
)
def test_a_file_that_is_no_image_of_8_bits_is_named(make, message, tmp_path):
    make(tmp_path / "a.png")
    with pytest.raises(DataError, match=message):
        read_files([tmp_path / "a.png"], SHAPE, resize=True)


def test_image_files_have_one_channel_or_three(tmp_path):
    write_folder(tmp_path, IMAGES)
    data = ImageFolderDataModule(path=tmp_path, image_shape=(4, 32, 32))
    with pytest.raises(DataError, match="1 or 3 channels, and 4 are wanted"):
        data.setup("fit")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"normalization": "standardize"}, "standardize needs mean and std"),
        ({"normalization": "standardize", "mean": 0.5}, "standardize needs mean and std"),
        ({"mean": [0.5, 0.5], "std": 0.2}, "mean has 2 numbers, and an image 3 channels"),
        ({"mean": 0.5, "std": [0.2, 0.2, 0.0]}, "std"),
        ({"image_shape": (3, 0, 4)}, "image_shape.1\n  Input should be greater"),
        ({"val_size": 1.5}, "val_size"),
        ({"val_size": -1}, "val_size"),
        ({"batchsize": 3}, "batchsize\n  Unexpected keyword argument"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        TensorFileDataModule(**{"path": "images.npz", "image_shape": SHAPE, **settings})
