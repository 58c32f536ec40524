"""Wrong or damaged MNIST files are reported by name, with what to do."""

import struct

import pytest
import torch
from torchvision import datasets

from musigma.data import idx
from musigma.data.idx import FILES, check_raw_files
from musigma.data.mnist import MNISTDataModule
from workbench.errors import DataError


def test_intact_files_pass(raw_folder):
    check_raw_files(raw_folder)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("size", [0, 3, 100])
def test_a_truncated_file_is_named(raw_folder, name, size):
    path = raw_folder / name
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(DataError, match=f"{name}.*bytes.*\n.*Remove it and run again"):
        check_raw_files(raw_folder)


@pytest.mark.parametrize("name", FILES)
def test_a_file_with_a_byte_too_many_or_too_few_is_named(raw_folder, name):
    path = raw_folder / name
    whole = path.read_bytes()
    for wrong in (whole + b"\0", whole[:-1]):
        path.write_bytes(wrong)
        with pytest.raises(DataError, match=name):
            check_raw_files(raw_folder)


@pytest.mark.parametrize("kind", ["images-idx3", "labels-idx1"])
def test_swapped_train_and_test_files_are_named(raw_folder, kind):
    train, test = raw_folder / f"train-{kind}-ubyte", raw_folder / f"t10k-{kind}-ubyte"
    content = train.read_bytes(), test.read_bytes()
    test.write_bytes(content[0])
    train.write_bytes(content[1])
    with pytest.raises(DataError, match=r"train-.*10000.*another file under this name"):
        check_raw_files(raw_folder)


def test_swapped_images_and_labels_are_named(raw_folder):
    images, labels = raw_folder / FILES[0], raw_folder / FILES[1]
    content = images.read_bytes(), labels.read_bytes()
    images.write_bytes(content[1])
    labels.write_bytes(content[0])
    with pytest.raises(DataError, match=r"train-images.*magic number 2049"):
        check_raw_files(raw_folder)


def test_a_compressed_file_under_a_raw_name_is_named(raw_folder, archives):
    (raw_folder / FILES[0]).write_bytes(archives[f"{FILES[0]}.gz"])
    with pytest.raises(DataError, match="train-images"):
        check_raw_files(raw_folder)


def test_an_impossible_label_is_named(raw_folder):
    (raw_folder / FILES[3]).write_bytes(struct.pack(">2I", 2049, 10_000) + bytes([11]) * 10_000)
    with pytest.raises(DataError, match="t10k-labels.*label 11"):
        check_raw_files(raw_folder)


@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("place", [100, -1])
def test_a_flipped_bit_in_the_published_mnist_is_named(raw_folder, name, place):
    data = bytearray((raw_folder / name).read_bytes())
    data[place] ^= 1
    check_raw_files(raw_folder, "MNIST")
    (raw_folder / name).write_bytes(data)
    with pytest.raises(DataError, match=f"{name} is damaged.*published.*\n.*an intact copy"):
        check_raw_files(raw_folder, "MNIST")
    for stage in ("fit",) if name.startswith("train") else ("test",):
        with pytest.raises(DataError, match=f"{name} is damaged"):
            MNISTDataModule(root=raw_folder.parents[1]).setup(stage)


@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
def test_a_raw_file_that_differs_from_its_archive_is_named(raw_folder, archives, name):
    for archive, data in archives.items():
        (raw_folder / archive).write_bytes(data)
    check_raw_files(raw_folder, "KMNIST")
    data = bytearray((raw_folder / name).read_bytes())
    data[100] ^= 1
    (raw_folder / name).write_bytes(data)
    with pytest.raises(DataError, match=f"{name} differs from the .gz beside it"):
        check_raw_files(raw_folder, "KMNIST")


def test_unchanged_files_are_not_checked_again(raw_folder, monkeypatch):
    check_raw_files(raw_folder, "MNIST")
    monkeypatch.setattr(idx, "read_raw", None)
    check_raw_files(raw_folder, "MNIST")


def test_pixels_and_labels_equal_torchvisions(raw_folder):
    data = MNISTDataModule(root=raw_folder.parents[1])
    for train in (True, False):
        expected = datasets.MNIST(raw_folder.parents[1], train=train)
        images, labels = data.read(train)
        assert torch.equal(images, expected.data.unsqueeze(1))
        assert torch.equal(labels, expected.targets)
        assert (images.dtype, labels.dtype) == (torch.uint8, torch.int64)
