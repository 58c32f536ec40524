"""Jobs derived from a composed one equal those that Hydra would compose."""

import pytest

from workbench.errors import ConfigError
from workbench.jobs.command_line import read_command_line
from workbench.jobs.derived import JobTemplate

pytestmark = pytest.mark.slow


@pytest.fixture
def derived(monkeypatch):
    """A list to which every derived job is added."""
    jobs = []
    derive = JobTemplate.derive

    def noting(template, overrides):
        job = derive(template, overrides)
        jobs.extend([job] if job else [])
        return job

    monkeypatch.setattr(JobTemplate, "derive", noting)
    return jobs


def jobs_of(*arguments):
    try:
        command = read_command_line("train", ["-m", *arguments])
    except ConfigError as error:
        return str(error)
    return command.jobs, command.arguments


@pytest.mark.parametrize(
    ("arguments", "count"),
    [
        (["seed=range(0,4)"], 3),
        (["seed=1,2", "optimizer.lr=0.1,0.2,0.3", "data.noise=0.5"], 5),
        (["data.noise=0.1,0.2", "++trainer.gradient_clip_val=${data.noise}"], 1),
        (["data.noise=0.1,0.2", "name=a", "++model.bias=true,false"], 3),
        (["seed=1,2", "++data.count=${seed}"], 1),
        (["seed=1,2", "++data.count=${seed}", "data.noise=${data.count}"], 1),
        (["name=a,'b c','d=e'"], 2),
        (["optimizer._target_=torch.optim.Adam", "optimizer.betas=[0.9,0.9],[0.8,0.9]"], 1),
        (["seed=1,2", "name=run_${seed}"], 0),
        (["seed=1,2", "hydra.sweep.subdir=s${seed}"], 0),
        (["seed=1,2", "hydra.sweep.subdir=${hydra.job.num}"], 0),
        (["seed=1,2", "name=${hydra:job.num}"], 0),
        (["seed=1,2", "name=${hydra:job.override_dirname}"], 0),
        (["log_dir=/tmp/a,/tmp/b"], 0),
        (["data.noise=0.1,1"], 0),  # a float and an integer
        (["data.noise=0.1,null"], 0),
        (["name=a,${data.noise}"], 0),
        (["data={noise:0.1},{noise:0.2}"], 0),
        (["data=${optimizer}", "optimizer.lr=0.1,0.2"], 0),
        (["seed=0,-1"], None),
        (["optimizer.lr=0.1,0.2,-1.0", "trainer.max_epochs=1,x"], None),
        (["modle=1,2", "seed=0,1"], None),
    ],
)
def test_derived_jobs_equal_composed_jobs(arguments, count, derived, monkeypatch):
    found = jobs_of(*arguments)
    if count is not None:
        assert len(derived) == count
        assert isinstance(found, str) or len(found[0]) >= 2
    monkeypatch.setattr(JobTemplate, "derive", lambda *_: None)
    assert found == jobs_of(*arguments)
