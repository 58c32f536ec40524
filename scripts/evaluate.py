"""Measure and draw trained runs. `--help` shows what can be chosen."""

import sys
from pathlib import Path

import hydra
from omegaconf import DictConfig, ListConfig

from musigma.config.command_line import read_command_line
from musigma.config.resolvers import register_resolvers
from musigma.errors import plain_errors

register_resolvers()


@hydra.main(version_base="1.3", config_path="../configs", config_name="evaluate")
def main(cfg: DictConfig) -> None:
    """Read the command line and evaluate."""
    with plain_errors():
        from musigma.evaluating import evaluate

        runs = list(cfg.run) if isinstance(cfg.run, ListConfig) else [cfg.run]
        names = ("checkpoint", "images", "samples", "seed", "output")
        evaluate(runs, Path(cfg.log_dir) / "runs", **{name: cfg[name] for name in names})


if __name__ == "__main__":
    with plain_errors():
        sys.argv[1:], _ = read_command_line("evaluate", sys.argv[1:])
    main()
