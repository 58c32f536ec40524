"""Pixels in: data sets, normalisation, the batch loader and the LightningDataModule."""

from musigma.data.datamodule import ImageDataModule
from musigma.data.loader import Batch, TensorLoader
from musigma.data.mnist import MNISTDataModule

__all__ = ["Batch", "ImageDataModule", "MNISTDataModule", "TensorLoader"]
