"""What TensorBoard shows of a run."""

from workbench.runs.curves import read_curves


def scalars_of(folder):
    """The curves of a run, but for its speed: tag → (step, value)s."""
    return {
        tag: list(zip(*points, strict=True))
        for tag, points in read_curves(folder).items()
        if not tag.endswith("_per_second")
    }
