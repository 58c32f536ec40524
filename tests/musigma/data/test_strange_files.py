"""Image data from elsewhere: no code is run, and folders of sets are not taken for classes."""

import pytest
import torch
from PIL import Image

from musigma.data.image_folder import ImageFolderDataModule
from musigma.data.tensor_file import TensorFileDataModule
from workbench.errors import DataError


class _Code:
    def __reduce__(self):
        return (print, ("ran",))


def test_code_in_a_pt_file_is_not_run_nor_suggested_to_be_run(tmp_path, capsys):
    path = tmp_path / "images.pt"
    torch.save({"images": torch.zeros(9, 1, 2, 2, dtype=torch.uint8), "labels": _Code()}, path)
    with pytest.raises(DataError, match="holds more than tensors and plain values$") as error:
        TensorFileDataModule(path=str(path), image_shape=(1, 2, 2)).prepare_data()
    assert "weights_only" not in str(error.value)
    assert capsys.readouterr().out == ""


def test_folders_called_training_and_testing_are_sets_and_not_classes(tmp_path):
    for name in ("Training", "testing"):
        for label in ("a", "b"):
            (tmp_path / name / label).mkdir(parents=True)
            for i in range(4):
                Image.new("L", (2, 2)).save(tmp_path / name / label / f"{i}.png")
    data = ImageFolderDataModule(path=str(tmp_path), image_shape=(1, 2, 2), val_size=2)
    data.setup("fit")
    data.setup("test")
    sizes = {name: len(images) for name, images in data._sets.items()}
    assert sizes == {"train": 6, "val": 2, "test": 8}
