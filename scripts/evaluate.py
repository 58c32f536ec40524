"""Measure a trained run on test images. `--help` shows what can be chosen."""

import sys
from pathlib import Path

import hydra
from omegaconf import DictConfig

from musigma.config.command_line import check_jobs
from musigma.config.launch import quote_path
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
    sys.argv[1:] = map(quote_path, sys.argv[1:])
    with plain_errors():
        check_jobs("evaluate", sys.argv[1:])
    main()
