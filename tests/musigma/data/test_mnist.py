"""The MNIST data module: canonical splits, and the sample as a declared fallback."""

import logging

import pytest
import torch
from torchvision.transforms import v2

from musigma.data.mnist import MNISTDataModule
from musigma.data.splits import split
from workbench.errors import DataError


def _ready(**settings):
    data = MNISTDataModule(**settings)
    data.prepare_data()
    data.setup("fit")
    data.setup("test")
    return data


def _size(loader):
    return len(loader.dataset)


def test_mnist_is_split_55000_5000_10000(raw_folder):
    data = _ready(root=raw_folder.parents[1], normalization="unit")
    loaders = data.train_dataloader(), data.val_dataloader(), data.test_dataloader()
    assert [_size(loader) for loader in loaders] == [55_000, 5_000, 10_000]
    train, test = next(iter(loaders[0])), next(iter(loaders[2]))
    assert train.x.shape == (128, 1, 28, 28)
    assert test.x.shape == (1000, 1, 28, 28)
    assert torch.all(train.x[:, :, 5] == torch.tensor(10 / 255))
    assert torch.all(test.x[:, :, 5] == torch.tensor(20 / 255))
    assert torch.equal(test.y, test.row % 10)


def test_data_dir_is_where_the_files_are_looked_for(raw_folder, monkeypatch):
    monkeypatch.setenv("DATA_DIR", str(raw_folder.parents[1]))
    assert MNISTDataModule().raw_folder == raw_folder


def test_validation_images_do_not_depend_on_the_seed():
    kept = [_ready(source="sample", seed=seed).val_dataloader() for seed in (0, 1)]
    assert torch.equal(kept[0].dataset.tensors[0], kept[1].dataset.tensors[0])


def test_a_split_has_exactly_the_requested_size():
    assert [int(split(100, size).sum()) for size in (0, 1, 50, 99)] == [0, 1, 50, 99]
    assert [int(split(100, share).sum()) for share in (0.001, 0.1, 0.5)] == [1, 10, 50]
    with pytest.raises(DataError, match="holding out 100 images leaves none of 100"):
        split(100, 100)


def test_without_validation_all_60000_are_trained_on(raw_folder):
    data = _ready(root=raw_folder.parents[1], val_size=0)
    assert _size(data.train_dataloader()) == 60_000
    assert data.val_dataloader() == []


def test_the_sample_is_split_4000_500_500_without_overlap():
    data = _ready(source="sample")
    loaders = data.train_dataloader(), data.val_dataloader(), data.test_dataloader()
    assert [_size(loader) for loader in loaders] == [4_000, 500, 500]
    images = torch.cat([loader.dataset.tensors[0] for loader in loaders])
    assert len(images.flatten(1).unique(dim=0)) == 5_000
    labels = torch.cat([loader.dataset.tensors[1] for loader in loaders])
    assert labels.bincount().tolist() == [500] * 10


def test_the_fallback_uses_the_sample_and_warns(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        data = _ready(root=tmp_path, mirrors=["http://127.0.0.1:9/"], fallback="sample")
    assert data.source == "sample"
    assert "training on a SAMPLE of 5,000 digits" in caplog.text
    assert _size(data.train_dataloader()) == 4_000


def test_the_fallback_is_not_used_if_there_are_files(raw_folder):
    data = _ready(root=raw_folder.parents[1], fallback="sample")
    assert data.source == "files"


def test_the_sample_never_replaces_another_data_set(tmp_path):
    data = MNISTDataModule(
        dataset="KMNIST", root=tmp_path, mirrors=["http://127.0.0.1:9/"], fallback="sample"
    )
    with pytest.raises(DataError, match="download of KMNIST failed") as error:
        data.prepare_data()
    assert "data.fallback" not in str(error.value)
    assert data.source == "files"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"dataset": "SVHN"}, "dataset\n  Input should be 'MNIST'"),
        ({"batch_size": 0}, "batch_size\n  Input should be greater"),
        ({"eval_batch_size": 0}, "eval_batch_size\n  Input should be greater"),
        ({"val_size": -1}, "val_size\n  Input should be greater"),
        ({"val_size": 60_000}, "val_size\n  Input should be less than 60000"),
        ({"std": 0.0}, "std\n  Input should be greater"),
        ({"normalization": "none"}, "normalization\n  Input should be"),
        ({"source": "web"}, "source\n  Input should be"),
        ({"fallback": "random"}, "fallback\n  Input should be"),
        ({"dataset": "KMNIST", "source": "sample"}, "cannot replace KMNIST"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        MNISTDataModule(**settings)


@pytest.mark.parametrize("normalization", ["dequantize", "binarize_dynamic", "binarize_static"])
def test_random_pixels_for_evaluation_are_the_same_for_every_seed(normalization):
    sets = [
        _ready(source="sample", normalization=normalization, seed=seed, eval_batch_size=size)
        for seed, size in ((0, 500), (1, 77))
    ]
    for loaders in zip(*[(s.val_dataloader(), s.test_dataloader()) for s in sets], strict=True):
        first, second = (torch.cat([batch.x for batch in loader]) for loader in loaders)
        assert torch.equal(first, second)
        again = torch.cat([batch.x for batch in loaders[0]])
        assert torch.equal(first, again)


@pytest.mark.slow
def test_augmented_images_are_binarized_once_from_their_grey_levels():
    """Drawn again from pixels that are 0 or 1 already, nearly all would be black."""
    settings = {"source": "sample", "normalization": "binarize_static", "num_workers": 0}
    grey = _ready(source="sample", normalization="unit").mean_image()
    augmented = _ready(**settings, augment=[v2.Identity()])
    assert augmented.mean_image().mean().item() == pytest.approx(grey.mean().item(), rel=0.01)
    epochs = []
    for epoch in (0, 1):
        loader = augmented.train_dataloader()
        loader.sampler.set_epoch(epoch)
        batches = [*loader]
        x, rows = (torch.cat([batch[part] for batch in batches]) for part in (0, 2))
        epochs.append(x[rows.argsort()])
    torch.testing.assert_close(epochs[0].mean(0), grey, rtol=0, atol=0.05)
    assert torch.equal(*epochs)
    plain = _ready(**settings)
    for found, expected in zip(augmented.val_dataloader(), plain.val_dataloader(), strict=True):
        assert torch.equal(found.x, expected.x)


def test_the_mean_image_is_the_mean_of_the_normalised_training_images():
    data = _ready(source="sample")
    images = data.train_dataloader().dataset.tensors[0]
    expected = (images.double() / 255 - 0.1307).div(0.3081).mean(0).float()
    torch.testing.assert_close(data.mean_image(), expected, rtol=1e-4, atol=1e-5)
    binary = _ready(source="sample", normalization="binarize_dynamic")
    torch.testing.assert_close(
        binary.mean_image(), images.double().div(255).mean(0).float(), rtol=0, atol=0.05
    )
