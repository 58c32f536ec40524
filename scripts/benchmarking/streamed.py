"""Training on streamed data, and a bare loop with a DataLoader on the same files."""

import os
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from benchmarking.lightning_loops import training
from benchmarking.race import Pace
from musigma.assemble import build_data, build_model
from musigma.data.image_files import read_file
from workbench.project import Config

INTERVAL = 0.25
"""Seconds between two measurements of memory."""


def make_images(folder: Path, count: int, side: int) -> Path:
    """Write PNG files in colour, `side` × `side` pixels, nine in ten of them for training."""
    generator = np.random.default_rng(0)
    for number in range(count):
        name = "test" if number % 10 == 9 else "train"
        place = folder / name / f"class{number % 4}"
        place.mkdir(parents=True, exist_ok=True)
        blocks = generator.integers(0, 256, (8, 8, 3), dtype=np.uint8)
        image = Image.fromarray(blocks).resize((side, side), Image.Resampling.BICUBIC)
        image.save(place / f"{number:06}.png", compress_level=1)
    return folder


def bare_loader(pace: Pace, config: Config) -> None:
    """Train the same model on the same files with a DataLoader and a plain loop."""
    pace.measure = MemoryMonitor().peak
    data: Any = build_data(config)
    data.prepare_data()
    model = build_model(config, data)
    paths = sorted((Path(config["data"]["path"]) / "train").rglob("*.png"))
    files = _Files([str(path) for path in paths], data.image_shape)
    loader = DataLoader(
        files, batch_size=data.batch_size, shuffle=True, num_workers=data.num_workers
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=config["optimizer"]["lr"], fused=True)
    while True:
        pace.next_epoch(len(files))
        for x in loader:
            optimizer.zero_grad()
            F.l1_loss(model(x), x).backward()
            optimizer.step()


def streamed(pace: Pace, config: Config) -> None:
    """Train as scripts/train.py does with data.stream=true."""
    pace.measure = MemoryMonitor().peak
    training(pace, config)


class MemoryMonitor:
    """Measures the peak memory of a process and its children, without the initial memory."""

    def __init__(self) -> None:
        self._initial = _memory()
        self._peak = self._initial
        threading.Thread(target=self._watch, daemon=True).start()

    def peak(self) -> float:
        """The peak so far, in MiB."""
        return self._peak - self._initial

    def _watch(self) -> None:
        while True:
            self._peak = max(self._peak, _memory())
            time.sleep(INTERVAL)


def _memory() -> float:
    """Memory of this process and its children in MiB; pages that they share count once."""
    total = 0.0
    for process in _family(os.getpid()):
        try:
            lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
        except OSError:  # it has ended
            continue
        total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total / 1024


def _family(process: int) -> list[int]:
    """The ids of a process and its descendants."""
    members = [process]
    for file in Path(f"/proc/{process}/task").glob("*/children"):
        try:
            children = file.read_text().split()
        except OSError:
            continue
        members += [member for child in children for member in _family(int(child))]
    return members


class _Files(Dataset[Tensor]):
    def __init__(self, paths: list[str], image_shape: tuple[int, int, int]) -> None:
        self.paths = np.array(paths)
        self.image_shape = image_shape

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Tensor:
        image = read_file(str(self.paths[index]), self.image_shape, resize=True)
        return image.float() / 255
