"""All that is used of Hydra's inside: undocumented names, which a new Hydra may move or change.

`tests/workbench/test_hydra_adapter.py` says of each function here what it counts on.
"""

import math
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import is_dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

from hydra import initialize_config_dir
from hydra._internal.config_loader_impl import ConfigLoaderImpl, get_overrides_dirname
from hydra._internal.core_plugins.basic_launcher import BasicLauncher
from hydra._internal.sources_registry import SourcesRegistry
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, Transformer, ValueType
from hydra.core.plugins import Plugins
from hydra.core.utils import configure_log
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, RunMode
from omegaconf import DictConfig, OmegaConf, flag_override

MULTIRUN = "hydra.mode=MULTIRUN"
"""By this each job of a sweep knows that it is one."""


@contextmanager
def opened(configs: Path, script: str, more: str | None = None) -> Iterator[None]:
    """Set up the Hydra that the other functions here use, for as long as it is open.

    Args:
        configs: the folder of the config files.
        script: the name of the script.
        more: another folder, that of `--config-dir`, which may hold the primary config.
    """
    before, GlobalHydra.instance().hydra = GlobalHydra.instance().hydra, None
    try:
        with initialize_config_dir(str(configs), job_name=script, version_base="1.3"):
            if more:
                loader = _loader()
                place = f"file://{Path(more).absolute()}"
                loader.config_search_path.prepend("command-line", place, "schema")
                loader.repository.initialize_sources(loader.config_search_path)
            yield
    finally:
        GlobalHydra.instance().hydra = before


def read(text: str) -> Override:
    """An override, as Hydra's grammar reads it.

    Raises:
        HydraException: if it does not.
        ValueError: for a function with arguments that it does not take.
    """
    parser = OverridesParser.create(_loader())  # the loader for `glob`, which looks for files
    return parser.parse_overrides([text])[0]


def is_listed(override: Override) -> bool:
    """Whether an override is written `a,b`, which may be meant as a list or as a text."""
    return override.value_type == ValueType.SIMPLE_CHOICE_SWEEP


def is_of_hydra(override: Override) -> bool:
    """Whether an override is for Hydra itself, and not for the job."""
    return override.is_hydra_override()


def value_of(override: Override) -> Any:
    """The value that an override gives, as a plain one."""
    return override.value()


def strings_of(override: Override) -> Iterator[str]:
    """The overrides of single jobs that one with several values stands for; or the one it is.

    Raises:
        ValueError: for a range without a step.
    """
    key = override.get_key_element()
    if not override.is_sweep_override():
        yield f"{key}={override.get_value_element_as_str()}"
    elif override.is_interval_sweep():
        interval: Any = override.value()
        yield f"{key}={interval.start}"
    else:
        for value in override.sweep_string_iterator():
            yield f"{key}={value}"


class Numbers(NamedTuple):
    """Numbers from `low` to `high`, both included: all, or those in steps; and their tags."""

    low: float
    high: float
    step: float | None
    tags: set[str]


def numbers_of(override: Override) -> Numbers | None:
    """The numbers that an interval or a range stands for; None for an override of another kind.

    Raises:
        ValueError: if there is none.
    """
    sweep: Any = override.value()
    if override.is_interval_sweep():
        return Numbers(sweep.start, sweep.end, None, sweep.tags)
    if not override.is_range_sweep():
        return None
    if sweep.step == 0:
        raise ValueError("a range needs a step")
    count = math.ceil((Decimal(sweep.stop) - Decimal(sweep.start)) / Decimal(sweep.step))
    if count < 1:
        raise ValueError("holds no value")
    ends = sweep.start, sweep.start + (count - 1) * sweep.step
    return Numbers(min(ends), max(ends), abs(sweep.step), sweep.tags)


def choices_of(override: Override) -> list[Any]:
    """The values of an override that lists them: numbers as such, others as an override's texts."""

    def plain(value: Any) -> Any:
        return value if isinstance(value, int | float) else Transformer.str(value)

    return [*override.sweep_iterator(transformer=plain)]


def folder_settings(hydra: Any) -> list[str]:
    """Hydra's settings that name the folder of a job of a sweep, as they are written."""
    written = OmegaConf.to_container(hydra.sweep)
    return [str(value) for value in written.values()]  # type: ignore[union-attr]


def groups_of(config_name: str, searched: Sequence[str]) -> Callable[[str], list[str]]:
    """A function that lists the files of a group: none, if there is no such group.

    Args:
        config_name: the config whose search path counts; it is read here, and once.
        searched: the override of `hydra.searchpath`, if there is one.
    """
    _, repository = _loader()._parse_overrides_and_create_caching_repo(config_name, [*searched])
    return repository.get_group_options


def defaults_of(config_name: str, overrides: Sequence[str]) -> list[tuple[str, str]]:
    """The files that are composed, in their order: the path of each, and its package."""
    listed = _loader().compute_defaults_list(config_name, [*overrides], RunMode.RUN).defaults
    return [(str(file.config_path), file.package or "") for file in listed]


def roots_of(config: DictConfig) -> list[Path]:
    """The folders in which the files of a composed config were looked for."""
    sources = config.hydra.runtime.config_sources
    return [Path(source.path) for source in sources if source.schema == "file"]


def set_value(config: DictConfig, override: Override) -> None:
    """Set a value in a composed config, as Hydra does after it has merged all files.

    Raises:
        HydraException: if it does not fit there.
        OmegaConfBaseException: likewise.
    """
    ConfigLoaderImpl._apply_overrides_to_config([override], config)


def is_fixed(config: DictConfig, key: str) -> bool:
    """Whether a setting would be new in a part of Hydra's own settings that takes no new ones."""
    while key.startswith("hydra."):
        key = key.rpartition(".")[0]
        node = OmegaConf.select(config, key, throw_on_resolution_failure=False)
        if node is not None:
            return is_dataclass(OmegaConf.get_type(node))
    return False


def record(config: DictConfig, overrides: Iterable[Override], number: int | None) -> None:
    """Write into a composed config what Hydra writes there of the overrides of a job.

    Args:
        config: composed of some of them, with the values of the others set.
        overrides: all of them.
        number: of the job in its sweep.
    """
    hydra = config.hydra
    own = [override for override in overrides if is_of_hydra(override)]
    task = [override for override in overrides if not is_of_hydra(override)]
    parts = hydra.job.config.override_dirname
    with flag_override(hydra, ["struct", "readonly"], False):
        hydra.overrides.hydra = [override.input_line for override in own]
        hydra.overrides.task = [override.input_line for override in task]
        hydra.job.override_dirname = get_overrides_dirname(
            task,
            kv_sep=parts.kv_sep,
            item_sep=parts.item_sep,
            exclude_keys=parts.exclude_keys,
        )
        if number is not None:
            hydra.mode = RunMode.MULTIRUN
            hydra.job.num = hydra.job.id = number


def use(config: DictConfig) -> None:
    """Let `${hydra:...}` mean this composed config, without the copy that Hydra makes."""
    HydraConfig.instance().cfg = config  # type: ignore[assignment]


def is_sweep(hydra: Any) -> bool:
    """Whether Hydra's settings are those of a job of a sweep."""
    return hydra.mode == RunMode.MULTIRUN


def is_place_there(place: str) -> bool:
    """Whether there is a folder or package of config files, such as `file:///mine`."""
    scheme = place.partition("://")[0] if "://" in place else "file"
    try:
        return SourcesRegistry.instance().resolve(scheme)("searchpath", place).available()
    except (ImportError, ValueError):
        return False


def launcher_of(
    config: DictConfig, context: HydraContext, task: Callable[[DictConfig], Any]
) -> Launcher:
    """The launcher that a sweep's settings choose, ready to launch."""
    return Plugins.instance().instantiate_launcher(
        config=config, hydra_context=context, task_function=task
    )


def is_serial(launcher: Launcher) -> bool:
    """Whether a launcher does its jobs one after the other."""
    kind = type(launcher)  # Hydra imports its plugins anew, so the class is not the one above
    return (kind.__module__, kind.__name__) == (BasicLauncher.__module__, BasicLauncher.__name__)


class _SweepLoader:
    def __init__(self, compose: Callable[[Sequence[str]], DictConfig]) -> None:
        self.compose = compose

    def load_sweep_config(self, sweep: DictConfig, overrides: Sequence[str]) -> DictConfig:
        """The config of a job, whose `${hydra:...}` is read only when the launcher says so."""
        before = HydraConfig.instance().cfg
        own: Any = OmegaConf.to_container(sweep.hydra.overrides.hydra)  # what is `${...}` stays so
        config = self.compose([*own, *overrides])
        OmegaConf.copy_cache(from_config=sweep, to_config=config)
        HydraConfig.instance().cfg = before
        return config


def compose_by(compose: Callable[[Sequence[str]], DictConfig], launcher: Any) -> None:
    """Let a serial launcher get the configs of its jobs from `compose`.

    Hydra would read all files again for each job, which takes as long as a job of a few steps.

    Args:
        compose: overrides of a job → its config with Hydra's own settings.
        launcher: does one job after the other.
    """
    loader: Any = _SweepLoader(compose)
    launcher.hydra_context = HydraContext(loader, launcher.hydra_context.callbacks)


def start(
    options: Namespace,
    config_name: str,
    task: Callable[[DictConfig], Any],
    parser: ArgumentParser,
    composed: DictConfig | None = None,
) -> Any:
    """Do what a command line asks for, as `hydra.main` would; what the sweeper returns.

    Args:
        options: of the command line, with overrides that fit.
        config_name: the config that is composed.
        task: does one job.
        parser: of the options, for `--help`.
        composed: what the overrides of a single job compose, which is not done again.
    """
    hydra: Any = GlobalHydra.instance().hydra
    named = {"config_name": config_name, "overrides": options.overrides}
    shown = {"config_name": config_name, "args_parser": parser, "args": options}
    if options.help:
        hydra.app_help(**shown)
    elif options.hydra_help:
        hydra.hydra_help(**shown)
    elif options.cfg:
        part = {"cfg_type": options.cfg, "package": options.package, "resolve": options.resolve}
        hydra.show_cfg(**named, **part)
    elif options.shell_completion:
        hydra.shell_completion(**named)
    elif options.info:
        hydra.show_info(options.info, **named)
    elif MULTIRUN in options.overrides:
        return hydra.multirun(**named, task_function=task)
    else:
        if composed is not None and not composed.hydra.verbose:  # which prints how it composes
            configure_log(composed.hydra.hydra_logging, composed.hydra.verbose)

            def once(**_: Any) -> DictConfig:
                del hydra.compose_config  # what the task composes is another config
                return composed

            hydra.compose_config = once
        hydra.run(**named, task_function=task)
    return None


def written(config: DictConfig, *, hydra: bool = True) -> Any:
    """A composed config as plain values, with interpolations as they are written.

    Args:
        config: composed.
        hydra: whether Hydra's own settings are in it.
    """
    if hydra:
        return OmegaConf.to_container(config)
    nodes: dict[str, Any] = {str(k): config._get_node(k) for k in config if k != "hydra"}
    return {
        name: OmegaConf.to_container(node) if OmegaConf.is_config(node) else node._value()
        for name, node in nodes.items()
    }


def resolved(config: DictConfig) -> dict[str, Any]:
    """A composed config as plain values, without Hydra's own settings.

    Raises:
        OmegaConfBaseException: if an interpolation leads nowhere.
    """
    values: dict[str, Any] = {str(key): config[key] for key in config if key != "hydra"}
    return {
        key: OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value
        for key, value in values.items()
    }


def sweeper_of(hydra: Any) -> Any:
    """The sweeper's settings in Hydra's, as plain values, resolved.

    Raises:
        OmegaConfBaseException: if an interpolation leads nowhere.
    """
    return OmegaConf.to_container(hydra.sweeper, resolve=True)


def _loader() -> Any:
    return GlobalHydra.instance().config_loader()
