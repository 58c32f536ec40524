"""The processes that a launcher has started agree before they train."""

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
from workbench.errors import ConfigError, RunError
from workbench.processes import (
    Processes,
    check_same_settings,
    launcher,
    single_process,
)
from workbench.training import data, new_folder
from workbench.training.machine import check_processes

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
    """The processes as seen by the second of two nodes, with one process each."""
    monkeypatch.setattr(rank_zero_only, "rank", 0)  # a trainer sets it for good
    for name in (*SLURM, *TORCHRUN, "SLURM_JOB_NAME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in request.param.items():
        monkeypatch.setenv(name, value)
    return Processes(1, 2, HashStore(), launcher())


def _trainer(**settings):
    return L.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, **settings)


def _in_each(work, size=3):
    """What the work returns or raises in each of several processes, simulated by threads."""
    store = HashStore()

    def one(rank):
        try:
            return work(Processes(rank, size, store))
        except BaseException as error:
            return error

    with ThreadPoolExecutor(size) as pool:
        return list(pool.map(one, range(size)))


def test_every_process_gathers_the_values_of_all():
    def work(processes):
        first = processes.gather({"rank": processes.rank})
        return first, processes.gather(processes.rank**2)

    expected = ([{"rank": 0}, {"rank": 1}, {"rank": 2}], [0, 1, 4])
    assert _in_each(work) == [expected] * 3


def test_a_single_process_gathers_its_own_value():
    assert Processes().gather("a") == ["a"]
    with pytest.raises(ConfigError), Processes().failing_together():
        raise ConfigError("wrong")


def test_an_error_in_some_processes_ends_all_and_is_reported_once():
    def work(processes):
        with processes.failing_together():
            if processes.rank > 0:
                raise ConfigError(f"rank {processes.rank} is wrong")

    first, second, third = _in_each(work)
    assert str(second) == "rank 1 is wrong"
    assert isinstance(second, ConfigError)
    for other in (first, third):
        assert isinstance(other, SystemExit)
        assert other.code == 2


def test_an_interrupted_process_stops_the_others():
    def work(processes):
        with processes.failing_together():
            if processes.rank == 2:
                raise KeyboardInterrupt

    assert [type(outcome) for outcome in _in_each(work)] == [KeyboardInterrupt] * 3


def test_a_process_interrupted_while_waiting_stops_the_others(monkeypatch):
    original = Processes._receive

    def receive(self, rank):
        if self.rank == 1:
            raise KeyboardInterrupt
        return original(self, rank)

    monkeypatch.setattr(Processes, "_receive", receive)
    ends = _in_each(lambda processes: (processes.gather("ready"), processes.gather("steady")))
    assert [type(end) for end in ends] == [KeyboardInterrupt] * 3


def test_a_single_process_logs_whatever_rank_its_launcher_gave_it(launched, tmp_path):
    rank_zero_only.rank = 1  # as Lightning reads it from Slurm's variables
    single_process()
    logger = CSVLogger(tmp_path, name="", version="")
    logger.log_metrics({"loss": 1.0})
    logger.save()
    assert (tmp_path / "metrics.csv").is_file()


def test_a_process_that_does_not_answer_is_named(monkeypatch):
    monkeypatch.setattr(processes, "ANSWER_TIMEOUT", timedelta(0))
    with pytest.raises(RunError, match="process 1 of 2 has not answered"):
        Processes(0, 2, HashStore()).gather(None)


def test_settings_that_differ_between_processes_are_refused_by_name():
    check_same_settings([{"seed": 0, "lr": 0.1}] * 2)
    with pytest.raises(ConfigError, match="Process 1 of 2") as error:
        check_same_settings([{"seed": 0, "lr": 0.1}, {"seed": 0, "lr": 0.2, "beta": 1}])
    assert str(error.value).splitlines()[1:] == [
        "  lr: 0.1 in the first, 0.2",
        "  beta: None in the first, 1",
    ]


class _AutoStreamed:
    """Data that stream if this node has little memory, unless `stream` is set."""

    source = "files"

    def __init__(self, config):
        self.stream, self.has_little = config["data"]["stream"], config["little"]

    def prepare_data(self):
        self.stream = self.has_little if self.stream == "auto" else self.stream


@pytest.mark.parametrize("little", [(False, True, False), (True, False, False)])
def test_automatic_data_settings_follow_the_first_process(little, monkeypatch, caplog):
    def facts(data):
        return {"stream": data.stream, "source": data.source}

    monkeypatch.setattr(data, "build_data", _AutoStreamed)
    monkeypatch.setattr(data, "the_project", lambda: SimpleNamespace(data_facts=facts))

    def work(processes, stream="auto"):
        config = {"seed": 0, "data": {"stream": stream}, "little": little[processes.rank]}
        return data.prepare_data(config, processes).stream, config["data"]["stream"]

    assert _in_each(work) == [(little[0], little[0])] * 3
    assert len(caplog.messages) == sum(here != little[0] for here in little)
    assert f"process 1: as the first decides, data.stream={little[0]}" in caplog.text
    # A typed value is kept; if it differs between processes, it is refused later.
    typed = _in_each(lambda processes: work(processes, stream=processes.rank == 1))
    assert [stream for stream, _ in typed] == [False, True, False]


def test_a_run_folder_that_a_node_cannot_see_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(new_folder, "SHARED_FOLDER_TIMEOUT", timedelta(0))
    (tmp_path / "checkpoints").mkdir()
    new_folder.check_shared(tmp_path)
    with pytest.raises(RunError, match="file system that all nodes share"):
        new_folder.check_shared(tmp_path / "elsewhere")


def test_a_launcher_is_recognised_by_its_environment_variables(launched):
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
def test_a_trainer_for_another_number_of_processes_is_refused(settings, launched):
    with pytest.raises(ConfigError, match=r"trainer.num_nodes=\d trainer.devices=\d"):
        check_processes(_trainer(**settings), launched)


def test_a_sweeps_job_cannot_span_the_processes_of_a_launcher(launched):
    with pytest.raises(ConfigError, match="without -m"):
        check_processes(_trainer(strategy="ddp", num_nodes=2, devices=1), Processes())
    check_processes(_trainer(devices=1), Processes())  # each process runs jobs of its own


def test_a_single_slurm_task_is_not_distributed(monkeypatch):
    for name, value in {**SLURM, "SLURM_NTASKS": "1"}.items():
        monkeypatch.setenv(name, value)
    assert launcher() is None
    assert "MASTER_ADDR" not in os.environ
