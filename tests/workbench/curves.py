"""Read a run's TensorBoard curves."""

from workbench.runs.curves import read_curves


def scalars_of(folder):
    """Tag → list of (step, value), of all curves of a run except those of its speed.

    The level of a test begins at step 0, where a resumed run logs the same point again.
    """
    curves = {
        tag: list(zip(*points, strict=True))
        for tag, points in read_curves(folder).items()
        if not tag.endswith("_per_second")
    }
    tested = {tag: [*dict.fromkeys(curves[tag])] for tag in curves if tag.startswith("test/")}
    return curves | tested
