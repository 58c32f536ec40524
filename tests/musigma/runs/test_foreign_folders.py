"""Run folders from elsewhere: their places are not used, and links out of them not followed."""

import http.server
import threading

import pytest
import yaml

from musigma import load_run
from musigma.commands.evaluate import evaluate
from musigma.commands.predict import predict
from workbench.config.places import places_of
from workbench.errors import RunError
from workbench.jobs.quoting import quote
from workbench.runs.folder import RunFolder
from workbench.runs.resume import find_runs
from workbench.training.run import run

pytestmark = pytest.mark.slow


def _edit(folder, **data):
    config = folder.read_config()
    config["data"] |= data
    (folder.path / "config.yaml").write_text(yaml.safe_dump(config))


@pytest.fixture
def server():
    """The address of a server, and the paths that were requested from it."""
    paths = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            paths.append(self.path)
            self.send_error(404)

        def log_message(self, *_):
            pass

    serving = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=serving.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{serving.server_port}/", paths
    serving.shutdown()
    serving.server_close()


def _evaluated(folder, **more):
    settings = {"checkpoint": "best", "images": 2, "samples": 25, "seed": 0}
    return evaluate([str(folder.path)], folder.path.parent, **settings, **more)


def test_servers_and_folders_named_in_a_foreign_run_are_not_used(
    trained, tmp_path, server, compose_launch
):
    address, paths = server
    folder = trained()
    _edit(folder, source="files", root=str(tmp_path / "theirs"), mirrors=[address])
    for act in (
        lambda: _evaluated(folder),
        lambda: predict(
            "encode", str(folder.path), tmp_path,
            checkpoint="best", input="test", output=None,
        ),
        load_run(folder.path).data.prepare_data,
        lambda: load_run(folder.path).data.setup("test"),
        lambda: run(compose_launch(quote(f"resume={folder.path}"))),
    ):  # fmt: skip
        with pytest.raises(
            RunError, match=r"comes from elsewhere.*data\.mirrors\[0\]=http.*data\.root="
        ):
            act()
    assert not paths
    assert not (tmp_path / "theirs").exists()
    model, _, _ = load_run(folder.path)  # opening the model reads no data
    assert model.latent_dim == 2


def test_places_given_by_the_user_are_used_and_remembered(trained, without_plots, tmp_path):
    folder = trained()
    _edit(folder, root=str(tmp_path / "theirs"))
    with pytest.raises(RunError, match=r"even if it is the same: data\.root=\.\.\."):
        _evaluated(folder)
    _evaluated(folder, data={"root": str(tmp_path / "mine")})
    _edit(folder, root=str(tmp_path / "mine"))
    _evaluated(folder)


def test_a_run_trained_here_may_use_its_own_places(run_here, without_plots, tmp_path):
    folder = run_here(f"data.root={tmp_path}/mine")
    _evaluated(folder)
    load_run(folder.path).data.setup("test")


def test_only_places_can_be_given_when_a_run_is_opened(trained):
    folder = trained()
    with pytest.raises(RunError, match=r"data\.normalization cannot be changed for a trained"):
        load_run(folder.path, data={"normalization": "unit"})
    with pytest.raises(RunError, match=r"^data\.root=\[1\]: [^\n]*$"):
        load_run(folder.path, data={"root": [1]})


def test_places_are_addresses_and_paths_anywhere_in_a_config():
    data = {"_target_": "musigma.data.TensorFileDataModule", "path": "here.npz", "seed": 0}
    logger = {"mlflow": {"tracking_uri": "sqlite:////db", "experiment_name": "mine"}}
    assert places_of({"data": data, "logger": logger, "x": ["a", "../b"], "log_dir": "/y"}) == {
        "data.path": "here.npz",
        "logger.mlflow.tracking_uri": "sqlite:////db",
        "x[1]": "../b",
    }


@pytest.mark.parametrize(
    "inside", ["report.html", "checkpoints/best.ckpt", "evaluation", "train.log", "new", "wandb"]
)
def test_a_link_out_of_a_run_folder_is_reported_and_not_followed(
    inside, trained, tmp_path, compose_launch
):
    folder = trained()
    outside = tmp_path / "outside"
    outside.mkdir() if inside == "evaluation" else outside.write_text("mine")
    link = folder.path / inside
    link.unlink(missing_ok=True)
    link.symlink_to(outside)
    for act in (
        lambda: _evaluated(folder),
        lambda: load_run(folder.path),
        lambda: run(compose_launch(quote(f"resume={folder.path}"))),
    ):
        with pytest.raises(RunError, match="is a link out of the run folder"):
            act()
    assert not list(outside.iterdir()) if inside == "evaluation" else outside.read_text() == "mine"


def test_links_within_a_run_folder_and_to_it_are_followed(trained, tmp_path):
    folder = trained()
    (folder.path / "again.ckpt").symlink_to("checkpoints/best.ckpt")
    (tmp_path / "link").symlink_to(folder.path)
    assert RunFolder.open(tmp_path / "link").read_config() == folder.read_config()


def test_links_of_wandb_to_its_own_log_are_accepted(trained, tmp_path):
    folder = trained()
    logs = folder.path / "wandb" / "offline-run-1" / "logs"
    logs.mkdir(parents=True)
    (logs / "debug-core.log").symlink_to(tmp_path / "cache" / "wandb" / "debug-core.log")
    assert RunFolder.open(folder.path).read_config() == folder.read_config()


def test_a_folder_of_runs_is_not_followed_out_of_itself(trained, tmp_path):
    folder = trained()
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "theirs").symlink_to(folder.path)
    with pytest.raises(RunError, match="theirs is a link out of"):
        find_runs(str(tmp_path / "runs"), tmp_path)
