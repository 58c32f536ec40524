"""Train one model, or many with --multirun. `--help` lists the settings."""

from typing import Any

from musigma.project import PROJECT
from workbench.script import script


@script("train", PROJECT)
def main(cfg: Any) -> float | None:
    """Read the config of a job and run it."""
    from workbench.jobs.launch import read_launch

    launch = read_launch(cfg)
    if launch.in_sweep:
        from workbench.sweeps.job import run_job

        return run_job(launch)
    from workbench.training.run import run

    return run(launch)


if __name__ == "__main__":
    main()
