"""Measure a trained run on test images. `--help` shows what can be chosen."""

import sys
from pathlib import Path

import hydra
from omegaconf import DictConfig

from musigma.config.command_line import read_command_line
from musigma.config.resolvers import register_resolvers
from musigma.errors import plain_errors

register_resolvers()


@hydra.main(version_base="1.3", config_path="../configs", config_name="evaluate")
@plain_errors()
def main(cfg: DictConfig) -> None:
    """Read the command line and measure."""
    from musigma.measuring import measure

    settings = {key: cfg[key] for key in ("checkpoint", "images", "samples", "seed")}
    measure(cfg.run, Path(cfg.log_dir) / "runs", **settings)


if __name__ == "__main__":
    with plain_errors():
        sys.argv[1:], _ = read_command_line("evaluate", sys.argv[1:])
    main()
