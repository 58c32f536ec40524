"""Processes that a launcher has started agree before they train."""

import os
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from types import SimpleNamespace

import lightning as L
import pytest
from lightning.fabric.utilities.rank_zero import rank_zero_only
from lightning.pytorch.loggers import CSVLogger
from torch.distributed import HashStore

from workbench import processes
from workbench.config.trainer_rules import check_processes
from workbench.errors import ConfigError, RunError
from workbench.processes import (
    Processes,
    check_same_settings,
    check_shared,
    launcher,
    single_process,
)
from workbench.training import preparing

SLURM = {
    "SLURM_NTASKS": "2",
    "SLURM_NTASKS_PER_NODE": "1",
    "SLURM_NNODES": "2",
    "SLURM_PROCID": "1",
    "SLURM_LOCALID": "0",
    "SLURM_NODEID": "1",
}
TORCHRUN = {
    "TORCHELASTIC_RUN_ID": "none",
    "WORLD_SIZE": "2",
    "RANK": "1",
    "LOCAL_RANK": "0",
    "GROUP_RANK": "1",
    "LOCAL_WORLD_SIZE": "1",
}


@pytest.fixture(params=[SLURM, TORCHRUN], ids=["Slurm", "torchrun"])
def launched(request, monkeypatch):
    """As the second of two nodes, with a process each."""
    monkeypatch.setattr(rank_zero_only, "rank", 0)  # a trainer sets it, for all that follows
    for name in (*SLURM, *TORCHRUN, "SLURM_JOB_NAME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in request.param.items():
        monkeypatch.setenv(name, value)
    return Processes(1, 2, HashStore(), launcher())


def _trainer(**settings):
    return L.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, **settings)


def _together(work, size=3):
    """What each of several processes returns or raises; here they are threads."""
    store = HashStore()

    def one(rank):
        try:
            return work(Processes(rank, size, store))
        except BaseException as error:
            return error

    with ThreadPoolExecutor(size) as pool:
        return list(pool.map(one, range(size)))


def test_every_process_learns_what_each_one_says():
    def work(processes):
        first = processes.gather({"rank": processes.rank})
        return first, processes.gather(processes.rank**2)

    expected = ([{"rank": 0}, {"rank": 1}, {"rank": 2}], [0, 1, 4])
    assert _together(work) == [expected] * 3


def test_one_alone_hears_itself():
    assert Processes().gather("a") == ["a"]
    with pytest.raises(ConfigError), Processes().failing_together():
        raise ConfigError("wrong")


def test_what_fails_in_some_ends_all_and_the_first_of_them_says_why():
    def work(processes):
        with processes.failing_together():
            if processes.rank > 0:
                raise ConfigError(f"rank {processes.rank} is wrong")

    first, second, third = _together(work)
    assert str(second) == "rank 1 is wrong"
    assert isinstance(second, ConfigError)
    for other in (first, third):
        assert isinstance(other, SystemExit)
        assert other.code == 2


def test_one_that_is_stopped_stops_the_others():
    def work(processes):
        with processes.failing_together():
            if processes.rank == 2:
                raise KeyboardInterrupt

    assert [type(outcome) for outcome in _together(work)] == [KeyboardInterrupt] * 3


def test_one_that_is_stopped_while_it_waits_stops_the_others(monkeypatch):
    original = Processes._receive

    def receive(self, rank):
        if self.rank == 1:
            raise KeyboardInterrupt
        return original(self, rank)

    monkeypatch.setattr(Processes, "_receive", receive)
    ends = _together(lambda processes: (processes.gather("ready"), processes.gather("steady")))
    assert [type(end) for end in ends] == [KeyboardInterrupt] * 3


def test_one_that_is_alone_logs_whatever_was_started_beside_it(launched, tmp_path):
    rank_zero_only.rank = 1  # as Lightning finds it in Slurm's variables
    single_process()
    logger = CSVLogger(tmp_path, name="", version="")
    logger.log_metrics({"loss": 1.0})
    logger.save()
    assert (tmp_path / "metrics.csv").is_file()


def test_one_that_does_not_answer_is_named(monkeypatch):
    monkeypatch.setattr(processes, "ANSWER_TIMEOUT", timedelta(0))
    with pytest.raises(RunError, match="process 1 of 2 has not answered"):
        Processes(0, 2, HashStore()).gather(None)


def test_other_settings_on_a_node_are_an_error_that_names_them():
    check_same_settings([{"seed": 0, "lr": 0.1}] * 2)
    with pytest.raises(ConfigError, match="Process 1 of 2") as error:
        check_same_settings([{"seed": 0, "lr": 0.1}, {"seed": 0, "lr": 0.2, "beta": 1}])
    assert str(error.value).splitlines()[1:] == [
        "  lr: 0.1 in the first, 0.2",
        "  beta: None in the first, 1",
    ]


class _Decided:
    """Data that are streamed if this node has little memory."""

    source = "files"

    def __init__(self, config):
        self.stream, self.has_little = config["data"]["stream"], config["little"]

    def prepare_data(self):
        self.stream = self.has_little if self.stream == "auto" else self.stream


@pytest.mark.parametrize("little", [(False, True, False), (True, False, False)])
def test_what_the_first_process_decides_of_the_data_is_so_in_all(little, monkeypatch, caplog):
    def facts(data):
        return {"stream": data.stream, "source": data.source}

    monkeypatch.setattr(preparing, "build_data", _Decided)
    monkeypatch.setattr(preparing, "the_project", lambda: SimpleNamespace(data_facts=facts))

    def work(processes, stream="auto"):
        config = {"seed": 0, "data": {"stream": stream}, "little": little[processes.rank]}
        return preparing.prepare_data(config, processes).stream, config["data"]["stream"]

    assert _together(work) == [(little[0], little[0])] * 3
    assert len(caplog.messages) == sum(here != little[0] for here in little)
    assert f"process 1: as the first decides, data.stream={little[0]}" in caplog.text
    # What is typed is nobody else's to decide: if it differs, it is refused afterwards.
    typed = _together(lambda processes: work(processes, stream=processes.rank == 1))
    assert [stream for stream, _ in typed] == [False, True, False]


def test_a_folder_that_a_node_does_not_see_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(processes, "SHARED_FOLDER_TIMEOUT", timedelta(0))
    (tmp_path / "checkpoints").mkdir()
    check_shared(tmp_path)
    with pytest.raises(RunError, match="file system that all nodes share"):
        check_shared(tmp_path / "elsewhere")


def test_a_launcher_is_known_by_its_variables(launched):
    assert (launched.launcher.global_rank(), launched.launcher.world_size()) == (1, 2)
    check_processes(_trainer(strategy="ddp", num_nodes=2, devices=1), launched)


@pytest.mark.parametrize(
    "settings",
    [
        {"devices": 1},
        {"strategy": "ddp", "devices": 1},
        {"strategy": "ddp", "devices": 2},
        {"strategy": "ddp", "num_nodes": 2, "devices": 2},
    ],
)
def test_a_trainer_of_other_processes_than_were_started_is_refused(settings, launched):
    with pytest.raises(ConfigError, match=r"trainer.num_nodes=\d trainer.devices=\d"):
        check_processes(_trainer(**settings), launched)


def test_a_job_of_a_sweep_is_not_spread_over_the_processes_of_a_launcher(launched):
    with pytest.raises(ConfigError, match="without -m"):
        check_processes(_trainer(strategy="ddp", num_nodes=2, devices=1), Processes())
    check_processes(_trainer(devices=1), Processes())  # each process takes jobs of its own


def test_one_task_of_slurm_is_alone(monkeypatch):
    for name, value in {**SLURM, "SLURM_NTASKS": "1"}.items():
        monkeypatch.setenv(name, value)
    assert launcher() is None
    assert "MASTER_ADDR" not in os.environ
