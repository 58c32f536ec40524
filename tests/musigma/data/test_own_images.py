"""Image folders and tensor files as data sets."""

import logging
import os
from types import SimpleNamespace

import numpy as np
import pytest
import safetensors.torch
import torch
from PIL import Image
from torchvision.datasets import ImageFolder

from musigma.data import (
    DatasetDataModule,
    ImageDataModule,
    ImageFolderDataModule,
    TensorFileDataModule,
)
from shapes import coloured_shapes, write_folder
from workbench.errors import DataError

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


def test_an_image_folder_equals_torchvisions(tmp_path):
    write_folder(tmp_path / "train", *coloured_shapes(12))
    write_folder(tmp_path / "test", *coloured_shapes(6, seed=1))
    data = ImageFolderDataModule(path=tmp_path, image_shape=SHAPE)
    for train in (True, False):
        images, labels = data.read(train)
        expected = ImageFolder(tmp_path / ("train" if train else "test"))
        assert labels.tolist() == expected.targets
        for image, (file, _) in zip(images, expected, strict=True):
            assert np.array_equal(image.permute(1, 2, 0).numpy(), np.asarray(file))


def test_without_a_test_set_a_fixed_tenth_is_held_out(tmp_path):
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


def test_files_outside_class_folders_have_no_class(tmp_path):
    write_folder(tmp_path, coloured_shapes(20)[0])
    _, labels = ImageFolderDataModule(path=tmp_path, image_shape=SHAPE).read(train=True)
    assert labels.tolist() == [-1] * 18


def test_images_are_scaled_and_cropped_to_the_image_shape(tmp_path):
    picture = np.zeros((40, 80, 3), np.uint8)
    picture[:, :, 0] = np.linspace(0, 255, 80)
    Image.fromarray(picture).save(tmp_path / "wide.png")
    Image.new("L", (80, 40), 99).save(tmp_path / "grey.bmp")
    data = ImageFolderDataModule(path=tmp_path, image_shape=(3, 20, 20), val_size=0)
    grey, wide = torch.cat([data.read(train)[0] for train in (True, False)]).sort(0).values
    del grey
    assert wide.shape == (3, 20, 20)
    # Scaled to half its size and cropped by a quarter on each side: the middle half remains.
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


@pytest.mark.parametrize("with_test", [False, True])
def test_val_images_of_a_tensor_file_are_the_validation_set(with_test, tmp_path):
    sets = {"": coloured_shapes(20), "val_": coloured_shapes(7, seed=1)}
    if with_test:
        sets["test_"] = coloured_shapes(5, seed=2)
    arrays = {f"{name}images": images.numpy() for name, (images, _) in sets.items()}
    arrays |= {f"{name}labels": labels.numpy() for name, (_, labels) in sets.items()}
    np.savez(tmp_path / "images.npz", **arrays)
    data = TensorFileDataModule(path=tmp_path / "images.npz", image_shape=SHAPE, val_size=0.5)
    assert _sizes(data) == ([20, 7, 5] if with_test else [18, 7, 2])
    for found, expected in zip(data.read_validation(), sets["val_"], strict=True):
        assert torch.equal(found, expected)


def test_other_arrays_bool_labels_and_memory_layout_of_a_tensor_file_do_not_matter(tmp_path):
    images = np.asfortranarray(IMAGES.numpy())
    labels = (LABELS == 0).numpy()
    names = np.array(["disc", "square"])
    np.savez(tmp_path / "images.NPZ.npz", images=images, labels=labels, names=names)
    (tmp_path / "images.NPZ.npz").rename(tmp_path / "images.NPZ")
    data = TensorFileDataModule(path=tmp_path / "images.NPZ", image_shape=SHAPE)
    assert sum(_sizes(data)) == 20
    both = [torch.cat(parts) for parts in zip(data.read(True), data.read(False), strict=True)]
    assert _by_rows(*both) == _by_rows(IMAGES, (LABELS == 0).long())


class _Code:
    def __reduce__(self):
        return exec, ("raise SystemExit('it ran')",)


@pytest.mark.parametrize("ending", ["npz", "pt"])
def test_code_in_a_tensor_file_is_not_run(ending, tmp_path):
    path = tmp_path / f"images.{ending}"
    if ending == "npz":
        np.savez(path, images=np.array([_Code()], dtype=object))
    else:
        torch.save({"images": _Code()}, path)
    with pytest.raises(DataError, match="cannot be read"):
        TensorFileDataModule(path=path, image_shape=SHAPE).prepare_data()


IMAGES, LABELS = coloured_shapes(20)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": IMAGES}, "holds x, and should hold images"),
        ({"images": IMAGES.float()}, "images are torch.float32 .*, and should be .*uint8"),
        (
            {"images": IMAGES.permute(0, 2, 3, 1).contiguous()},
            r"images are torch.uint8 \[20, 32, 32, 3\], and should be .*\[N, 3, 32, 32\]",
        ),
        ({"images": IMAGES[0, 0, 0, 0]}, r"images are torch.uint8 \[\]"),
        ({"images": IMAGES[:0]}, "images.pt: there are no images in images"),
        ({"images": IMAGES, "labels": LABELS[:9]}, r"labels are .*\[9\], and should .* \[20\]"),
        ({"images": IMAGES, "labels": LABELS.float()}, "labels are torch.float32"),
        (
            {"images": IMAGES, "labels": LABELS, "test_images": IMAGES, "test_labels": LABELS + 1},
            r"a test image has the label 3 \(−1: none\), which no training image has",
        ),
        ({"images": IMAGES[:1]}, "images.pt, a test set: holding out 1 images leaves none of 1"),
        ({"images": IMAGES.to_sparse()}, "cannot be read as .pt: it should hold a dict of dense"),
        ({"images": IMAGES.to("meta")}, "cannot be read as .pt: it should hold a dict of dense"),
        ({"images": [1, 2]}, "cannot be read as .pt: it should hold a dict of dense"),
        ({0: IMAGES}, "holds 0, and should hold images"),
        ({"images": IMAGES, "labels": LABELS - 2}, "labels hold -2, and should count from 0"),
        ({"images": IMAGES, "labels": LABELS.to(torch.complex64)}, "labels are torch.complex64"),
        ({"images": IMAGES, "test_labels": LABELS}, "images.*and should hold test_images"),
        ({"images": IMAGES, "val_images": IMAGES.float()}, "val_images are torch.float32"),
        (
            {"images": IMAGES, "labels": LABELS, "val_images": IMAGES, "val_labels": LABELS + 1},
            r"a val image has the label 3",
        ),
    ],
)
@pytest.mark.filterwarnings("ignore:Validating sparse tensor invariants")
def test_a_malformed_tensor_file_is_reported(arrays, message, tmp_path):
    torch.save(arrays, tmp_path / "images.pt")
    data = TensorFileDataModule(path=tmp_path / "images.pt", image_shape=SHAPE)
    with pytest.raises(DataError, match=message):
        data.prepare_data()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("missing.npz", "cannot be read as .npz"),
        ("damaged.safetensors", "cannot be read as .safetensors"),
        ("text.npz", r"text\.npz cannot be read as .npz: it is not an archive of arrays"),
        ("array.npz", r"array\.npz cannot be read as .npz: it is not an archive of arrays"),
        ("notes.txt", r"should be a file that ends in \.npz, \.pt, \.safetensors"),
    ],
)
def test_a_missing_damaged_or_unknown_tensor_file_is_reported(name, message, tmp_path):
    (tmp_path / "damaged.safetensors").write_bytes(b"no tensors")
    (tmp_path / "text.npz").write_text("1 2 3")
    with (tmp_path / "array.npz").open("wb") as file:
        np.save(file, IMAGES.numpy())
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
        (lambda folder: folder.rmdir(), "is not a folder of images"),
        (lambda folder: (folder / ".hidden.png").write_bytes(b""), "hold no image files"),
        (_beside, r"000\.png lies beside folders of classes"),
        (_another_class, "test holds the class 'stripes', and .*train does not"),
    ],
)
def test_a_malformed_image_folder_is_reported(make, message, tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    make(folder)
    with pytest.raises(DataError, match=message):
        ImageFolderDataModule(path=folder, image_shape=SHAPE).prepare_data()


def test_image_files_have_one_channel_or_three(tmp_path):
    write_folder(tmp_path, IMAGES)
    data = ImageFolderDataModule(path=tmp_path, image_shape=(4, 32, 32))
    with pytest.raises(DataError, match="1 or 3 channels, and the model takes 4"):
        data.setup("fit")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"normalization": "standardize"}, "standardize needs the mean and std"),
        ({"normalization": "standardize", "mean": 0.5}, "standardize needs the mean and std"),
        ({"mean": [0.5, 0.5], "std": 0.2}, "mean has 2 numbers, and an image of image_shape"),
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


def _photos(folder, *sets):
    """Write sets of 20 different images each; return name of the set → images and labels."""
    found = {}
    for seed, name in enumerate(sets):
        found[name] = coloured_shapes(20, seed=seed)
        write_folder(folder / name, *found[name])
    return found


def _by_rows(images, labels):
    return sorted(
        (row.flatten().tolist(), label) for row, label in zip(images, labels.tolist(), strict=True)
    )


@pytest.mark.parametrize("val", ["val", "valid", "validation", "Val", "VALIDATION"])
@pytest.mark.parametrize("train", ["train", "Train"])
def test_a_val_folder_is_the_validation_set(train, val, tmp_path):
    photos = _photos(tmp_path, train, val)
    data = ImageFolderDataModule(path=tmp_path, image_shape=SHAPE, val_size=0.5)
    assert _sizes(data) == [18, 20, 2]
    assert _by_rows(*data.read_validation()) == _by_rows(*photos[val])
    both = [torch.cat(parts) for parts in zip(data.read(True), data.read(False), strict=True)]
    assert _by_rows(*both) == _by_rows(*photos[train])
    alone = ImageFolderDataModule(path=tmp_path / train, image_shape=SHAPE)
    assert torch.equal(alone.read(train=False)[0], data.read(train=False)[0])


def test_train_val_and_test_folders_are_the_three_sets(tmp_path):
    photos = _photos(tmp_path, "train", "val", "test")
    data = ImageFolderDataModule(path=tmp_path, image_shape=SHAPE, val_size=0)
    assert _sizes(data) == [20, 20, 20]
    found = data.read(True), data.read_validation(), data.read(False)
    for pair, name in zip(found, photos, strict=True):
        assert _by_rows(*pair) == _by_rows(*photos[name])


def test_a_training_folder_alone_is_not_a_class(tmp_path):
    _photos(tmp_path, "train")
    data = ImageFolderDataModule(path=tmp_path, image_shape=SHAPE)
    assert _sizes(data) == [16, 2, 2]
    assert sorted(set(data.read(train=True)[1].tolist())) == [0, 1, 2]


def test_train_and_val_folders_may_have_no_classes(tmp_path):
    for seed, name in enumerate(("train", "val")):
        write_folder(tmp_path / name, coloured_shapes(20, seed=seed)[0])
    data = ImageFolderDataModule(path=tmp_path, image_shape=SHAPE)
    assert _sizes(data) == [18, 20, 2]
    assert data.read_validation()[1].unique().tolist() == [-1]


def test_a_class_can_be_named_like_a_set(tmp_path):
    for seed, name in enumerate(("bus", "train", "invalid", "valid")):
        write_folder(tmp_path / name, coloured_shapes(5, seed=seed)[0])
    data = ImageFolderDataModule(path=tmp_path / "x", image_shape=SHAPE)
    (tmp_path / "x").mkdir()
    for name in ("bus", "train"):
        (tmp_path / name).rename(tmp_path / "x" / name)
    assert data.read(train=True)[1].bincount().tolist() == [4, 5]
    other = ImageFolderDataModule(path=tmp_path / "y", image_shape=SHAPE)
    (tmp_path / "y").mkdir()
    for name in ("invalid", "valid"):
        (tmp_path / name).rename(tmp_path / "y" / name)
    assert sum(other.read(train=True)[1].bincount().tolist()) == 9


def test_hidden_folders_and_those_of_macos_are_ignored(tmp_path):
    _photos(tmp_path, "train")
    for place in ("train/.ipynb_checkpoints", "train/disc/.thumbnails", "__MACOSX/train/disc"):
        write_folder(tmp_path / place, coloured_shapes(3)[0])
    data = ImageFolderDataModule(path=tmp_path, image_shape=SHAPE)
    assert _sizes(data) == [16, 2, 2]
    assert set(data.read(train=True)[1].tolist()) == {0, 1, 2}


def test_links_to_folders_are_followed_without_looping(tmp_path):
    _photos(tmp_path, "elsewhere")
    (tmp_path / "photos").mkdir()
    for name in ("disc", "square"):
        (tmp_path / "photos" / name).symlink_to(tmp_path / "elsewhere" / name)
    (tmp_path / "elsewhere" / "disc" / "up").symlink_to(tmp_path / "elsewhere")
    data = ImageFolderDataModule(path=tmp_path / "photos", image_shape=SHAPE)
    assert sum(_sizes(data)) == 7 + 7


def _sets_only(*names):
    return lambda folder: _photos(folder, *names)


def _empty_val(folder):
    _photos(folder, "train")
    (folder / "val").mkdir()


def _two_vals(folder):
    _photos(folder, "train", "val", "valid")


def _beside_train(folder):
    _photos(folder, "train", "extra")


def _file_beside_train(folder):
    _photos(folder, "train")
    Image.new("RGB", (32, 32)).save(folder / "a.png")


def _unlabelled_test(folder):
    _photos(folder, "train")
    write_folder(folder / "test", IMAGES)


def _another_class_in_val(folder):
    _photos(folder, "train")
    write_folder(folder / "val" / "cat", IMAGES)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (_sets_only("test", "val"), r"test is there, and .*train is not: add it"),
        (_sets_only("val"), r"val is there, and .*train is not: add it"),
        (
            _sets_only("valid", "photos"),
            r"valid holds folders of classes, and .*photos lies beside",
        ),
        (_empty_val, r"val and the folders in it hold no image files"),
        (_two_vals, r"val and .*valid are both a val set"),
        (_beside_train, r"train holds folders of classes, and .*extra lies beside it: move one"),
        (_file_beside_train, r"train holds folders of classes, and .*a\.png lies beside it"),
        (_unlabelled_test, r"test holds images without a class, and .*train does not"),
        (_another_class_in_val, r"val holds the class 'cat', and .*train does not"),
    ],
)
def test_folders_of_sets_that_contradict_each_other_are_reported(make, message, tmp_path):
    make(tmp_path)
    with pytest.raises(DataError, match=message):
        ImageFolderDataModule(path=tmp_path, image_shape=SHAPE).prepare_data()


def test_images_beside_the_folders_of_sets_are_not_read_and_the_log_says_so(tmp_path, caplog):
    _photos(tmp_path, "train", "test", "extra")
    ImageFolderDataModule(path=tmp_path, image_shape=SHAPE).prepare_data()
    assert caplog.messages == [f"{tmp_path}/extra is not read: the sets are test and train"]


def _file(place):
    place.write_text("")


@pytest.mark.parametrize(
    "make", [_file, lambda place: place.symlink_to("/nowhere"), lambda place: None]
)
@pytest.mark.parametrize("use", ["prepare_data", "setup"])
@pytest.mark.parametrize("kind", [ImageFolderDataModule, TensorFileDataModule])
def test_a_path_to_the_wrong_kind_of_file_is_reported(kind, use, make, tmp_path):
    make(tmp_path / "x.npz")
    for path in ("x.npz", "x.npz/below.npz"):
        data = kind(path=tmp_path / path, image_shape=SHAPE)
        with pytest.raises(DataError, match=r"x\.npz"):
            data.setup("fit") if use == "setup" else data.prepare_data()


@pytest.mark.parametrize("kind", [ImageFolderDataModule, TensorFileDataModule])
@pytest.mark.parametrize("name", ["x" * 300 + ".npz", "a\0b.npz", "~nobody-here/a.npz"])
def test_an_impossible_path_is_reported(kind, name, tmp_path):
    with pytest.raises(DataError, match="npz"):
        kind(path=name if name[0] == "~" else tmp_path / name, image_shape=SHAPE).prepare_data()


def test_a_folder_without_read_permission_is_reported(tmp_path, monkeypatch):
    _photos(tmp_path, "train", "val")
    scandir = os.scandir

    def refuses(path):
        if str(path).endswith("disc"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuses)
    with pytest.raises(DataError, match=r"disc' cannot be read: Permission denied"):
        ImageFolderDataModule(path=tmp_path, image_shape=SHAPE).prepare_data()


def test_a_damaged_image_of_any_set_is_found_before_training(tmp_path):
    for name in ("train", "val", "test"):
        _photos(tmp_path / name, "train", "val", "test")
        (path, *_) = (tmp_path / name / name / "disc").iterdir()
        path.write_bytes(path.read_bytes()[:200])
        data = ImageFolderDataModule(path=tmp_path / name, image_shape=SHAPE)
        data.prepare_data()
        with pytest.raises(DataError, match=f"{name}/disc/{path.name} cannot be read as an image"):
            data.setup("fit")


def test_too_few_images_are_reported_with_the_data_and_the_setting(tmp_path):
    write_folder(tmp_path / "one", IMAGES[:1])
    write_folder(tmp_path / "two", IMAGES[:2])
    one, two = (
        ImageFolderDataModule(path=tmp_path / name, image_shape=SHAPE) for name in ("one", "two")
    )
    with pytest.raises(DataError, match="one: a test set: holding out 1 images leaves none of 1"):
        one.prepare_data()
    with pytest.raises(DataError, match=r"two .*data\.val_size=0\.1: holding out 1 .* none of 1"):
        two.setup("fit")


def test_fewer_images_than_processes_are_refused_before_training(tmp_path):
    write_folder(tmp_path, IMAGES[:5])
    data = ImageFolderDataModule(path=tmp_path, image_shape=SHAPE, val_size=1)
    data.trainer = SimpleNamespace(
        global_rank=0, world_size=4, strategy=SimpleNamespace(root_device=torch.device("cpu"))
    )
    with pytest.raises(DataError, match=r"train set has 3 images, too few for 4 processes"):
        data.setup("fit")


GREYS = torch.zeros(20, *SHAPE, dtype=torch.uint8)


class Given(ImageDataModule):
    """A data module that reads the given arrays."""

    def __init__(self, images, labels):
        super().__init__(image_shape=SHAPE)
        self.read = lambda train: (images, labels)

    def read(self, train):
        raise NotImplementedError


@pytest.mark.parametrize(
    ("images", "labels", "fault"),
    [
        (GREYS / 255, LABELS, r"Given: train images are torch.float32 \[20, 3, 32, 32\], "),
        (GREYS[:, :1], LABELS, r"torch.uint8 \[20, 1, 32, 32\], and should .* \[N, 3, 32, 32\]"),
        (GREYS, LABELS / 7, r"train labels are torch.float32 \[20\], and should be whole"),
        (GREYS, LABELS[:9], r"train labels are torch.int64 \[9\], and should .* \[20\]"),
    ],
)
def test_images_read_by_a_users_class_are_checked(images, labels, fault):
    with pytest.raises(DataError, match=fault):
        Given(images, labels).setup("fit")


def test_an_item_without_the_key_of_its_image_is_reported():
    items = [{"image": GREYS[0], "target": 0.5}]
    data = DatasetDataModule(dataset=lambda: items, image_shape=SHAPE)
    with pytest.raises(DataError, match="item 0 has the keys image, target, and should have its"):
        data.prepare_data()


def test_arrays_of_an_item_that_are_not_used_are_named(caplog):
    items = [{"x": GREYS[0], "depth": np.zeros(3), "file": "1.png"}] * 3
    with caplog.at_level(logging.WARNING):
        DatasetDataModule(dataset=lambda: items, image_shape=SHAPE).prepare_data()
    (said,) = (record.getMessage() for record in caplog.records)
    assert "x and y of a batch are used, not depth: " in said


@pytest.mark.parametrize("label", [2.5, "cat", torch.eye(4)[1], 2**63, -7])
def test_labels_that_are_not_classes_are_named_and_not_used(label, caplog):
    items = [(GREYS[0], label)] * 20
    data = DatasetDataModule(dataset=lambda: items, image_shape=SHAPE, num_workers=0)
    with caplog.at_level(logging.WARNING):
        data.setup("fit")
    assert next(iter(data.val_dataloader())).y.tolist() == [-1, -1]
    (said,) = (record.getMessage() for record in caplog.records)
    assert "the label of item 0" in said


@pytest.mark.parametrize("label", [True, np.True_, torch.tensor([1]), np.int32(1)])
def test_labels_of_any_integer_type_are_classes(label, caplog):
    items = [(GREYS[0], label)] * 20
    data = DatasetDataModule(dataset=lambda: items, image_shape=SHAPE, num_workers=0)
    data.setup("fit")
    y = next(iter(data.val_dataloader())).y
    assert y.dtype == torch.long
    assert y.tolist() == [1, 1]
    assert not caplog.records
