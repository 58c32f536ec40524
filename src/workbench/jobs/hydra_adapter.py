"""The only use of Hydra's internals, which another version of Hydra may move or change.

`tests/workbench/test_hydra_adapter.py` tests the behaviour of Hydra that each function relies on.
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
from hydra.core.utils import configure_log
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, RunMode
from omegaconf import DictConfig, OmegaConf, flag_override

MULTIRUN = "hydra.mode=MULTIRUN"
"""The override that marks each job of a sweep."""


@contextmanager
def opened(configs: Path, script: str, config_dir: str | None = None) -> Iterator[None]:
    """Initialize Hydra for the other functions of this module, until the context ends.

    The folder of `--config-dir` may hold the primary config.
    """
    before, GlobalHydra.instance().hydra = GlobalHydra.instance().hydra, None
    try:
        with initialize_config_dir(str(configs), job_name=script, version_base="1.3"):
            if config_dir:
                loader = _loader()
                folder = f"file://{Path(config_dir).absolute()}"
                loader.config_search_path.prepend("command-line", folder, "schema")
                loader.repository.initialize_sources(loader.config_search_path)
            yield
    finally:
        GlobalHydra.instance().hydra = before


def parse_override(text: str) -> Override:
    """Parse an override by Hydra's grammar.

    Raises:
        HydraException: if it cannot be parsed.
        ValueError: if a function in it is given wrong arguments.
    """
    parser = OverridesParser.create(_loader())  # `glob` needs the loader to look for files
    return parser.parse_overrides([text])[0]


def is_listed(override: Override) -> bool:
    """Whether an override is written `a,b`, which the user may mean as a list or as a text."""
    return override.value_type == ValueType.SIMPLE_CHOICE_SWEEP


def strings_of(override: Override) -> Iterator[str]:
    """The overrides of single jobs that an override expands to: one for each of its values.

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
    """Numbers from `low` to `high`, both included, in steps if `step` is not None; and tags."""

    low: float
    high: float
    step: float | None
    tags: set[str]


def numbers_of(override: Override) -> Numbers | None:
    """The numbers of an interval or a range; None for an override of another kind.

    Raises:
        ValueError: if a range holds no number.
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
    """The values that an override lists: numbers as they are, others as text of an override."""

    def plain(value: Any) -> Any:
        return value if isinstance(value, int | float) else Transformer.str(value)

    return [*override.sweep_iterator(transformer=plain)]


def groups_of(config_name: str, searchpath: Sequence[str]) -> Callable[[str], list[str]]:
    """A function that lists the files of a group; empty if there is no such group.

    The primary config is read once, for its search path, which `searchpath` overrides.
    """
    _, repository = _loader()._parse_overrides_and_create_caching_repo(config_name, [*searchpath])
    return repository.get_group_options


def defaults_of(config_name: str, overrides: Sequence[str]) -> list[tuple[str, str]]:
    """The files that are composed, in order, each as its path and its package."""
    listed = _loader().compute_defaults_list(config_name, [*overrides], RunMode.RUN).defaults
    return [(str(file.config_path), file.package or "") for file in listed]


def roots_of(config: DictConfig) -> list[Path]:
    """The folders in which Hydra looked for the files of a composed config."""
    sources = config.hydra.runtime.config_sources
    return [Path(source.path) for source in sources if source.schema == "file"]


def set_value(config: DictConfig, override: Override) -> None:
    """Set a value in a composed config, as Hydra does once all files are merged.

    Raises:
        HydraException: if the value does not fit there.
        OmegaConfBaseException: likewise.
    """
    ConfigLoaderImpl._apply_overrides_to_config([override], config)


def is_closed(config: DictConfig, key: str) -> bool:
    """Whether a new setting would lie in a part of Hydra's own settings that takes no new ones."""
    while key.startswith("hydra."):
        key = key.rpartition(".")[0]
        node = OmegaConf.select(config, key, throw_on_resolution_failure=False)
        if node is not None:
            return is_dataclass(OmegaConf.get_type(node))
    return False


def record_overrides(config: DictConfig, overrides: Iterable[Override], number: int | None) -> None:
    """Record the overrides of a job, and its number if it is one of a sweep, as Hydra does."""
    hydra = config.hydra
    own = [override for override in overrides if override.is_hydra_override()]
    task = [override for override in overrides if not override.is_hydra_override()]
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


def set_hydra_config(config: DictConfig) -> None:
    """Make `${hydra:...}` refer to this composed config, without the copy that Hydra makes."""
    HydraConfig.instance().cfg = config  # type: ignore[assignment]


def is_sweep(hydra: Any) -> bool:
    """Whether Hydra's settings belong to a job of a sweep."""
    return hydra.mode == RunMode.MULTIRUN


def source_exists(source: str) -> bool:
    """Whether an entry of `hydra.searchpath`, such as `file:///mine`, exists."""
    scheme = source.partition("://")[0] if "://" in source else "file"
    try:
        return SourcesRegistry.instance().resolve(scheme)("searchpath", source).available()
    except (ImportError, ValueError):
        return False


def is_serial(launcher: Launcher) -> bool:
    """Whether a launcher runs its jobs one after the other."""
    kind = type(launcher)  # compared by name: Hydra imports its plugins a second time
    return (kind.__module__, kind.__name__) == (BasicLauncher.__module__, BasicLauncher.__name__)


class _SweepLoader:
    def __init__(self, compose: Callable[[Sequence[str]], DictConfig]) -> None:
        self.compose = compose

    def load_sweep_config(self, sweep: DictConfig, overrides: Sequence[str]) -> DictConfig:
        """Compose a job and leave `${hydra:...}` as it is: the launcher sets it for each job."""
        before = HydraConfig.instance().cfg
        own: Any = OmegaConf.to_container(sweep.hydra.overrides.hydra)  # unresolved
        config = self.compose([*own, *overrides])
        OmegaConf.copy_cache(from_config=sweep, to_config=config)
        HydraConfig.instance().cfg = before
        return config


def compose_by(compose: Callable[[Sequence[str]], DictConfig], launcher: Any) -> None:
    """Make a serial launcher compose jobs by `compose`: overrides → config, with Hydra's settings.

    Hydra would read all files again for each job, which takes as long as a job of a few steps.
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
    """Carry out a command line, as `hydra.main` would; return the sweeper's result for a sweep.

    Args:
        options: the parsed command line, with overrides that fit.
        config_name: the primary config.
        task: runs one job.
        parser: of the options, for `--help`.
        composed: the config of a single job, if it is composed already.
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
        # With `hydra.verbose`, Hydra prints how it composes, so it has to compose again.
        if composed is not None and not composed.hydra.verbose:
            configure_log(composed.hydra.hydra_logging, composed.hydra.verbose)

            def once(**_: Any) -> DictConfig:
                del hydra.compose_config  # the task may compose other configs
                return composed

            hydra.compose_config = once
        hydra.run(**named, task_function=task)
    return None


def unresolved(config: DictConfig, *, hydra: bool = True) -> Any:
    """A composed config as plain values, with its interpolations, and with Hydra's own settings."""
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
        OmegaConfBaseException: if an interpolation cannot be resolved.
    """
    values: dict[str, Any] = {str(key): config[key] for key in config if key != "hydra"}
    return {
        key: OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value
        for key, value in values.items()
    }


def _loader() -> Any:
    return GlobalHydra.instance().config_loader()
