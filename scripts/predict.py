"""Encode images, decode codes or draw samples with a trained model. `--help` shows how."""

import sys
from pathlib import Path

import hydra
from omegaconf import DictConfig

from musigma.config.command_line import read_command_line
from musigma.config.resolvers import register_resolvers
from musigma.errors import plain_errors

register_resolvers()


@hydra.main(version_base="1.3", config_path="../configs", config_name="predict")
def main(cfg: DictConfig) -> None:
    """Read the command line and predict."""
    with plain_errors():
        from musigma.predicting import predict

        settings = {key: cfg[key] for key in ("checkpoint", "input", "count", "seed", "output")}
        written = predict(cfg.task, cfg.run, Path(cfg.log_dir) / "runs", **settings)
        print(f"written to   {written}")


if __name__ == "__main__":
    with plain_errors():
        sys.argv[1:], _ = read_command_line("predict", sys.argv[1:])
    main()
