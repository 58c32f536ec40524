"""Two "nodes" of one process each, started by hand on the loopback, share one run."""

import os
import signal
import socket
import subprocess
import sys

import pytest
import torch

from script_server import ROOT, Started
from small import SMALL
from workbench.runs.folder import RunFolder
from workbench.runs.weights import load_checkpoint

pytestmark = pytest.mark.slow

RUN = (
    "model=autoencoder",  # draws nothing in its steps: processes have different noise
    "trainer.precision=64-true",
    "data.val_size=487",  # so that the last batch cannot be shared evenly
    "trainer.limit_train_batches=1.0",
)
TWO = ("trainer.strategy=ddp", "+trainer.num_nodes=2", "data.batch_size=100")


def _free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return str(free.getsockname()[1])


@pytest.fixture
def start_nodes(tmp_path):
    """Overrides → the two processes that srun would start, with its environment variables."""

    def start(*overrides):
        job = {
            "SLURM_JOB_ID": "7",
            "SLURM_JOB_NAME": "train",
            "SLURM_NNODES": "2",
            "SLURM_NTASKS": "2",
            "SLURM_NTASKS_PER_NODE": "1",
            "SLURM_LOCALID": "0",
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": _free_port(),
        }
        nodes = []
        for rank in "01":
            place = {"SLURM_PROCID": rank, "SLURM_NODEID": rank}
            environment = {**os.environ, **job, **place}
            nodes.append(Started("scripts/train.py", *overrides, cwd=ROOT, env=environment))
        return nodes

    return start


def _only_run(logs):
    (place,) = logs.glob("runs/*")
    return RunFolder.open(place)


def test_two_nodes_share_one_run_and_match_a_single_process(start_nodes, run_here, tmp_path):
    first, second = start_nodes(*SMALL, *RUN, *TWO, f"log_dir={tmp_path}/two")
    done, other = first.finish(), second.finish()
    assert done.returncode == other.returncode == 0, done.stderr + other.stderr
    printed = [line for line in other.stdout.splitlines() if not line.startswith("[Gloo]")]
    assert (printed, other.stderr) == ([], "")  # torch 2.8 announces connections
    shared = _only_run(tmp_path / "two")
    alone = run_here(*RUN, "data.batch_size=200")
    metrics, expected = shared.read_metrics(), alone.read_metrics()
    assert metrics["processes"] == 2
    assert metrics["metrics"] == pytest.approx(expected["metrics"], rel=1e-10)
    assert (shared.path / "train.log").read_text().count("epoch 2/2") == 1
    files = [{f.name.split(".")[0] for f in one.path.iterdir()} for one in (shared, alone)]
    assert files[1] - files[0] == {"test_values"}  # kept by a single process only
    assert files[0] <= files[1]
    weights = [load_checkpoint(one.checkpoint("last"))["state_dict"] for one in (shared, alone)]
    for name, value in weights[1].items():
        torch.testing.assert_close(weights[0][name], value, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize(
    ("number", "asked"),
    [(signal.SIGTERM, 1), pytest.param(signal.SIGINT, 0, marks=pytest.mark.exhaustive)],
)
def test_a_signal_to_one_node_stops_both_after_the_batch(
    number, asked, start_nodes, run_script, tmp_path
):
    long = ("trainer.max_epochs=2000", "data.batch_size=20", f"log_dir={tmp_path}/logs")
    nodes = start_nodes(*SMALL, *RUN, *TWO, *long)
    nodes[0].wait_for("epoch    1/2000")
    nodes[asked].send_signal(number)
    done, other = (node.finish() for node in nodes)
    assert done.returncode == other.returncode == 130, done.stderr + other.stderr
    assert done.stdout.count("Stopped. Resume with") == 1
    assert "Stopped" not in other.stdout + other.stderr
    folder = _only_run(tmp_path / "logs")
    assert folder.read_metrics()["status"] == "interrupted"
    checkpoint = load_checkpoint(folder.checkpoint("last"))
    (loader,) = checkpoint["loops"]["fit_loop"]["state_dict"]["combined_loader"]
    assert checkpoint["epoch_means"]["count"] == min(loader["next_step"] * 40, 4500 - 487)
    epochs = checkpoint["epoch"] + 2
    alone = ("trainer.strategy=auto", "trainer.num_nodes=1", f"trainer.max_epochs={epochs}")
    resumed = run_script(f"resume={folder.path}", *alone)
    assert resumed.returncode == 0, resumed.stderr
    assert "processes: 1 instead of 2" in resumed.stdout
    assert folder.read_metrics()["status"] == "completed"


def test_nodes_with_the_wrong_number_of_processes_end_in_one_error(start_nodes, tmp_path):
    job = (*SMALL, *RUN, *TWO, f"log_dir={tmp_path}/logs")
    first, second = start_nodes(*job, "trainer.devices=2")
    done, other = first.finish(), second.finish()
    assert done.returncode == other.returncode == 2
    assert "the launcher has started 2 processes" in done.stderr
    assert (other.stdout, other.stderr) == ("", "")
    assert not list(tmp_path.glob("logs/runs/*"))


@pytest.mark.exhaustive
def test_torchrun_starts_one_run_on_two_nodes(tmp_path):
    program = (sys.executable, "-m", "torch.distributed.run", "--nnodes=2", "--nproc-per-node=1")
    meeting = ("--rdzv-backend=c10d", "--rdzv-id=1", f"--rdzv-endpoint=localhost:{_free_port()}")
    job = ("scripts/train.py", *SMALL, *RUN, *TWO, f"log_dir={tmp_path}/logs")
    nodes = [subprocess.Popen([*program, *meeting, *job], cwd=ROOT) for _ in range(2)]
    assert [node.wait(600) for node in nodes] == [0, 0]
    metrics = _only_run(tmp_path / "logs").read_metrics()
    assert (metrics["status"], metrics["processes"]) == ("completed", 2)
