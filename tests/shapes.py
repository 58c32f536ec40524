"""A small data set in colour: red discs, green squares and blue stripes, some of them noisy."""

from pathlib import Path

import torch
from PIL import Image
from torch.utils.data import Dataset, IterableDataset

NAMES = ("disc", "square", "stripes")


def coloured_shapes(count, side=32, seed=0):
    """Images `[N, 3, side, side]` uint8 and labels `[N]`, 0 to 2 in turn."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 3
    images = torch.randint(0, 40, (count, 3, side, side), generator=generator, dtype=torch.uint8)
    rows, columns = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    for image, label in zip(images, labels.tolist(), strict=True):
        top, left = torch.randint(side // 4, 3 * side // 4, (2,), generator=generator).tolist()
        away = torch.stack([(rows - top).abs(), (columns - left).abs()])
        masks = away.square().sum(0) < side, away.amax(0) < side // 6, (rows - top) % 8 < 3
        image[label][masks[label]] = 220
    return images, labels


def write_folder(folder: Path, images, labels=None):
    """Write a PNG for each image, in a folder for each class if there are labels."""
    for number, image in enumerate(images):
        place = folder if labels is None else folder / NAMES[labels[number]]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(place / f"{number:03}.png")
    return folder


class Shapes(Dataset):
    """The shapes, each with a random brightness; `odd` says what is wrong with the first one."""

    def __init__(self, split: str = "train", count: int = 40, odd: str = ""):
        self.images, self.labels = coloured_shapes(count, side=16, seed=len(split))
        self.odd = odd

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        image = self.images[index] + torch.randint(9, (1,), dtype=torch.uint8)
        if index == 0 and self.odd == "raises":
            raise ValueError("no such image")
        if index == 0 and self.odd:
            deep = Image.fromarray(image[0].numpy().astype("uint16"))
            odd = {"floats": image / 255, "small": image[:, :8], "nothing": None, "deep": deep}
            image = odd[self.odd]
        return image, int(self.labels[index])


class ShapeStream(IterableDataset):
    """The shapes as a stream without a length."""

    def __init__(self, split: str = "train"):
        self.items = Shapes(split)

    def __iter__(self):
        for row in range(len(self.items)):
            yield self.items[row]
