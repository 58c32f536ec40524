"""One run, from its config to its results."""

import logging
import shlex
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import lightning as L

from musigma.callbacks import BestAndLast
from musigma.config.build import Config, build_data, build_module, build_trainer
from musigma.config.check import check_config
from musigma.config.launch import Launch
from musigma.console import set_up_logging, show_results, show_summary
from musigma.data import ImageDataModule
from musigma.distributed import folder_to_join, others_join
from musigma.errors import ConfigError, UserError
from musigma.module import AutoencoderModule
from musigma.runs.environment import describe_environment
from musigma.runs.folder import RunFolder
from musigma.runs.load import load_checkpoint
from musigma.runs.resume import amended, find_run

log = logging.getLogger(__name__)


def train(
    module: AutoencoderModule,
    data: ImageDataModule,
    trainer: L.Trainer,
    *,
    resume_from: Path | None = None,
    test: bool = True,
) -> dict[str, float]:
    """Fit, then measure the best checkpoint.

    Returns figures by name: `train/...` of the last epoch, `val/...` and `test/...` of the best
    checkpoint.

    Raises:
        KeyboardInterrupt: if the user stopped it.
    """
    try:
        trainer.fit(module, datamodule=data, ckpt_path=resume_from, weights_only=True)
    except SystemExit:  # what Lightning makes of Ctrl-C
        if trainer.interrupted:
            raise KeyboardInterrupt from None
        raise
    path = BestAndLast.path(trainer, "best")
    best = path if path.exists() else None
    figures = {"train": module.figures("train")}
    figures["val"] = load_checkpoint(best)["validation"] if best else module.figures("val")
    if test:
        log.info("testing %s", "the best checkpoint" if best else "the weights as they are")
        trainer.test(module, datamodule=data, ckpt_path=best, weights_only=True, verbose=False)
        figures["test"] = module.figures("test")
    return {f"{stage}/{name}": value for stage in figures for name, value in figures[stage].items()}


def run(launch: Launch) -> float | None:
    """Do what a command line asked for and return its `optimized_metric`.

    Raises:
        UserError: if something is wrong that the user can mend; nothing expensive has begun.
        SystemExit: with status 130, if the user stopped it.
    """
    set_up_logging(first_process=folder_to_join() is None)
    config, folder, data, module, trainer, resume_from = _prepare(launch)
    with others_join(folder.path, launch.overrides), _recorded(folder, trainer):
        if trainer.is_global_zero:
            folder.write_config(config, launch.overrides)
            folder.write_environment(describe_environment(str(trainer.strategy.root_device)))
            folder.write_metrics(status="running", data_source=data.source)
            show_summary(config, module, data, trainer, folder.path)
        metrics = train(module, data, trainer, resume_from=resume_from, test=config["test"])
        if trainer.is_global_zero:
            folder.write_metrics(status="completed", metrics=metrics)
            show_results(metrics, folder, module.model, data.source)
    return _value_of(config["optimized_metric"], metrics, module)


class _Prepared(NamedTuple):
    config: Config
    folder: RunFolder
    data: ImageDataModule
    module: AutoencoderModule
    trainer: L.Trainer
    resume_from: Path | None


def _prepare(launch: Launch) -> _Prepared:
    """Everything that can go wrong before the first step, cheapest first."""
    resume = launch.config["resume"]
    joined = folder_to_join()
    known: RunFolder | None = None
    config = launch.config
    if joined is not None:
        known = RunFolder.open(joined)
        config = known.read_config()
    elif resume is not None:
        known = find_run(resume, launch.parent)
        config = amended(known.read_config(), launch.overrides)

    check_config(config)
    _check_seed(config["seed"])
    L.seed_everything(config["seed"], verbose=False)
    data = build_data(config)
    data.prepare_data()
    if "source" in config["data"]:
        config["data"]["source"] = data.source
    module = build_module(config, data)
    folder = known or RunFolder.create(launch.parent, launch.name)
    try:
        trainer = build_trainer(config, folder.path)
    except UserError:
        if known is None:
            folder.discard()
        raise

    last = folder.checkpoint("last") if resume is not None else None
    if last is not None and not last.exists():
        log.warning("%s is not there: the run had saved nothing yet and begins anew", last)
        last = None
    return _Prepared(config, folder, data, module, trainer, last)


@contextmanager
def _recorded(folder: RunFolder, trainer: L.Trainer) -> Iterator[None]:
    """Keep `train.log`, and have `metrics.json` tell the truth however the run ends."""
    if not trainer.is_global_zero:
        yield
        return
    start = time.perf_counter()
    handler = logging.FileHandler(folder.path / "train.log")
    handler.setFormatter(logging.Formatter("%(asctime)s  %(message)s", "%Y-%m-%d %H:%M:%S"))
    logging.getLogger().addHandler(handler)
    try:
        yield
    except KeyboardInterrupt:
        folder.write_metrics(status="interrupted")
        log.warning(
            "Stopped. Go on with: python scripts/train.py resume=%s", shlex.quote(str(folder.path))
        )
        raise SystemExit(130) from None
    except BaseException as error:
        folder.write_metrics(status="failed", error=f"{type(error).__name__}: {error}")
        log.error("Failed: %s", error)
        raise
    finally:
        folder.write_metrics(seconds=round(time.perf_counter() - start, 2))
        logging.getLogger().removeHandler(handler)
        handler.close()


def _check_seed(seed: object) -> None:
    if not isinstance(seed, int) or isinstance(seed, bool) or not 0 <= seed < 2**32:
        raise ConfigError(f"seed must be a whole number from 0 to 2**32 - 1, got {seed!r}")


def _value_of(
    name: str | None, metrics: dict[str, float], module: AutoencoderModule
) -> float | None:
    if name is None:
        return metrics.get(f"val/{module.objective.monitor}")
    if name not in metrics:
        raise ConfigError(
            f"optimized_metric={name} is not among the figures of this run: {', '.join(metrics)}"
        )
    return metrics[name]
