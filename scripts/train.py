"""Train one model, or many with --multirun. `--help` shows what can be chosen."""

import sys

import hydra
from omegaconf import DictConfig

from musigma.config.command_line import read_command_line
from musigma.config.launch import read_launch
from musigma.config.resolvers import register_resolvers
from musigma.errors import plain_errors

register_resolvers()


@hydra.main(version_base="1.3", config_path="../configs", config_name="train")
def main(cfg: DictConfig) -> float | None:
    """Read one job and run it."""
    with plain_errors():
        launch = read_launch(cfg)
        if launch.in_sweep:
            from musigma.sweeps.job import run_job

            return run_job(launch)
        from musigma.training import run

        return run(launch)


if __name__ == "__main__":
    with plain_errors():
        sys.argv[1:], jobs = read_command_line("train", sys.argv[1:])
    if jobs:
        from musigma.sweeps.plan import show_failures, show_plan

        show_plan(jobs)
    try:
        main()
    finally:
        failed = show_failures(jobs) if jobs else 0
    if failed:
        sys.exit(1)
