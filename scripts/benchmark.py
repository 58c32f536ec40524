"""Measure how fast training is. `--help` shows what can be chosen."""

import sys
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from musigma.config.command_line import read_command_line
from musigma.config.resolvers import register_resolvers
from musigma.errors import plain_errors

register_resolvers()


@hydra.main(version_base="1.3", config_path="../configs", config_name="benchmark")
def main(cfg: DictConfig) -> None:
    """Read the command line and measure."""
    with plain_errors():
        from musigma.benchmarking.benchmark import benchmark

        own = ("tables=", "rounds=", "output=")
        overrides = [o for o in HydraConfig.get().overrides.task if not o.startswith(own)]
        benchmark(list(cfg.tables), overrides=overrides, rounds=cfg.rounds, output=Path(cfg.output))


if __name__ == "__main__":
    with plain_errors():
        sys.argv[1:], _ = read_command_line("benchmark", sys.argv[1:])
    main()
