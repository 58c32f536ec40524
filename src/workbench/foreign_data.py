"""A LightningDataModule around one of any class, with the same random values in every run."""

import logging
from typing import Any

import lightning as L
from lightning.pytorch.utilities.model_helpers import is_overridden
from lightning.pytorch.utilities.seed import isolate_rng

from workbench.errors import DataError, described
from workbench.seeding import seed_everything

log = logging.getLogger(__name__)

FIXED_SEED = 0
"""The seed of what the data draw before training, a split say."""


def _forward(hook: str) -> Any:
    """A hook that calls the wrapped data module's hook of that name."""

    def call(self: "WrappedDataModule", *args: Any, **kwargs: Any) -> Any:
        return getattr(self.inner, hook)(*args, **kwargs)

    return call


class WrappedDataModule(L.LightningDataModule):
    """Wraps a LightningDataModule of any class, and forwards its loaders, hooks and attributes.

    It is prepared once, and set up once for each stage; what it draws at random then is the same in
    every run.

    Args:
        inner: the data module.
    """

    def __init__(self, inner: L.LightningDataModule) -> None:
        self.inner = inner
        L.LightningDataModule.__init__(self)
        self.name = type(inner).__name__
        self.prepare_data_per_node = inner.prepare_data_per_node
        self._log_hyperparams = inner._log_hyperparams = False
        self.is_prepared = False  # data are not read while jobs are checked
        self._stages: set[str] = set()

    def __getattr__(self, name: str) -> Any:
        """An attribute of the wrapped data module, such as `trainer.datamodule.num_classes`."""
        if name in ("inner", "__setstate__"):
            raise AttributeError(name)
        return getattr(self.inner, name)

    @property
    def trainer(self) -> Any:
        """The Trainer of both data modules."""
        return self.inner.trainer

    @trainer.setter
    def trainer(self, trainer: Any) -> None:
        self.inner.trainer = trainer

    def prepare_data(self) -> None:
        """Prepare the data, once."""
        if not self.is_prepared:
            self._call_seeded(self.inner.prepare_data)
            self.is_prepared = True

    def setup(self, stage: str) -> None:
        """Set the data up for a stage, once."""
        if stage not in self._stages:
            self._stages.add(stage)
            self._call_seeded(self.inner.setup, stage)

    def train_dataloader(self) -> Any:
        """The training loader; a DataError if there is none."""
        if (loader := self.inner.train_dataloader()) is None:
            raise DataError(f"{self.name}.train_dataloader returns no loader; return one")
        return loader

    def val_dataloader(self) -> Any:
        """The validation loader; an empty list if there is none."""
        return self._optional_loader("val_dataloader")

    def test_dataloader(self) -> Any:
        """The test loader; an empty list if there is none."""
        if not self.defines("test_dataloader"):
            log.info("%s has no test_dataloader: nothing is tested", self.name)
        return self._optional_loader("test_dataloader")

    def predict_dataloader(self) -> Any:
        """The loader to predict with, by default the test loader."""
        has_own = self.defines("predict_dataloader")
        return self._optional_loader("predict_dataloader" if has_own else "test_dataloader")

    def defines(self, hook: str) -> bool:
        """True if the wrapped data module's class defines a hook."""
        return is_overridden(hook, self.inner, L.LightningDataModule)

    teardown = _forward("teardown")
    on_exception = _forward("on_exception")
    transfer_batch_to_device = _forward("transfer_batch_to_device")
    on_before_batch_transfer = _forward("on_before_batch_transfer")
    on_after_batch_transfer = _forward("on_after_batch_transfer")
    state_dict = _forward("state_dict")
    load_state_dict = _forward("load_state_dict")

    def _call_seeded(self, function: Any, *arguments: str) -> None:
        """Call a hook with a fixed seed; errors of files are raised as DataErrors."""
        with isolate_rng():
            seed_everything(FIXED_SEED)
            try:
                function(*arguments)
            except (OSError, RuntimeError) as error:  # torchvision raises it for missing files
                what = described(error)
                raise DataError(f"{self.name}.{function.__name__}: {what}") from error

    def _optional_loader(self, hook: str) -> Any:
        loader = getattr(self.inner, hook)() if self.defines(hook) else None
        return [] if loader is None else loader
