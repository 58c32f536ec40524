"""Write one page that says which run of a sweep was best. `--help` shows what can be chosen."""

import sys
from pathlib import Path

import hydra
from omegaconf import DictConfig

from musigma.config.command_line import read_command_line
from musigma.config.resolvers import register_resolvers
from musigma.errors import plain_errors

register_resolvers()


@hydra.main(version_base="1.3", config_path="../configs", config_name="report")
def main(cfg: DictConfig) -> None:
    """Read the command line and report."""
    with plain_errors():
        from musigma.sweeps.report import report

        sweeps = Path(cfg.log_dir) / "sweeps"
        report(cfg.sweep, sweeps, metric=cfg.metric, output=cfg.output)


if __name__ == "__main__":
    with plain_errors():
        sys.argv[1:], _ = read_command_line("report", sys.argv[1:])
    main()
