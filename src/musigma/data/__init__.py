"""Data sets, normalisation, loaders and LightningDataModules.

A data module, such as those of `mnist` and `image_folder`, is a subclass of `ImageDataModule`. It
has a training, a validation and a test set (`set_loaders`), each of which is in memory (`loader`),
read image by image by worker processes (`streaming`, `workers`), or read from an IterableDataset
(`iterable`). A set makes its loader. The base of all loaders (`pixel_loader`) draws random pixels.
LightningDataModules of other classes are wrapped by `foreign`.
"""

from musigma.data.batch import Batch
from musigma.data.datamodule import ImageDataModule
from musigma.data.dataset import DatasetDataModule
from musigma.data.foreign import ForeignDataModule
from musigma.data.image_folder import ImageFolderDataModule
from musigma.data.loader import TensorLoader
from musigma.data.mnist import MNISTDataModule
from musigma.data.streaming import StreamLoader
from musigma.data.tensor_file import TensorFileDataModule

__all__ = [
    "Batch",
    "DatasetDataModule",
    "ForeignDataModule",
    "ImageDataModule",
    "ImageFolderDataModule",
    "MNISTDataModule",
    "StreamLoader",
    "TensorFileDataModule",
    "TensorLoader",
]
