"""Pixels in: data sets, normalisation, the batch loader and the LightningDataModule."""

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
