"""Raw files that are not what their names say are named, with what to do."""

import struct

import pytest

from musigma.data.idx import FILES, check_raw_files
from musigma.errors import DataError


def test_good_files_pass(raw_folder):
    check_raw_files(raw_folder)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("size", [0, 3, 100])
def test_truncated_file_is_named(raw_folder, name, size):
    path = raw_folder / name
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(DataError, match=f"{name}.*bytes.*\n.*Remove it and run again"):
        check_raw_files(raw_folder)


@pytest.mark.parametrize("name", FILES)
def test_one_byte_too_many_or_too_few_is_named(raw_folder, name):
    path = raw_folder / name
    whole = path.read_bytes()
    for wrong in (whole + b"\0", whole[:-1]):
        path.write_bytes(wrong)
        with pytest.raises(DataError, match=name):
            check_raw_files(raw_folder)


@pytest.mark.parametrize("kind", ["images-idx3", "labels-idx1"])
def test_train_and_test_swapped_is_named(raw_folder, kind):
    train, test = raw_folder / f"train-{kind}-ubyte", raw_folder / f"t10k-{kind}-ubyte"
    content = train.read_bytes(), test.read_bytes()
    test.write_bytes(content[0])
    train.write_bytes(content[1])
    with pytest.raises(DataError, match=r"train-.*10000.*another file under this name"):
        check_raw_files(raw_folder)


def test_images_and_labels_swapped_is_named(raw_folder):
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


def test_impossible_label_is_named(raw_folder):
    (raw_folder / FILES[3]).write_bytes(struct.pack(">2I", 2049, 10_000) + bytes([11]) * 10_000)
    with pytest.raises(DataError, match="t10k-labels.*label 11"):
        check_raw_files(raw_folder)
