"""Measure and plot trained runs. `--help` lists the settings."""

from pathlib import Path
from typing import Any

from musigma.project import PROJECT
from workbench.script import script


@script("evaluate", PROJECT)
def main(cfg: Any) -> None:
    """Read the config and evaluate."""
    from omegaconf import ListConfig

    from musigma.commands.evaluate import evaluate

    runs = list(cfg.run) if isinstance(cfg.run, ListConfig) else [cfg.run]
    names = ("checkpoint", "images", "samples", "seed", "output", "data", "device")
    evaluate(runs, Path(cfg.log_dir) / "runs", **{name: cfg[name] for name in names})


if __name__ == "__main__":
    main()
