"""The curves of a run, read back from TensorBoard's events."""

from pathlib import Path

from tensorboard.backend.event_processing.event_accumulator import (
    DEFAULT_SIZE_GUIDANCE,
    SCALARS,
    EventAccumulator,
)

Curves = dict[str, tuple[list[int], list[float]]]
"""Name → steps and values."""


def read_curves(folder: Path) -> Curves:
    """Every scalar that a run logged; none where it logged to TensorBoard nothing."""
    # Every scalar, and as little as can be of all else.
    sizes = {**dict.fromkeys(DEFAULT_SIZE_GUIDANCE, 1), SCALARS: 0}
    events = EventAccumulator(str(folder), size_guidance=sizes)
    try:
        events.Reload()
    except (OSError, ValueError):  # a folder of such a name, or a name that is not text
        return {}
    return {
        tag: ([e.step for e in events.Scalars(tag)], [e.value for e in events.Scalars(tag)])
        for tag in events.Tags()[SCALARS]
    }
