"""Parts of a module: frozen, with optimizer settings of their own, initialised from a run."""

import re

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from workbench.config.identity import identity
from workbench.config.misfits import find_misfits
from workbench.errors import ConfigError, RunError
from workbench.jobs.command_line import read_command_line
from workbench.jobs.quoting import quote
from workbench.module import ReportingModule
from workbench.optimizers.parameter_groups import make_optimizer
from workbench.optimizers.parts import find_part, freeze
from workbench.runs.weights import load_checkpoint
from workbench.sweeps.sweep import launch_all
from workbench.training.init_from import begin_with, with_weights_file
from workbench.training.run import run


class TwoParts(ReportingModule):
    """A module whose model has two parts."""

    def __init__(self, width=3, size=2):
        super().__init__()
        self.model = nn.Module()
        self.model.encoder = nn.Sequential(nn.Linear(4, width), nn.BatchNorm1d(width))
        self.model.decoder = nn.Linear(width, size)

    def forward(self, x):
        return self.model.decoder(self.model.encoder(x))


def test_a_parameter_or_module_set_after_a_plain_value_is_registered():
    module = TwoParts()
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


def test_a_part_is_found_by_the_end_of_its_dotted_name():
    module = TwoParts()
    assert find_part(module, "decoder", "freeze") == "model.decoder"
    assert find_part(module, "model.encoder.1", "freeze") == "model.encoder.1"
    assert find_part(module, "decoder.bias", "freeze") == "model.decoder.bias"
    with pytest.raises(ConfigError, match="no part encodr; there are model, encoder, decoder"):
        find_part(module, "encodr", "freeze")
    module.model.head = nn.Linear(2, 2)
    with pytest.raises(ConfigError, match="bias may be model.decoder.bias or model.head.bias; wr"):
        find_part(module, "bias", "freeze")


def test_a_frozen_part_keeps_weights_and_running_statistics():
    module = TwoParts()
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
        freeze(TwoParts(), ["model"])


def test_parts_have_their_own_optimizer_settings_and_the_last_named_wins():
    module = TwoParts()
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
def test_mistakes_in_parameter_groups_are_reported(settings, fault):
    module = TwoParts()
    freeze(module, ["encoder"])
    with pytest.raises(ConfigError, match=fault):
        make_optimizer(module, lambda p, **o: torch.optim.SGD(p, **{"lr": 1.0, **o}), settings)


def test_a_resumed_run_can_change_the_numbers_of_its_groups_but_not_the_groups(
    run_here, compose_launch
):
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
def test_weights_are_taken_by_name_and_shape_from_any_kind_of_file(kind, tmp_path, capsys):
    theirs, ours = TwoParts(size=5), TwoParts()
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
    output = capsys.readouterr().out
    assert re.search(r"decoder.weight .*\[2, 3\] here, \[5, 3\] in the file .*other shape", output)
    assert kind == "wrapped" or re.search(r"encoder .*7 tensors .*loaded", output)


def test_only_the_requested_parts_are_taken(tmp_path):
    theirs, ours = TwoParts(), TwoParts()
    torch.save(theirs.state_dict(), tmp_path / "x.ckpt")
    taken = begin_with(ours, tmp_path / "x.ckpt", parts=["decoder"])
    assert taken.names == {"model.decoder.weight", "model.decoder.bias"}
    assert not torch.equal(ours.model.encoder[0].weight, theirs.model.encoder[0].weight)


def test_a_file_without_usable_weights_is_refused_in_one_line(tmp_path):
    path = tmp_path / "x.ckpt"
    for content, fault in (
        ({"model.encoder.0.weight": torch.zeros(9, 9)}, r"is \[9, 9\] there and \[3, 4\] here"),
        ({"other": torch.zeros(1)}, "none of its weights fits, as it holds other"),
        ({"model.decoder.bias": torch.full((2,), torch.nan)}, "is not finite"),
        ({"epoch": 3}, "holds no weights by name"),
        ([1, 2], "it holds a list"),
        ({"state_dict": TwoParts}, "it holds more than tensors and plain values"),
    ):
        torch.save(content, path)
        with pytest.raises(ConfigError, match=fault) as error:
            begin_with(TwoParts(), path)
        assert "\n" not in str(error.value)
    path.write_bytes(path.read_bytes()[:-40])
    for which in (path, tmp_path / "nowhere", tmp_path):
        with pytest.raises(ConfigError, match="init_from=") as error:
            begin_with(TwoParts(), which)
        assert "\n" not in str(error.value)


def test_a_run_starts_from_the_best_weights_of_another_and_resumes_without_it(
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


def test_all_wrong_settings_of_a_resumed_run_are_told_at_once(trained, compose_launch):
    resume = quote(f"resume={trained().path}")
    changes = ["trainer.accelerator=abacus", "trainer.strategy=ddp_spawn"]
    with pytest.raises(ConfigError) as error:
        run(compose_launch(resume, *changes))
    assert "trainer.accelerator=abacus: there are" in str(error.value)
    assert "ddp_spawn do not return their metrics" in str(error.value)


def test_a_missing_init_from_leaves_no_folder(compose_small, tmp_path):
    for which in ("latest", "nowhere"):
        with pytest.raises(ConfigError, match=f"init_from={which}: "):
            run(compose_small(f"init_from={which}"))
    assert not [*tmp_path.glob("logs/runs/*")]


def test_init_from_is_part_of_a_jobs_identity(compose_small):
    config = compose_small().config
    assert config["init_from"] is None
    without = {name: value for name, value in config.items() if not name.startswith("init_from")}
    assert identity(config) == identity(without)
    jobs = {identity({**config, "init_from": path}) for path in ("/a", "/b")}
    assert len(jobs | {identity(config)}) == 3


def test_part_names_are_checked_before_a_job_starts(compose_small):
    for overrides, fault in (
        (["freeze=[lin]"], "freeze=[lin]: there is no part lin; there are line"),
        (["freeze=[line]"], "freeze=[line]: leaves nothing to train"),
        (["init_from=x", "init_from_parts=[lin]"], "init_from_parts: there is no part lin"),
        (["init_from_parts=[line]"], "init_from_parts: of which run? set init_from too"),
        (["++parameter_groups.lin.lr=1"], "parameter_groups.lin: there is no part lin"),
    ):
        (problem,) = find_misfits(compose_small(*overrides).config)
        assert fault in str(problem)


def test_a_sweep_over_init_from_resolves_each_and_refuses_a_missing_one(trained, tmp_path):
    first = trained()
    logs = f"log_dir={tmp_path}/logs"
    command = read_command_line("train", ["-m", logs, "sweep=x", "init_from=null,latest"])
    launcher = CountingLauncher()
    launch_all(command, launcher, None)
    assert launcher.jobs == 2
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
    assert launcher.jobs == 2


class CountingLauncher:
    """Counts the jobs that it is given."""

    jobs = 0

    def launch(self, batch, initial_job_idx):
        self.jobs += len(batch)
        return []
