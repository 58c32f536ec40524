"""The seam between workbench and project: one object of plain functions and values.

A project makes a `Project` in a module of its own and hands it over once, with `hand_over`. The
workbench learns from that object alone what it needs to know about the project.
"""

import importlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from workbench.meaning import Meanings

if TYPE_CHECKING:
    from lightning import LightningModule

    from workbench.sweeps.compare import Comparison
    from workbench.sweeps.plots import Plot

Config = dict[str, Any]
"""A resolved config: plain dicts, lists and values."""


def lazy(name: str) -> Callable[..., Any]:
    """The function `package.module.function`, whose module is imported at the first call.

    So nothing heavy is imported for `--help` and `--cfg job`.
    """
    module, _, function = name.rpartition(".")

    def call(*args: Any, **kwargs: Any) -> Any:
        return getattr(importlib.import_module(module), function)(*args, **kwargs)

    return call


def _same_data(*arguments: Any) -> Any:
    """The last argument, unchanged."""
    return arguments[-1]


def _no_entries(*_: Any) -> Any:
    return {}


class Finding(NamedTuple):
    """A line of the doctor's report, with advice."""

    level: Literal["ok", "note", "PROBLEM"]
    about: str
    what: str
    advice: str = ""


@dataclass(frozen=True)
class Project:
    """A project, as the workbench sees it.

    Args:
        package: the name of its package, whose public classes configs may name.
        root: the repository, with `configs/` and `scripts/`.
        settings: () → a TypedDict for the config of each script, by the script's name. That of
            `train` has all entries of `workbench.config.settings.RunSettings`.
        assemble: (config, data) → the module of a run; a foreign module is made by
            `workbench.foreign.adapted`.
        try_batch: (module, data) → the names of the terms and of the settings that a batch
            reports; raises ConfigError if its loss cannot be computed. The module's weights are on
            the device "meta", which has shapes and no values; if anything is raised there, the
            module is built and tried again on the CPU. Not called for a foreign module.
        adopt: (config, data) → the data module to use in place of the user's own.
        can_assemble: (data) → whether a module can be made before the data have been read.
        unused: (config) → settings that the user's own classes do not use, as prefixes of dotted
            names, with the reasons; they are refused in overrides.
        rules: (config) → nothing; raises ConfigError for settings that contradict one another.
        describe: (config, module, data) → lines about a run that starts, by label.
        meanings: (config, module, data) → the meanings of the run's metrics.
        derive: (metrics, module, data) → further metrics that follow from those measured.
        older_meanings: (config, source of the data, metrics) → the meanings and the derived metrics
            of a run that recorded neither.
        shorten: (data) → the data with only a few of the examples that were read, for a rehearsal.
        data_facts: (data) → facts about data that are known once they are prepared; those that are
            settings are put into the config.
        given_later: arguments that `assemble` supplies itself, by the place of their target.
        extra_nodes: () → nodes under a target that are not its arguments, with their types, by the
            target's place.
        libraries: further packages whose classes a config may name at one place only, by place;
            added to `workbench.config.targets.LIBRARIES`.
        changes_nothing: patterns of dotted names of settings that do not change a run's metrics;
            added to the workbench's own.
        may_change: patterns of settings that may change when a run is resumed, with the reasons;
            added to the workbench's own.
        may_not_change: (config) → those of these settings, by name, that a run keeps nevertheless,
            with the reasons.
        former_values: settings that configs of older versions lack, with the value that all runs
            had then; runs are compared without a setting of that value.
        by_last_part: settings that are paths; runs are compared by the last part.
        after_training: commands to inspect a trained run of the project's own modules, by label;
            `{run}` stands for the run folder. A command that shows its curves is added.
        sweep_plots: (comparison) → plots for the page of a sweep, by title; added to the
            workbench's own.
        thumbnails: (run folder) → plots of one trained run.
        checks: checks of the doctor; added to the workbench's own.
    """

    package: str
    root: Path
    settings: Callable[[], Mapping[str, type]]
    assemble: "Callable[[Config, Any], LightningModule]"
    try_batch: Callable[[Any, Any], tuple[list[str], list[str]]]
    meanings: Callable[[Config, Any, Any], Meanings]
    rules: Callable[[Config], Any] = _no_entries
    describe: Callable[[Config, Any, Any], Mapping[str, str]] = _no_entries
    adopt: Callable[[Config, Any], Any] = _same_data
    can_assemble: Callable[[Any], bool] = lambda data: True
    unused: Callable[[Config], Mapping[str, str]] = _no_entries
    derive: Callable[[Mapping[str, float], Any, Any], Mapping[str, float]] = _no_entries
    older_meanings: (
        Callable[[Config, str, Mapping[str, float]], tuple[Meanings, dict[str, float]]] | None
    ) = None
    data_facts: Callable[[Any], Mapping[str, Any]] = _no_entries
    shorten: Callable[[Any], Any] = _same_data
    given_later: Mapping[str, set[str]] = field(default_factory=dict)
    extra_nodes: Callable[[], Mapping[str, Mapping[str, Any]]] = _no_entries
    libraries: Mapping[str, str] = field(default_factory=dict)
    changes_nothing: tuple[str, ...] = ()
    may_change: Mapping[str, str] = field(default_factory=dict)
    may_not_change: Callable[[Config], Mapping[str, str]] = _no_entries
    former_values: Mapping[str, Any] = field(default_factory=dict)
    by_last_part: tuple[str, ...] = ()
    after_training: Mapping[str, str] = field(default_factory=dict)
    sweep_plots: "Callable[[Comparison], Mapping[str, Iterator[Plot]]]" = _no_entries
    thumbnails: "Callable[[Path], list[Plot]]" = _no_entries
    checks: tuple[Callable[[], Iterator[Finding]], ...] = ()

    @property
    def version(self) -> str:
        """The installed version of the package; `unknown` if it is not installed."""
        from importlib import metadata  # doubles the time in which a script starts

        try:
            return metadata.version(self.package)
        except metadata.PackageNotFoundError:
            return "unknown"

    @property
    def configs(self) -> Path:
        """The folder of the config files."""
        return self.root / "configs"


_current: list[Project] = []


def hand_over(project: Project) -> Project:
    """Make a project the one that this process works on."""
    _current[:] = [project]
    return project


def the_project() -> Project:
    """The project that was handed over; a RuntimeError if none was."""
    if not _current:
        raise RuntimeError(
            "no project was handed over: import the module that calls workbench.project.hand_over"
        )
    return _current[0]
