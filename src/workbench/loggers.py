"""TensorBoard's logger."""

from collections.abc import Mapping

from lightning.pytorch.loggers import TensorBoardLogger


class TensorBoard(TensorBoardLogger):
    """Lightning's logger, without the chart of the epoch that Lightning logs with each metric."""

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Log all metrics but the epoch."""
        super().log_metrics({n: v for n, v in metrics.items() if n != "epoch"}, step)
