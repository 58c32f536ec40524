"""Names and identities of a sweep's jobs."""

import pytest

from script_server import python
from small import SMALL
from workbench.config.identity import identity
from workbench.config.naming import name_of_job, short_names
from workbench.runs.folder import RunFolder


def test_job_names_use_short_setting_names_if_they_are_unambiguous():
    varied = ["model", "model.objective.beta", "seed"]
    overrides = ["model=vae", "model.objective.beta=4", "x=1", "seed=2"]
    assert name_of_job({"varied": varied}, overrides) == "model=vae,beta=4,seed=2"
    assert short_names(["model.network.activation", "data.activation"]) == [
        "model.network.activation",
        "data.activation",
    ]
    assert name_of_job({"varied": None}, ["x=1"]) == "default"


def test_a_jobs_identity_depends_only_on_settings_that_change_metrics(compose_launch):
    def of(*overrides):
        return identity(compose_launch("model=vae", *overrides).config)

    same = ("logger=csv", "log_dir=elsewhere", "callbacks.progress=null", "data.root=/data")
    assert {of(override) for override in same} == {of()}
    other = ("seed=1", "optimizer.lr=0.1", "model.latent_dim=3", "trainer.max_epochs=3")
    assert len({of(), *(of(override) for override in other)}) == 5


@pytest.mark.slow
def test_a_job_whose_data_fell_back_to_the_sample_counts_as_done(tmp_path):
    nowhere = ("data.source=files", f"data.root={tmp_path}/none", "data.fallback=sample")
    options = (*SMALL, *nowhere, "data.mirrors=[http://127.0.0.1:9/]", f"log_dir={tmp_path}")
    output = [python("scripts/train.py", "-m", "seed=0", *options).stdout for _ in range(2)]
    assert ["is done already" in words for words in output] == [False, True]
    (path,) = tmp_path.glob("sweeps/*/*/config.yaml")
    assert RunFolder(path.parent).read_config()["data"]["source"] == "sample"
