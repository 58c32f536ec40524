"""Train one model, or many with --multirun. `--help` shows what can be chosen."""

import sys

import hydra
from omegaconf import DictConfig

from musigma.config.command_line import check_jobs
from musigma.config.launch import quote_path, read_launch
from musigma.config.resolvers import register_resolvers
from musigma.errors import plain_errors

register_resolvers()


@hydra.main(version_base="1.3", config_path="../configs", config_name="train")
@plain_errors()
def main(cfg: DictConfig) -> float | None:
    """Read the command line and run it."""
    from musigma.training import run

    return run(read_launch(cfg))


if __name__ == "__main__":
    sys.argv[1:] = map(quote_path, sys.argv[1:])
    with plain_errors():
        check_jobs("train", sys.argv[1:])
    main()
