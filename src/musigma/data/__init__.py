"""Pixels in: data sets, normalisation, loaders and LightningDataModules.

A data module, such as that of `mnist` or `image_folder`, is a subclass of `ImageDataModule`. It has
a set for each of training, validation and test: images that are held (`loader`), read one by one by
worker processes (`streaming`), or readable in one order only (`iterated`). A set makes its loader.
What workers do is in `one_by_one`. The base of all loaders (`steps`) draws what is random in a
batch, and resumes at any step. Data modules of the user's own class are wrapped in `foreign`.
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
