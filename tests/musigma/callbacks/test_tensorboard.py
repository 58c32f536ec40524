"""What TensorBoard gets from a run: scalars, an image panel, and an HPARAMS tab with metrics."""

import json
import re
import subprocess
import sys
import time
from types import SimpleNamespace
from urllib.request import urlopen

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
from tensorboard.context import RequestContext
from tensorboard.plugins.base_plugin import TBContext
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.hparams import plugin_data_pb2
from tensorboard.plugins.hparams.backend_context import Context

from musigma.plots.images import pair_rows


@pytest.fixture
def board(trained):
    folder = trained("model=vae", "seed=3", "model.objective.beta=2.0")
    events = EventAccumulator(str(folder.path), {"scalars": 0, "images": 0})
    events.Reload()
    return folder, events


@pytest.mark.slow
def test_scalars_of_every_stage_are_logged(board):
    folder, events = board
    scalars = set(events.Tags()["scalars"])
    names = {"loss", "distortion", "rate", "elbo", "l1", "mse"}
    assert {f"{stage}/{name}" for stage in ("train", "val", "test") for name in names} <= scalars
    assert {"train/lr", "train/beta", "train/images_per_second", "train/loss_step"} <= scalars
    assert "epoch" not in scalars
    assert [event.value for event in events.Scalars("train/beta")] == [2.0, 2.0]
    for name in names:  # a level line from the first step to the last
        first, last = events.Scalars(f"test/{name}")
        assert first.step == 0 < last.step
        assert first.value == last.value
        assert last.value == pytest.approx(folder.read_metrics()["metrics"][f"test/{name}"])
    assert all(event.value > 0 for event in events.Scalars("train/images_per_second"))


@pytest.mark.slow
def test_tensorboard_serves_the_scalars(board, tmp_path):
    run, logs = board[0].path.name, board[0].path.parent
    errors = tmp_path / "errors.txt"
    served = [sys.executable, "-m", "tensorboard.main", "--logdir", str(logs), "--port", "0"]
    with errors.open("w") as file, subprocess.Popen(served, stdout=file, stderr=file) as server:
        try:
            address = _wait(server, lambda: re.search(r"http://\S+", errors.read_text()))[0]
            _wait(server, lambda: "test/elbo" in _tags(address).get(run, {}))
        finally:
            server.kill()


def _tags(address):
    with urlopen(f"{address}data/plugin/scalars/tags") as answer:
        return json.load(answer)


def _wait(server, find):
    """Wait until `find` returns something; return it."""
    while not (found := find()):
        assert server.poll() is None
        time.sleep(0.1)
    return found


@pytest.mark.slow
def test_the_image_panel_is_made_after_every_epoch(board):
    images = board[1].Images("val/reconstructions")
    assert [image.step for image in images] == [4, 9]
    assert images[0].width == 8 * 30 + 2
    assert images[0].height == 4 * 30 + 2


@pytest.mark.slow
def test_the_hparams_tab_lists_differing_settings_first_and_has_the_test_metrics(run_here):
    folders = [run_here("model=vae", f"model.objective.beta={beta}") for beta in (1.0, 2.0)]
    multiplexer = EventMultiplexer()
    multiplexer.AddRunsFromDirectory(str(folders[0].path.parent))
    multiplexer.Reload()
    flags = SimpleNamespace(generic_data="true")
    provider = MultiplexerDataProvider(multiplexer, str(folders[0].path.parent))
    backend = Context(TBContext(data_provider=provider, flags=flags))
    runs = backend.hparams_metadata(RequestContext(), "")
    tab = backend.experiment_from_metadata(RequestContext(), "", True, runs, None)
    assert [info.name for info in tab.hparam_infos if info.differs] == ["model.objective.beta"]
    assert tab.hparam_infos[0].name == "model.objective.beta"
    metrics = {info.name.tag for info in tab.metric_infos}
    assert {f"test/{n}" for n in ("loss", "distortion", "rate", "elbo", "l1", "mse")} <= metrics


def _layout(folder):
    events = EventAccumulator(str(folder.path), {"tensors": 0})
    events.Reload()
    (event,) = events.Tensors("custom_scalars__config__")
    layout = layout_pb2.Layout.FromString(event.tensor_proto.string_val[0])
    (category,) = layout.category
    return {chart.title: list(chart.multiline.tag) for chart in category.chart}


@pytest.mark.slow
def test_custom_scalars_have_a_train_and_val_chart_for_each_metric_of_the_run(board, trained):
    names = ("loss", "distortion", "rate")
    assert _layout(board[0]) == {n: [f"^train/{n}$", f"^val/{n}$"] for n in names}
    tags = board[1].Tags()["scalars"]
    for patterns in _layout(board[0]).values():
        assert all(any(re.search(pattern, tag) for tag in tags) for pattern in patterns)
    assert "rate" not in _layout(trained("model=autoencoder"))


def test_the_hparams_tab_has_the_settings_of_a_run(board):
    folder, _ = board
    multiplexer = EventMultiplexer()
    multiplexer.AddRunsFromDirectory(str(folder.path.parent))
    multiplexer.Reload()
    content = multiplexer.PluginRunToTagToContent("hparams")[folder.path.name]
    data = {tag: plugin_data_pb2.HParamsPluginData.FromString(c) for tag, c in content.items()}
    settings = data["_hparams_/session_start_info"].session_start_info.hparams
    assert settings["seed"].number_value == 3
    assert "data.seed" not in settings
    assert settings["model.objective.beta"].number_value == 2
    assert settings["data.source"].string_value == "sample"
    assert settings["model.network.encoder_sizes"].string_value == "[32]"
    assert data["_hparams_/session_end_info"].session_end_info.status == 1


def test_the_image_panel_shows_images_above_their_reconstructions():
    above, below = torch.zeros(10, 1, 4, 4), torch.ones(10, 1, 4, 4)
    panel = pair_rows(above, below, columns=4)[0].numpy()
    rows = [panel[2 + 6 * row : 6 + 6 * row, 2:6].mean() for row in range(6)]
    assert np.allclose(rows, [0, 1, 0, 1, 0, 1])
