"""Train the toy."""

from toy import PROJECT
from workbench.script import script


@script("train", PROJECT)
def main(cfg):
    """Read one job and run it."""
    from workbench.jobs.launch import read_launch
    from workbench.sweeps.job import run_job
    from workbench.training.run import run

    launch = read_launch(cfg)
    return run_job(launch) if launch.in_sweep else run(launch)


if __name__ == "__main__":
    main()
