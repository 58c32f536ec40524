"""The seam between workbench and project: one object of plain functions and values.

A project makes a `Project` in a module of its own and hands it over once, with `hand_over`. The
workbench asks that object for everything that it needs to know of the project.
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


def late(name: str) -> Callable[..., Any]:
    """The function called `package.module.function`, whose module is imported at the first call.

    `--help` and `--cfg job` are fast because nothing heavy is imported for them.
    """
    module, _, function = name.rpartition(".")

    def call(*arguments: Any, **named: Any) -> Any:
        return getattr(importlib.import_module(module), function)(*arguments, **named)

    return call


def itself(data: Any) -> Any:
    """The default of `few`: data that need no shortening."""
    return data


def as_it_is(config: Config, data: Any) -> Any:
    """The default of `adopt`: data modules that need no adaptation."""
    return data


def always(data: Any) -> bool:
    """The default of `is_known`."""
    return True


def nothing(*_: Any) -> Any:
    """The default of functions that a project does not need: no entries."""
    return {}


class Finding(NamedTuple):
    """A line of the doctor's report, and advice."""

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
        settings: () → a TypedDict of each script's config, by the script's name. That of `train`
            has all entries of `workbench.config.settings.RunSettings`.
        assemble: (config, data) → the module of a run; one of the user's own class is made by
            `workbench.foreign.adapted`.
        try_batch: (module, data) → the names of the terms and of the settings that a batch
            reports; raises ConfigError if its loss cannot be computed. The module's weights are on
            the device "meta", which has shapes and no values; where that raises anything, all is
            built and tried again on the CPU. Of a module of the user's own class it is not asked.
        adopt: (config, data) → the data module that a run works with, of one of the user's own.
        is_known: (data) → False if no module can be made before the data have been read.
        unused: (config) → settings that the user's own classes take no notice of, as beginnings of
            dotted names, with the reasons; typed, they are refused.
        rules: (config) → nothing; raises ConfigError for settings that do not fit one another.
        describe: (config, module, data) → lines about a run that starts, by their labels.
        meanings: (config, module, data) → the meanings of the run's metrics.
        derive: (metrics, module, data) → further metrics that follow from those measured.
        older: (config, source of the data, metrics) → the meanings and the derived metrics of a
            run that recorded neither.
        few: (data) → the same with a few of the examples that have been read, for two steps that
            are tried before a run begins.
        found: (data) → settings of the data that are known once they are prepared.
        given_later: arguments that `assemble` supplies itself, by the place of their target.
        beside: () → nodes nested under a target that are not its arguments, by the target's place,
            with their types.
        libraries: packages whose classes a config may name at one place only, by that place, beside
            those of `workbench.config.targets.LIBRARIES`.
        changes_nothing: settings, as patterns of dotted names, that do not change a run's metrics;
            added to the workbench's own.
        may_change: settings, as such patterns, that may change when a run is resumed, with the
            reasons; added to the workbench's own.
        unsaid: settings that configs of older versions lack, with the value that they all had;
            runs compare as if nobody had it.
        by_last_part: settings that are paths; runs are compared by the last part.
        after_training: commands that look closer at a trained run of the project's own modules, by
            their labels; `{run}` stands for the run folder, and a command that shows its curves is
            added.
        sweep_plots: (comparison) → plots of a sweep's page, by title; added to the workbench's own.
        thumbnails: (run folder) → plots of one trained run.
        checks: of the doctor; added to the workbench's own.
    """

    package: str
    root: Path
    settings: Callable[[], Mapping[str, type]]
    assemble: "Callable[[Config, Any], LightningModule]"
    try_batch: Callable[[Any, Any], tuple[list[str], list[str]]]
    meanings: Callable[[Config, Any, Any], Meanings]
    rules: Callable[[Config], Any] = nothing
    describe: Callable[[Config, Any, Any], Mapping[str, str]] = nothing
    adopt: Callable[[Config, Any], Any] = as_it_is
    is_known: Callable[[Any], bool] = always
    unused: Callable[[Config], Mapping[str, str]] = nothing
    derive: Callable[[Mapping[str, float], Any, Any], Mapping[str, float]] = nothing
    older: (
        Callable[[Config, str, Mapping[str, float]], tuple[Meanings, dict[str, float]]] | None
    ) = None
    found: Callable[[Any], Mapping[str, Any]] = nothing
    few: Callable[[Any], Any] = itself
    given_later: Mapping[str, set[str]] = field(default_factory=dict)
    beside: Callable[[], Mapping[str, Mapping[str, Any]]] = nothing
    libraries: Mapping[str, str] = field(default_factory=dict)
    changes_nothing: tuple[str, ...] = ()
    may_change: Mapping[str, str] = field(default_factory=dict)
    unsaid: Mapping[str, Any] = field(default_factory=dict)
    by_last_part: tuple[str, ...] = ()
    after_training: Mapping[str, str] = field(default_factory=dict)
    sweep_plots: "Callable[[Comparison], Mapping[str, Iterator[Plot]]]" = nothing
    thumbnails: "Callable[[Path], list[Plot]]" = nothing
    checks: tuple[Callable[[], Iterator[Finding]], ...] = ()

    @property
    def version(self) -> str:
        """The installed version of its package; `unknown` if it is not installed."""
        from importlib import metadata  # takes as long as all else that a script begins with

        try:
            return metadata.version(self.package)
        except metadata.PackageNotFoundError:
            return "unknown"

    @property
    def configs(self) -> Path:
        """The folder of its config files."""
        return self.root / "configs"


_given: list[Project] = []


def hand_over(project: Project) -> Project:
    """Make a project the one that this process works on."""
    _given[:] = [project]
    return project


def the_project() -> Project:
    """The project that was handed over; a RuntimeError if none was."""
    if not _given:
        raise RuntimeError(
            "no project was handed over: import the module that calls workbench.project.hand_over"
        )
    return _given[0]
