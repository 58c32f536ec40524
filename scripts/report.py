"""Write a page that compares the runs of a sweep. `--help` lists the settings."""

from pathlib import Path
from typing import Any

from musigma.project import PROJECT
from workbench.script import script


@script("report", PROJECT)
def main(cfg: Any) -> None:
    """Read the config and report."""
    from workbench.sweeps.report import report

    sweeps = Path(cfg.log_dir) / "sweeps"
    report(cfg.sweep, sweeps, metric=cfg.metric, output=cfg.output, every=cfg.every)


if __name__ == "__main__":
    main()
