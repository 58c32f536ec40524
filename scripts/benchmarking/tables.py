"""The tables of a benchmark: what is measured, and how it is shown."""

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
from benchmarking.commands import EndAtFirstStep, Took, time_commands, trust_this_package
from benchmarking.race import Row, race
from benchmarking.repeated import RepeatedMNIST
from benchmarking.sweeps import costs_of_a_job, measure_sweeps, plain
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
    """A setting in words, the overrides of `scripts/train.py`'s config, and who takes part."""

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
    """Measure, show, and write to a JSON file.

    Args:
        tables: which.
        overrides: of the config that `scripts/train.py` composes.
        rounds: how often everything is measured, but for `many_jobs`, which is measured once.
        jobs: of the largest sweep in `many_jobs`.
        output: the file.
        stream_images: image files that are made, in a temporary folder, to be streamed.
        stream_side: their height and width.
    """
    set_up_logging(first_process=False)
    trust_this_package()
    console = Console(highlight=False, width=WIDTH)
    found: dict[str, Any] = {"machine": _machine(), "overrides": list(overrides), "rounds": rounds}
    console.print(found["machine"])
    output.parent.mkdir(parents=True, exist_ok=True)
    for name in tables:
        if name == "many_jobs":
            many = measure_sweeps(overrides, jobs)
            found[name] = plain(many)
            console.print(_table_of_many(name, many))
            for what, cost in costs_of_a_job(many).items():
                console.print(f"  {what:<40} {cost:8.1f} ms of CPU for each job more")
        elif name in ("sweeps", "commands"):
            with TemporaryDirectory() as folder:
                commands = _sweeps if name == "sweeps" else _commands
                took = time_commands(commands(overrides, folder), rounds)
            found[name] = {key: [one._asdict() for one in turns] for key, turns in took.items()}
            console.print(_table_of_commands(name, took))
        else:
            with TemporaryDirectory() as folder:
                if name == "stream":
                    streamed.make_images(Path(folder), stream_images, stream_side)
                entries = list(_entries(name, folder, stream_side))
                rows = _race(entries, overrides, rounds)
            found[name] = [
                {**key._asdict(), "epochs": [asdict(epoch) for epoch in row.epochs]}
                for key, row in rows.items()
            ]
            console.print(_table(name, rows))
            console.print(*_parts(rows), sep="\n")
        output.write_text(json.dumps(found, indent=2) + "\n")
    console.print(f"written to {output}")


def _entries(table: TableName, folder: str = "", side: int = 0) -> Iterator[Entry]:
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
        yield Entry("compile=true", ("compile=true",))  # compiles before its first turn ends
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
    composed = compose("train", ["name=benchmark", *overrides])  # by the script's own Hydra
    config: Any = OmegaConf.to_container(composed, resolve=True)
    return config


def _table(title: str, rows: Mapping[Contestant, Row]) -> Table:
    """Medians, and in brackets the least; of ratios turn by turn also the most."""
    table = Table(title=title, title_justify="left")
    table.add_column("", no_wrap=True)
    bases = {
        f"to {others[0]}": others
        for others in ((BARE, LOADER), (MINIMAL,), (PRODUCTS,))
        if any(key.pipeline in others for key in rows)
    }
    for column in ("s/epoch", "s of CPU", "images/s", *bases, "MiB"):
        table.add_column(column, justify="right")
    for key, row in rows.items():
        ratios = []
        for others in bases.values():
            known = [rows.get(Contestant(key.setting, other)) for other in others]
            ratios.append(_ratio(row, next(filter(None, known), None)))
        table.add_row(
            f"{key.pipeline}  {key.setting}",
            *("{1:.2f} ({0:.2f})".format(*spread) for spread in (row.seconds, row.cpu)),
            f"{row.images_per_second.median:,.0f}",
            *ratios,
            f"{row.memory:,.0f}",
        )
    return table


def _ratio(row: Row, base: Row | None) -> str:
    """By the clock, turn by turn; and below it by the least CPU time."""
    if base is None:
        return ""
    clock = "{1:.2f} ({0:.2f}–{2:.2f})".format(*row.ratios(base))
    return f"{clock}\nCPU {row.cpu.least / base.cpu.least:.3f}"


def _parts(rows: Mapping[Contestant, Row]) -> Iterator[str]:
    """Of the default setting, what each callback costs."""
    if (row := rows.get(Contestant("", OURS))) is None:
        return
    for name, seconds in row.parts.items():
        yield f"  {name:<20} {1000 * seconds:8.1f} ms/epoch  {seconds / row.seconds.median:6.2%}"


def _sweeps(overrides: Sequence[str], folder: str) -> dict[str, list[str]]:
    """Sweeps of runs of one epoch of 4,000 digits, one after the other in one process."""
    short = ("data.source=sample", "trainer.max_epochs=1")
    sweep = ["scripts/train.py", "-m", *overrides, *short, f"log_dir={folder}/{{turn}}"]
    return {
        f"runs in a sweep: {count}": [*sweep, f"seed=range({count})", f"sweep={count}"]
        for count in (1, 4, 16)
    }


def _commands(overrides: Sequence[str], folder: str) -> dict[str, list[str]]:
    """Single commands; a run for the last of them to evaluate is trained first."""
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


def _table_of_commands(title: str, took: Mapping[str, Sequence[Took]]) -> Table:
    table = Table("", title=title, title_justify="left")
    for column in ("s", "lowest", "highest", "MiB"):
        table.add_column(column, justify="right")
    for name, all_ in took.items():
        seconds = [one.seconds for one in all_]
        cells = [f"{value:.2f}" for value in (median(seconds), min(seconds), max(seconds))]
        table.add_row(name, *cells, f"{max(one.memory for one in all_):,.0f}")
    return table


def _table_of_many(title: str, took: Mapping[str, Took]) -> Table:
    table = Table("", title=title, title_justify="left")
    for column in ("s", "s of CPU", "MiB", "MiB written"):
        table.add_column(column, justify="right")
    for name, one in took.items():
        size = "" if one.size is None else f"{one.size:.2f}"
        table.add_row(name, f"{one.seconds:.1f}", f"{one.cpu:.1f}", f"{one.memory:,.0f}", size)
    return table


def _machine() -> str:
    """In words: processor, threads, torch, and the GPU where there is one."""
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU: not measured"
    threads = f"{os.cpu_count()} cores, {torch.get_num_threads()} threads"
    return f"{cpu_name()}, {threads}; torch {torch.__version__}; {gpu}"
