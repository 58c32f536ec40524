"""Parts of a module: frozen, trained with settings of their own, begun with another's weights."""

import re

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from workbench.config.command_line import read_command_line
from workbench.config.identity import identity
from workbench.config.misfits import find_misfits
from workbench.config.quoting import quote
from workbench.config.resolvers import register_resolvers
from workbench.errors import ConfigError, RunError
from workbench.module import ReportingModule
from workbench.optimizers.parameter_groups import make_optimizer
from workbench.optimizers.parts import find_part, freeze
from workbench.runs.weights import load_checkpoint
from workbench.sweeps.sweep import launch_all
from workbench.training.init_from import begin_with, with_weights_file
from workbench.training.run import run


class Two(ReportingModule):
    """Two parts in a model, as a science has them."""

    def __init__(self, width=3, size=2):
        super().__init__()
        self.model = nn.Module()
        self.model.encoder = nn.Sequential(nn.Linear(4, width), nn.BatchNorm1d(width))
        self.model.decoder = nn.Linear(width, size)

    def forward(self, x):
        return self.model.decoder(self.model.encoder(x))


def test_what_is_set_twice_is_kept_where_torch_keeps_it():
    module = Two()
    for name, value in (("scale", nn.Parameter(torch.ones(1))), ("layer", nn.Linear(1, 1))):
        for plain in ("text", None):
            setattr(module, name, plain)
        setattr(module, name, value)
        assert getattr(module, name) is value
        with pytest.raises(TypeError, match="cannot assign"):
            setattr(module, name, "text")
    assert {"scale", "layer.weight"} <= module.state_dict().keys()
    module.train(False)
    assert not module.layer.training


def state_of(module):
    return {name: value.clone() for name, value in module.state_dict().items()}


def test_a_part_is_named_by_the_end_of_its_name():
    module = Two()
    assert find_part(module, "decoder", "freeze") == "model.decoder"
    assert find_part(module, "model.encoder.1", "freeze") == "model.encoder.1"
    assert find_part(module, "decoder.bias", "freeze") == "model.decoder.bias"
    with pytest.raises(ConfigError, match="no part encodr; there are model, encoder, decoder"):
        find_part(module, "encodr", "freeze")
    module.model.head = nn.Linear(2, 2)
    with pytest.raises(ConfigError, match="bias may be model.decoder.bias or model.head.bias; wr"):
        find_part(module, "bias", "freeze")


def test_a_frozen_part_keeps_weights_and_running_statistics():
    module = Two()
    freeze(module, ["encoder"])
    before = state_of(module)
    optimizer = make_optimizer(module, lambda p: torch.optim.AdamW(p, weight_decay=0.5), None)
    assert sum(len(group["params"]) for group in optimizer.param_groups) == 2
    module.eval()
    module.train()
    module(torch.randn(8, 4)).sum().backward()
    optimizer.step()
    after = state_of(module)
    same = {name for name in before if torch.equal(before[name], after[name])}
    assert same == {name for name in before if "encoder" in name}
    assert module.model.decoder.training
    with pytest.raises(ConfigError, match=r"freeze=\[model\]: leaves nothing to train"):
        freeze(Two(), ["model"])


def test_parts_have_settings_of_their_own_and_the_last_named_wins():
    module = Two()
    settings = {
        "decoder": {"lr": 0.5, "weight_decay": 0.1},
        "biases_and_norms": {"weight_decay": 0.0},
        "model": {"encoder": {"1": {"lr": 0.7}}},
    }
    optimizer = make_optimizer(module, torch.optim.AdamW, settings)
    names = {id(parameter): name for name, parameter in module.named_parameters()}
    found = {
        names[id(parameter)].removeprefix("model."): (group["lr"], group["weight_decay"])
        for group in optimizer.param_groups
        for parameter in group["params"]
    }
    assert found == {
        "encoder.0.weight": (1e-3, 1e-2),
        "encoder.0.bias": (1e-3, 0.0),
        "encoder.1.weight": (0.7, 0.0),
        "encoder.1.bias": (0.7, 0.0),
        "decoder.weight": (0.5, 0.1),
        "decoder.bias": (0.5, 0.0),
    }


@pytest.mark.parametrize(
    ("settings", "fault"),
    [
        ({"decodr": {"lr": 1}}, "parameter_groups.decodr: there is no part decodr; there are"),
        ({"decoder": {"lrr": 1}}, "parameter_groups.decoder.lrr: the optimizer takes no lrr"),
        ({"decoder": {"lr": "fast"}}, "parameter_groups.decoder.lr=fast: should be a number"),
        ({"decoder": {"lr": -1}}, "parameter_groups.decoder.lr=-1: Invalid learning rate"),
        ({"decoder": 1}, "parameter_groups.decoder=1: should be settings of a part"),
        ({"encoder": {"lr": 1}}, "parameter_groups.encoder: has no weights that this"),
    ],
)
def test_settings_of_parts_that_cannot_be_are_one_line(settings, fault):
    module = Two()
    freeze(module, ["encoder"])
    with pytest.raises(ConfigError, match=fault):
        make_optimizer(module, lambda p, **o: torch.optim.SGD(p, **{"lr": 1.0, **o}), settings)


def test_groups_are_trained_resumed_and_changed_in_numbers_only(run_here, compose_launch):
    folder = run_here("++parameter_groups.bias.lr=0.01")
    rates = [
        g["lr"]
        for g in load_checkpoint(folder.checkpoint("last"))["optimizer_states"][0]["param_groups"]
    ]
    assert rates == [0.1, 0.01]
    resume = quote(f"resume={folder.path}")
    run(compose_launch(resume, "++parameter_groups.bias.lr=0.02", "trainer.max_epochs=3"))
    state = load_checkpoint(folder.checkpoint("last"))["optimizer_states"][0]
    assert [group["lr"] for group in state["param_groups"]] == [0.1, 0.02]
    with pytest.raises(RunError, match="cannot be changed when a run is resumed"):
        run(compose_launch(resume, "++parameter_groups.weight.lr=0.02"))


@pytest.mark.parametrize(
    "kind", ["checkpoint", "weights", "safetensors", "of the model", "wrapped"]
)
def test_weights_that_fit_by_name_and_shape_are_taken_from_any_file(kind, tmp_path, capsys):
    theirs, ours = Two(size=5), Two()
    state, path = state_of(theirs), tmp_path / "x.ckpt"
    if kind in ("of the model", "safetensors"):
        state = {name.removeprefix("model."): value for name, value in state.items()}
    if kind == "safetensors":
        save_file(state, path := tmp_path / "x.safetensors")
    else:
        torch.save({"state_dict": state, "global_step": 7} if kind == "checkpoint" else state, path)
    before = state_of(ours)
    module = ours.model if kind == "wrapped" else ours
    taken = begin_with(module, path)
    after = state_of(ours)
    for name, value in theirs.state_dict().items():
        assert torch.equal(after[name], before[name] if "decoder" in name else value), name
    assert taken.source.step == (7 if kind == "checkpoint" else None)
    taken.show()
    said = capsys.readouterr().out
    assert re.search(r"decoder.weight .*\[2, 3\] here, \[5, 3\] in the file .*other shape", said)
    assert kind == "wrapped" or re.search(r"encoder .*7 tensors .*loaded", said)


def test_parts_that_are_not_asked_for_stay_as_they_are(tmp_path):
    theirs, ours = Two(), Two()
    torch.save(theirs.state_dict(), tmp_path / "x.ckpt")
    taken = begin_with(ours, tmp_path / "x.ckpt", parts=["decoder"])
    assert taken.names == {"model.decoder.weight", "model.decoder.bias"}
    assert not torch.equal(ours.model.encoder[0].weight, theirs.model.encoder[0].weight)


def test_a_file_that_nothing_can_be_taken_of_is_one_line(tmp_path):
    path = tmp_path / "x.ckpt"
    for content, fault in (
        ({"model.encoder.0.weight": torch.zeros(9, 9)}, r"is \[9, 9\] there and \[3, 4\] here"),
        ({"other": torch.zeros(1)}, "none of its weights fits, as it holds other"),
        ({"model.decoder.bias": torch.full((2,), torch.nan)}, "is not finite"),
        ({"epoch": 3}, "holds no weights by name"),
        ([1, 2], "it holds a list"),
        ({"state_dict": Two}, "it holds more than tensors and plain values"),
    ):
        torch.save(content, path)
        with pytest.raises(ConfigError, match=fault) as error:
            begin_with(Two(), path)
        assert "\n" not in str(error.value)
    path.write_bytes(path.read_bytes()[:-40])
    for which in (path, tmp_path / "nowhere", tmp_path):
        with pytest.raises(ConfigError, match="init_from=") as error:
            begin_with(Two(), which)
        assert "\n" not in str(error.value)


def test_a_run_begins_with_the_best_of_another_and_needs_it_once(
    trained, run_here, compose_launch, capsys
):
    other = trained()
    best = load_checkpoint(other.checkpoint("best"))
    capsys.readouterr()
    folder = run_here(quote(f"init_from={other.path}"), "freeze=[bias]")
    assert "init from" in capsys.readouterr().out
    path = str(other.checkpoint("best"))
    assert folder.read_config()["init_from"] == path
    origin = folder.read_metrics()["origin"]
    assert (origin["path"], origin["step"]) == (path, best["global_step"])
    assert origin["loaded"] == ["line.bias", "line.weight"]
    other.checkpoint("best").unlink()
    resume = quote(f"resume={folder.path}")
    run(compose_launch(resume, "trainer.max_epochs=3"))
    assert folder.read_metrics()["origin"] == origin
    end = load_checkpoint(folder.checkpoint("last"))
    assert torch.equal(end["state_dict"]["line.bias"], best["state_dict"]["line.bias"])
    assert not torch.equal(end["state_dict"]["line.weight"], best["state_dict"]["line.weight"])
    assert len(end["optimizer_states"][0]["param_groups"][0]["params"]) == 1
    for override in ("init_from=null", "freeze=null"):
        with pytest.raises(RunError, match="and keeps it when resumed"):
            run(compose_launch(resume, override))


def test_an_origin_that_is_not_there_leaves_no_folder(compose_small, tmp_path):
    for which in ("latest", "nowhere"):
        with pytest.raises(ConfigError, match=f"init_from={which}: "):
            run(compose_small(f"init_from={which}"))
    assert not [*tmp_path.glob("logs/runs/*")]


def test_two_origins_are_two_jobs_and_none_is_as_before(compose_small):
    config = compose_small().config
    assert config["init_from"] is None
    without = {name: value for name, value in config.items() if not name.startswith("init_from")}
    assert identity(config) == identity(without)
    jobs = {identity({**config, "init_from": path}) for path in ("/a", "/b")}
    assert len(jobs | {identity(config)}) == 3


def test_names_of_parts_are_checked_before_a_job_starts(compose_small):
    for overrides, fault in (
        (["freeze=[lin]"], "freeze=[lin]: there is no part lin; there are line"),
        (["freeze=[line]"], "freeze=[line]: leaves nothing to train"),
        (["init_from=x", "init_from_parts=[lin]"], "init_from_parts: there is no part lin"),
        (["init_from_parts=[line]"], "init_from_parts: of which run? set init_from too"),
        (["++parameter_groups.lin.lr=1"], "parameter_groups.lin: there is no part lin"),
    ):
        (problem,) = find_misfits(compose_small(*overrides).config)
        assert fault in str(problem)


def test_a_sweep_over_origins_knows_them_and_refuses_one_that_is_not_there(trained, tmp_path):
    register_resolvers()
    first = trained()
    logs = f"log_dir={tmp_path}/logs"
    command = read_command_line("train", ["-m", logs, "sweep=x", "init_from=null,latest"])
    asked = Asked()
    launch_all(command, asked, None)
    assert asked.jobs == 2
    (job,) = [job for job in command.jobs if job.config["init_from"]]
    latest = with_weights_file(job)
    assert latest.config["init_from"] == str(first.checkpoint("best"))
    named = {**job.config, "init_from": str(first.checkpoint("best"))}
    assert identity(latest.config) == identity(named) != identity(command.jobs[0].config)
    torch.save({"state_dict": {"other": torch.zeros(3)}}, tmp_path / "other.ckpt")
    for name, message in (
        ("gone", "gone is not a run folder"),
        ("other.ckpt", "none of its weights fits, as it holds other"),
    ):
        with pytest.raises(ConfigError, match=message):  # before any job starts
            read_command_line("train", ["-m", logs, "sweep=x", f"init_from=null,{tmp_path}/{name}"])
    assert asked.jobs == 2


class Asked:
    """Counts what a launcher is given."""

    jobs = 0

    def launch(self, batch, initial_job_idx):
        self.jobs += len(batch)
        return []
