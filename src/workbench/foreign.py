"""An adapter with which LightningModules of any class train, report and resume like our own."""

from collections.abc import Mapping, Sequence
from typing import Any

import lightning as L

from workbench.module import ReportingModule
from workbench.reports import Reports


def is_foreign(kind: Any) -> bool:
    """True for a class of LightningModules that is not a ReportingModule."""
    return (
        isinstance(kind, type)
        and issubclass(kind, L.LightningModule)
        and not issubclass(kind, ReportingModule)
    )


class _Adapted:
    """Mixin for a foreign class that records what it logs and changes nothing else."""

    _reports: Reports

    def log(self, name: str, value: Any, *positional: Any, **options: Any) -> None:
        """Log a value as Lightning does, under the module's name and ours."""
        names = ("prog_bar", "logger", "on_step", "on_epoch", "reduce_fx")
        options |= dict(zip(names, positional, strict=False))
        for metric, its_options in self._reports.record(name, value, options):
            super().log(metric, value, **its_options)  # type: ignore[misc]

    def configure_callbacks(self) -> Sequence[L.Callback]:
        """The module's own callbacks, and the one that reports."""
        own = super().configure_callbacks()  # type: ignore[misc]
        return [*(own if isinstance(own, Sequence) else [own]), self._reports]

    def on_train_epoch_end(self) -> None:
        super().on_train_epoch_end()  # type: ignore[misc]
        self._reports.report_epoch("train")

    def on_validation_epoch_end(self) -> None:
        super().on_validation_epoch_end()  # type: ignore[misc]
        self._reports.report_epoch("val")

    def on_test_epoch_end(self) -> None:
        super().on_test_epoch_end()  # type: ignore[misc]
        self._reports.report_epoch("test")


def adapted(kind: type, reports: Reports, arguments: Mapping[str, Any]) -> L.LightningModule:
    """An instance of a foreign class that reports; the names of its weights stay the same."""
    subclass = type(kind.__name__, (_Adapted, kind), {"__module__": kind.__module__})
    module: L.LightningModule = subclass(**arguments)
    module._reports = reports  # type: ignore[assignment]
    return module
