"""Measure the speed of training. `--help` lists the settings."""

from pathlib import Path
from typing import TYPE_CHECKING

from musigma.project import PROJECT
from workbench.script import script

if TYPE_CHECKING:
    from omegaconf import DictConfig


@script("benchmark", PROJECT)
def main(cfg: "DictConfig") -> None:
    """Read the config and measure."""
    from hydra.core.hydra_config import HydraConfig

    from benchmarking.tables import benchmark

    own = ("tables=", "rounds=", "jobs=", "output=", "stream_images=", "stream_side=")
    overrides = [o for o in HydraConfig.get().overrides.task if not o.startswith(own)]
    benchmark(
        list(cfg.tables),
        overrides=overrides,
        rounds=cfg.rounds,
        jobs=cfg.jobs,
        output=Path(cfg.output),
        stream_images=cfg.stream_images,
        stream_side=cfg.stream_side,
    )


if __name__ == "__main__":
    main()
