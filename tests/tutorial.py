"""LightningModules and a data module as tutorials write them, independent of this project."""

from collections.abc import Mapping

import lightning as L
import torch
import torch.nn.functional as F
from lightning.pytorch.utilities import CombinedLoader
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, random_split

SIZE = 28 * 28


class LitAutoEncoder(L.LightningModule):
    """Uses attribute names of the workbench's modules for its own ends: `config`, `metrics`."""

    def __init__(self, hidden: int = 16, lr: float = 1e-3, optimizer: str = "adam"):
        super().__init__()
        self.save_hyperparameters()
        self.config = {"hidden": hidden}
        self.metrics = nn.ModuleDict()
        self.optimizer = optimizer
        self.encoder = nn.Sequential(nn.Linear(SIZE, hidden), nn.ReLU(), nn.Linear(hidden, 3))
        self.decoder = nn.Sequential(nn.Linear(3, hidden), nn.ReLU(), nn.Linear(hidden, SIZE))

    def forward(self, x):
        return self.encoder(x.flatten(1))

    def _loss(self, batch):
        x, _ = batch
        z = self(x)
        z = z + 0.1 * torch.randn_like(z)
        return F.mse_loss(self.decoder(z), x.flatten(1))

    def training_step(self, batch, batch_idx):
        assert self.config["hidden"] == self.hparams.hidden
        assert not self.metrics
        loss = self._loss(batch)
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch, batch_idx):
        self.log("val_loss", self._loss(batch), prog_bar=True)

    def test_step(self, batch, batch_idx):
        self.log("test_loss", self._loss(batch))

    def configure_optimizers(self):
        assert self.optimizer == "adam"
        return torch.optim.Adam(self.parameters(), lr=self.hparams.lr)


class MadeLater(LitAutoEncoder):
    """Makes a layer in Lightning's hook for that."""

    def configure_model(self):
        if not hasattr(self, "last"):
            self.last = nn.Linear(SIZE, SIZE)

    def _loss(self, batch):
        x, _ = batch
        return F.mse_loss(self.last(self.decoder(self(x))), x.flatten(1))


class Lazy(LitAutoEncoder):
    """Has a layer whose shape its first batch decides."""

    def __init__(self, hidden: int = 16, lr: float = 1e-3):
        super().__init__(hidden, lr)
        self.encoder = nn.Sequential(nn.LazyLinear(hidden), nn.ReLU(), nn.Linear(hidden, 3))


class OfSets(LitAutoEncoder):
    """Validates several sets."""

    def validation_step(self, batch, batch_idx, dataloader_idx):
        super().validation_step(batch, batch_idx)


class Unoptimized(LitAutoEncoder):
    """Has no optimizer."""

    def configure_optimizers(self):
        return None


class Silent(Unoptimized):
    """Logs no validation metric."""

    def validation_step(self, batch, batch_idx):
        self._loss(batch)


class Mapped(LitAutoEncoder):
    """Takes mappings."""

    def __init__(self, a: dict | None = None, b: Mapping[str, float] | None = None):
        super().__init__()


class Mistaken(LitAutoEncoder):
    """Makes a mistake in its training step, or in what it saves."""

    def __init__(self, where: str):
        super().__init__()
        self.where = where

    def training_step(self, batch, batch_idx):
        return {} if self.where == "step" else super().training_step(batch, batch_idx)

    def on_save_checkpoint(self, checkpoint):
        checkpoint["mine"] = F.mse_loss


class LitGAN(L.LightningModule):
    """Manual optimization of two networks, a metric logged when validation ends, and no test."""

    def __init__(self, dim: int = 4):
        super().__init__()
        self.automatic_optimization = False
        self.generator, self.critic = nn.Linear(dim, SIZE), nn.Linear(SIZE, 1)

    def training_step(self, batch, batch_idx):
        x, _ = batch
        of_generator, of_critic = self.optimizers()
        fake = self.generator(torch.randn(len(x), self.generator.in_features))
        loss = F.softplus(-self.critic(x.flatten(1))).mean()
        loss = loss + F.softplus(self.critic(fake.detach())).mean()
        of_critic.zero_grad()
        self.manual_backward(loss)
        of_critic.step()
        if batch_idx % 2 == 0:
            other = F.softplus(-self.critic(fake)).mean()
            of_generator.zero_grad()
            self.manual_backward(other)
            of_generator.step()
            self.log("g_loss", other)
        self.log_dict({"train/critic": loss})

    def on_validation_epoch_start(self):
        self.seen = []

    def validation_step(self, batch, batch_idx):
        self.seen.append(self.critic(batch[0].flatten(1)))

    def on_validation_epoch_end(self):
        self.log("val/score", torch.cat(self.seen).mean())

    def configure_optimizers(self):
        parts = (self.generator, self.critic)
        return [torch.optim.Adam(part.parameters(), 1e-3) for part in parts]


class Blobs(L.LightningDataModule):
    """Images in [0, `levels`], split by the global random generator."""

    def __init__(self, batch_size: int = 32, count: int = 160, levels: float = 1.0):
        super().__init__()
        self.save_hyperparameters()

    def setup(self, stage):
        generator = torch.Generator().manual_seed(0)
        count = self.hparams.count
        labels = torch.arange(count) % 4
        x = 0.1 * torch.rand(count, 1, 28, 28, generator=generator)
        for row, label in enumerate(labels):
            x[row, :, 7 * label : 7 * label + 7] += 0.9
        data = TensorDataset(self.hparams.levels * x, labels)
        self.train, self.val, self.test = random_split(data, [0.6, 0.2, 0.2])

    def train_dataloader(self):
        return DataLoader(self.train, batch_size=self.hparams.batch_size, shuffle=True)

    def val_dataloader(self):
        return DataLoader(self.val, batch_size=self.hparams.batch_size)

    def test_dataloader(self):
        return DataLoader(self.test, batch_size=self.hparams.batch_size)


class Several(Blobs):
    """Has two validation sets, combined by Lightning's class for that."""

    def val_dataloader(self):
        pair = [DataLoader(images, batch_size=8) for images in (self.val, self.test)]
        return CombinedLoader(pair, "sequential")


class Known(Blobs):
    """Declares the shape of its images, and has neither validation nor test images."""

    image_shape = (1, 28, 28)
    val_dataloader = L.LightningDataModule.val_dataloader
    test_dataloader = L.LightningDataModule.test_dataloader
