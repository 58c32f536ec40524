"""The behaviour of Hydra that `workbench.jobs.hydra_adapter` relies on, function by function.

If a new version of Hydra breaks one of these tests, the tested function of the adapter must change.
"""

import sys
import warnings
from argparse import Namespace

import pytest
from hydra import compose
from hydra._internal.callbacks import Callbacks
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.utils import get_args_parser
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from hydra.types import HydraContext
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from toy import PROJECT
from workbench.jobs import hydra_adapter as adapter
from workbench.jobs.compose import Composer
from workbench.jobs.options import Parser


@pytest.fixture(autouse=True)
def _hydra(_toy):
    with adapter.opened(PROJECT.configs, "train"):
        yield


@pytest.fixture
def searched(tmp_path):
    """The override that adds a folder with the group `size` to the search path."""
    (tmp_path / "size").mkdir()
    for name, size in (("small", 8), ("large", 32)):
        text = f"# @package _global_\ndata:\n  batch_size: {size}\n"
        (tmp_path / "size" / f"{name}.yaml").write_text(text)
    return f"hydra.searchpath=[file://{tmp_path}]"


def composed(*overrides):
    return compose("train", list(overrides), return_hydra_config=True)


@pytest.mark.parametrize(
    "overrides",
    [
        [],
        ["seed=3", "name='a=b'", "optimizer.lr=0.2"],
        ["hydra/launcher=basic", "seed=1", "hydra.run.dir=/x", "~test"],
        ["+trainer.min_epochs=2", "++trainer.max_epochs=3", "data.noise=0.5", "logger=null"],
        ["+size=small", "+data.count=8", "name=${seed}", "model={in_features:2}"],
    ],
)
def test_our_composer_gives_the_config_that_hydra_composes(overrides, searched):
    overrides = [searched, *overrides]
    ours, theirs = Composer("train").compose(overrides).config, composed(*overrides)
    assert OmegaConf.to_container(ours) == OmegaConf.to_container(theirs)
    for config in (ours, theirs):
        with pytest.raises(OmegaConfBaseException):
            config.nothing = 1


def test_parse_override_parses_and_refuses_as_hydra_does():
    assert adapter.parse_override("a.b=[1,x]").value() == [1, "x"]
    assert adapter.is_listed(adapter.parse_override("a=1,2"))
    assert not adapter.is_listed(adapter.parse_override("a=choice(1,2)"))
    for text in ("a=[1", "a=range(1,2,3,4,5)"):
        with pytest.raises(Exception, match=r"\w"):
            adapter.parse_override(text)


@pytest.mark.parametrize(
    ("text", "strings"),
    [
        ("a=1", ["a=1"]),
        ("+a='x y'", ["+a='x y'"]),
        ("++a=1,2", ["++a=1", "++a=2"]),
        ("a=range(1,4)", ["a=1", "a=2", "a=3"]),
        ("a=choice(x,[1,2])", ["a=x", "a=[1,2]"]),
        ("hydra/launcher=glob(bas*)", ["hydra/launcher=basic"]),
        ("a=tag(log,interval(0.1,1))", ["a=0.1"]),
    ],
)
def test_strings_of_a_swept_override_are_overrides_of_single_jobs(text, strings):
    assert list(adapter.strings_of(adapter.parse_override(text))) == strings


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("a=tag(log,interval(0.1,1))", (0.1, 1.0, None, {"log"})),
        ("a=int(interval(1,8))", (1, 8, None, set())),
        ("a=range(1,4)", (1, 3, 1, set())),
        ("a=range(4,1,-2)", (2, 4, 2, set())),
        ("a=shuffle(range(0,1,0.1))", (0.0, pytest.approx(0.9), 0.1, set())),
        ("a=1,2", None),
        ("a=1", None),
    ],
)
def test_numbers_of_an_interval_or_a_range(text, numbers):
    assert adapter.numbers_of(adapter.parse_override(text)) == numbers


def test_an_empty_range_is_refused():
    for text in ("a=range(1,1)", "a=range(1,2,0)"):
        with pytest.raises(ValueError, match="holds no value|needs a step"):
            adapter.numbers_of(adapter.parse_override(text))


def test_choices_of_an_override_are_numbers_or_override_texts():
    assert adapter.choices_of(adapter.parse_override("a=1,x,[1,b],'c d'")) == [
        1,
        "x",
        "[1,b]",
        "'c d'",
    ]
    assert adapter.choices_of(adapter.parse_override("hydra/launcher=glob(bas*)")) == ["basic"]


def test_unresolved_can_leave_out_hydras_settings():
    config = composed("name=${seed}", "logger.tensorboard=null")
    whole = adapter.unresolved(config)
    assert adapter.unresolved(config, hydra=False) == {
        k: v for k, v in whole.items() if k != "hydra"
    }


def launcher_of(config, context, task):
    return Plugins.instance().instantiate_launcher(
        config=config, hydra_context=context, task_function=task
    )


def test_the_default_launcher_is_serial():
    config = composed()
    context = HydraContext(config_loader=GlobalHydra.instance().config_loader(), callbacks=None)
    assert adapter.is_serial(launcher_of(config, context, print))


def test_a_launcher_with_our_composer_gives_jobs_the_same_configs_without_reading_files(
    tmp_path, monkeypatch
):
    seen = []
    common = [f"log_dir={tmp_path}", "sweep=s", "++trainer.min_epochs=1"]
    jobs = [[*common, "seed=1", "name=${hydra:job.num}"], [*common, "~test", "logger=null"]]

    def task(cfg):
        plain = [OmegaConf.to_container(c, resolve=True) for c in (cfg, HydraConfig.get())]
        seen.append((plain, HydraConfig.get().mode))

    def launch(composer=None):
        subdir = "hydra.sweep.subdir=${hydra.job.num}"
        config = composed(adapter.MULTIRUN, subdir, *common[:2])
        adapter.set_hydra_config(config)
        loader = GlobalHydra.instance().config_loader()
        context = HydraContext(config_loader=loader, callbacks=Callbacks(config))
        launcher = launcher_of(config, context, task)
        if composer:
            adapter.compose_by(lambda overrides: composer.compose(overrides).config, launcher)
            monkeypatch.setattr(ConfigLoaderImpl, "load_configuration", None)
        for done in launcher.launch(jobs, initial_job_idx=4):
            _ = done.return_value
        assert HydraConfig.instance().cfg is config

    launch()
    composer = Composer("train")
    for job in jobs:
        composer.compose(job)
    launch(composer)
    assert seen[:2] == seen[2:]
    assert [plain[0]["name"] for plain, _ in seen[::2]] == [4, 4]


def test_options_of_a_group_include_files_on_the_search_path(searched):
    options = adapter.groups_of("train", [])
    assert {"basic"} <= {*options("hydra/launcher")}
    assert "checked" in options("hydra/sweeper")
    assert options("size") == []
    assert adapter.groups_of("train", [searched])("size") == ["large", "small"]


def test_the_defaults_list_names_files_with_their_packages(searched):
    defaults = adapter.defaults_of("train", [searched, "+size=small"])
    assert ("train", "") in defaults
    assert ("size/small", "") in defaults
    assert ("hydra/default", "hydra") in defaults
    roots = adapter.roots_of(composed(searched))
    assert any((root / "size" / "small.yaml").is_file() for root in roots)
    assert PROJECT.configs in roots


def test_set_value_adds_changes_and_removes_values_and_refuses_mistakes():
    config = composed()
    for text in ("seed=4", "+trainer.min_epochs=1", "~test"):
        adapter.set_value(config, adapter.parse_override(text))
    assert (config.seed, config.trainer.min_epochs, "test" in config) == (4, 1, False)
    for text in ("trainer.nothing=1", "+seed=1", "~nothing", "hydra.mode=x"):
        with pytest.raises(Exception, match=r"\w"):
            adapter.set_value(config, adapter.parse_override(text))


def test_record_overrides_writes_what_a_launcher_writes():
    config = composed("seed=1", "hydra.verbose=true")
    overrides = [adapter.parse_override(text) for text in ("seed=2", "hydra.run.dir=x", "name=y")]
    adapter.record_overrides(config, overrides, 7)
    assert list(config.hydra.overrides.task) == ["seed=2", "name=y"]
    assert list(config.hydra.overrides.hydra) == ["hydra.run.dir=x"]
    assert config.hydra.job.override_dirname == "name=y,seed=2"
    assert (config.hydra.job.num, config.hydra.job.id) == (7, "7")
    assert adapter.is_sweep(config.hydra)
    assert not adapter.is_sweep(composed().hydra)


def test_hydra_interpolations_read_the_config_that_was_set():
    config = composed("name=${hydra:job.name}")
    adapter.set_hydra_config(config)
    assert config.name == HydraConfig.get().job.name == "train"
    assert adapter.resolved(config)["name"] == "train"
    assert adapter.unresolved(config)["name"] == "${hydra:job.name}"
    assert "hydra" not in adapter.resolved(config)


def test_source_exists_for_folders_and_packages(tmp_path):
    assert adapter.source_exists(f"file://{tmp_path}")
    assert adapter.source_exists("pkg://hydra.conf")
    for place in (f"file://{tmp_path}/none", "pkg://nothing_of_this_name", "what://x"):
        assert not adapter.source_exists(place)


def test_our_parser_has_the_options_of_hydra():
    theirs, ours = (
        {tuple(sorted(action.option_strings)): action.nargs for action in parser._actions}
        for parser in (get_args_parser(), Parser())
    )
    assert ours == theirs


def start(*arguments, task=None):
    options = Parser().parse_intermixed_args(arguments)
    return adapter.start(options, "train", task, Parser())


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        (["--help"], "== Config =="),
        (["--hydra-help"], "Hydra"),
        (["--cfg=job", "seed=5"], "seed: 5"),
        (["--cfg=job", "--package=data"], "# @package data"),
        (["--info=searchpath"], "Provider"),
    ],
)
def test_start_shows_help_and_configs(arguments, shown, capfd):
    start(*arguments)
    out, err = capfd.readouterr()
    assert shown in out + err


def test_start_runs_a_task_once_with_its_config(tmp_path):
    seen = []
    before = list(sys.argv)
    start("seed=9", f"hydra.run.dir={tmp_path}", task=seen.append)
    assert [cfg.seed for cfg in seen] == [9]
    assert "hydra" not in seen[0]
    assert sys.argv == before


def test_start_runs_a_given_config_without_composing_again(tmp_path, monkeypatch):
    config = Composer("train").compose(["seed=9", f"hydra.run.dir={tmp_path}"]).config
    monkeypatch.setattr(ConfigLoaderImpl, "load_configuration", None)
    seen = []

    def task(cfg):
        seen.append((cfg.seed, "hydra" in cfg, HydraConfig.get().run.dir))

    adapter.start(Parser().parse_intermixed_args([]), "train", task, Parser(), config)
    assert seen == [(9, False, str(tmp_path))]


def test_a_task_may_compose_other_configs(tmp_path):
    config = Composer("train").compose(["seed=9", f"hydra.run.dir={tmp_path}"]).config
    seen = []

    def task(cfg):
        seen.extend([cfg.seed, compose("train", ["seed=3"]).seed])

    adapter.start(Parser().parse_intermixed_args([]), "train", task, Parser(), config)
    assert seen == [9, 3]


def test_start_gives_a_sweep_to_the_chosen_sweeper(tmp_path):
    seen = []

    def task(cfg):
        seen.append((cfg.seed, HydraConfig.get().job.num))

    sweep = ["hydra/sweeper=basic", f"hydra.sweep.dir={tmp_path}", adapter.MULTIRUN]
    with warnings.catch_warnings():
        start("seed=1,2", *sweep, task=task)
    assert seen == [(1, 0), (2, 1)]


def test_parsed_options_are_the_namespace_that_hydra_reads():
    options = Parser().parse_intermixed_args(["--cfg", "job", "a=1"])
    assert isinstance(options, Namespace)
    assert (options.cfg, options.overrides, options.help) == ("job", ["a=1"], False)
