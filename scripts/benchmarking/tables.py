"""The tables of a benchmark: measure them, show them, write them to a file."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, Literal, NamedTuple

import torch
from hydra import compose
from omegaconf import OmegaConf
from rich.console import Console
from rich.table import Table

from benchmarking import lightning_loops, pipelines, streamed
from benchmarking.commands import Cost, EndAtFirstStep, time_commands, trust_this_package
from benchmarking.race import Row, race
from benchmarking.repeated import RepeatedMNIST
from benchmarking.sweeps import costs_per_job, measure_sweeps, plain
from workbench.console import set_up_logging
from workbench.doctor import cpu_name
from workbench.project import Config

NOTEBOOK, BARE, OURS, PRODUCTS = "notebook", "bare loop", "scripts/train.py", "matrix products"
STEP, MINIMAL = "our step, no Lightning", "minimal Lightning"
LOADER, STREAMED = "bare DataLoader loop", "scripts/train.py, streamed"
PIPELINES = {
    NOTEBOOK: pipelines.notebook,
    BARE: pipelines.bare_loop,
    STEP: pipelines.our_step,
    MINIMAL: lightning_loops.minimal,
    OURS: lightning_loops.training,
    PRODUCTS: pipelines.products,
    LOADER: streamed.bare_loader,
    STREAMED: streamed.streamed,
}
WIDTH = 130
TableName = Literal[
    "epoch", "batch_sizes", "precisions", "scale", "stream", "sweeps", "commands", "many_jobs"
]


class Entry(NamedTuple):
    """A setting in words, its overrides of the config of `scripts/train.py`, and its pipelines."""

    setting: str
    overrides: tuple[str, ...]
    pipelines: tuple[str, ...] = (OURS,)


class Contestant(NamedTuple):
    """A pipeline in a setting."""

    setting: str
    pipeline: str


def benchmark(
    tables: Sequence[TableName],
    *,
    overrides: Sequence[str],
    rounds: int,
    jobs: int,
    output: Path,
    stream_images: int,
    stream_side: int,
) -> None:
    """Measure and show tables, and write them to a JSON file.

    Args:
        tables: the names of the tables.
        overrides: overrides of the config of `scripts/train.py`.
        rounds: the number of measurements; `many_jobs` is measured once.
        jobs: the number of jobs of the largest sweep in `many_jobs`.
        output: the file.
        stream_images: the number of image files made in a temporary folder for `stream`.
        stream_side: height and width of these images.
    """
    set_up_logging(first_process=False)
    trust_this_package()
    console = Console(highlight=False, width=WIDTH)
    result: dict[str, Any] = {"machine": _machine(), "overrides": list(overrides), "rounds": rounds}
    console.print(result["machine"])
    output.parent.mkdir(parents=True, exist_ok=True)
    for name in tables:
        if name == "many_jobs":
            many = measure_sweeps(overrides, jobs)
            result[name] = plain(many)
            console.print(_table_of_sweeps(name, many))
            for label, milliseconds in costs_per_job(many).items():
                console.print(f"  {label:<40} {milliseconds:8.1f} ms of CPU per job")
        elif name in ("sweeps", "commands"):
            with TemporaryDirectory() as folder:
                commands = _sweeps if name == "sweeps" else _commands
                costs = time_commands(commands(overrides, folder), rounds)
            result[name] = {key: [c._asdict() for c in turns] for key, turns in costs.items()}
            console.print(_table_of_commands(name, costs))
        else:
            with TemporaryDirectory() as folder:
                if name == "stream":
                    streamed.make_images(Path(folder), stream_images, stream_side)
                entries = list(_entries(name, folder, stream_side))
                rows = _race(entries, overrides, rounds)
            result[name] = [
                {**key._asdict(), "epochs": [asdict(epoch) for epoch in row.epochs]}
                for key, row in rows.items()
            ]
            console.print(_table(name, rows))
            console.print(*_parts(rows), sep="\n")
        output.write_text(json.dumps(result, indent=2) + "\n")
    console.print(f"written to {output}")


def _entries(table: TableName, folder: str = "", side: int = 0) -> Iterator[Entry]:
    """The rows of a table, except for the two tables of commands."""
    if table == "epoch":
        yield Entry("", (), (NOTEBOOK, BARE, STEP, MINIMAL, OURS, PRODUCTS))
    elif table == "batch_sizes":
        for size in (32, 128, 512, 1024, 4096):
            yield Entry(f"batch {size:,}", (f"data.batch_size={size}",), (BARE, OURS, PRODUCTS))
    elif table == "precisions":
        for setting in (
            "matmul_precision=highest",
            "matmul_precision=medium",
            "trainer.precision=bf16-mixed",
        ):
            yield Entry(setting, (setting,), (OURS, PRODUCTS))
        yield Entry("compile=true", ("compile=true",))  # compiles during the warm-up
    elif table == "stream":
        data = (
            "data=image_folder",
            f"data.path={folder}",
            f"data.image_shape=[3,{side},{side}]",
            "data.stream=true",
            "data.eval_batch_size=128",
            "data.val_size=0",
        )
        yield Entry(f"3 × {side} × {side}", data, (LOADER, STREAMED))
    elif table == "scale":
        steps = "+trainer.limit_train_batches=400"  # the same for every number of images
        repeated = f"data._target_={RepeatedMNIST.__module__}.{RepeatedMNIST.__qualname__}"
        for times in (1, 10, 100):
            yield Entry(f"{times} × the images", (repeated, f"+data.times={times}", steps))
        for size in (2, 16, 64):
            yield Entry(f"latent_dim {size}", (f"model.latent_dim={size}", steps))
        for size in (100, 300, 1000):
            sizes = f"{{encoder_sizes:[{size},{size}],decoder_sizes:[{size}]}}"
            yield Entry(f"hidden sizes {size:,}", (f"model.network={sizes}", steps))


def _race(entries: Sequence[Entry], overrides: Sequence[str], rounds: int) -> dict[Contestant, Row]:
    contestants = {}
    for entry in entries:
        config = _config(*overrides, *entry.overrides)
        for name in entry.pipelines:
            key = Contestant(entry.setting, name)
            contestants[key] = partial(PIPELINES[name], config=config)
    return race(contestants, rounds)


def _config(*overrides: str) -> Config:
    composed = compose("train", ["name=benchmark", *overrides])  # Hydra was set up by the script
    config: Any = OmegaConf.to_container(composed, resolve=True)
    return config


def _table(title: str, rows: Mapping[Contestant, Row]) -> Table:
    """A table of medians, with the smallest value in brackets; for ratios the range."""
    table = Table(title=title, title_justify="left")
    table.add_column("", no_wrap=True)
    bases = {
        f"to {names[0]}": names
        for names in ((BARE, LOADER), (MINIMAL,), (PRODUCTS,))
        if any(key.pipeline in names for key in rows)
    }
    for column in ("s/epoch", "s of CPU", "images/s", *bases, "MiB"):
        table.add_column(column, justify="right")
    for key, row in rows.items():
        ratios = []
        for names in bases.values():
            base = (rows.get(Contestant(key.setting, name)) for name in names)
            ratios.append(_ratio(row, next(filter(None, base), None)))
        table.add_row(
            f"{key.pipeline}  {key.setting}",
            *("{1:.2f} ({0:.2f})".format(*spread) for spread in (row.seconds, row.cpu)),
            f"{row.images_per_second.median:,.0f}",
            *ratios,
            f"{row.memory:,.0f}",
        )
    return table


def _ratio(row: Row, base: Row | None) -> str:
    """The ratio of wall times, turn by turn, and below it the ratio of the least CPU times."""
    if base is None:
        return ""
    wall = "{1:.2f} ({0:.2f}–{2:.2f})".format(*row.ratios(base))
    return f"{wall}\nCPU {row.cpu.least / base.cpu.least:.3f}"


def _parts(rows: Mapping[Contestant, Row]) -> Iterator[str]:
    """A line for the cost of each callback, in the default setting."""
    if (row := rows.get(Contestant("", OURS))) is None:
        return
    for name, seconds in row.parts.items():
        yield f"  {name:<20} {1000 * seconds:8.1f} ms/epoch  {seconds / row.seconds.median:6.2%}"


def _sweeps(overrides: Sequence[str], folder: str) -> dict[str, list[str]]:
    """Sweeps of runs with one epoch of 4,000 digits each, one after the other in one process."""
    short = ("data.source=sample", "trainer.max_epochs=1")
    sweep = ["scripts/train.py", "-m", *overrides, *short, f"log_dir={folder}/{{turn}}"]
    return {
        f"runs in a sweep: {count}": [*sweep, f"seed=range({count})", f"sweep={count}"]
        for count in (1, 4, 16)
    }


def _commands(overrides: Sequence[str], folder: str) -> dict[str, list[str]]:
    """Single commands, after a run has been trained for the last of them to evaluate."""
    ends = f"+callbacks.end._target_={EndAtFirstStep.__module__}.{EndAtFirstStep.__qualname__}"
    train, place = ["scripts/train.py", *overrides], f"log_dir={folder}"
    time_commands({"": [*train, place, "trainer.max_epochs=1"]}, 0)
    return {
        "scripts/train.py --help": ["scripts/train.py", "--help"],
        "scripts/train.py --cfg job": ["scripts/train.py", "--cfg", "job"],
        "import torch": ["-c", "import torch"],
        "scripts/train.py to its first step": [*train, f"{place}/begun", ends],
        "scripts/evaluate.py": ["scripts/evaluate.py", "run=latest", place],
    }


def _table_of_commands(title: str, costs: Mapping[str, Sequence[Cost]]) -> Table:
    table = Table("", title=title, title_justify="left")
    for column in ("s", "lowest", "highest", "MiB"):
        table.add_column(column, justify="right")
    for name, turns in costs.items():
        seconds = [cost.seconds for cost in turns]
        cells = [f"{value:.2f}" for value in (median(seconds), min(seconds), max(seconds))]
        table.add_row(name, *cells, f"{max(cost.memory for cost in turns):,.0f}")
    return table


def _table_of_sweeps(title: str, costs: Mapping[str, Cost]) -> Table:
    table = Table("", title=title, title_justify="left")
    for column in ("s", "s of CPU", "MiB", "MiB written"):
        table.add_column(column, justify="right")
    for name, cost in costs.items():
        size = "" if cost.size is None else f"{cost.size:.2f}"
        table.add_row(name, f"{cost.seconds:.1f}", f"{cost.cpu:.1f}", f"{cost.memory:,.0f}", size)
    return table


def _machine() -> str:
    """The machine in words: processor, threads, torch, and GPU."""
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU: not measured"
    threads = f"{os.cpu_count()} cores, {torch.get_num_threads()} threads"
    return f"{cpu_name()}, {threads}; torch {torch.__version__}; {gpu}"
