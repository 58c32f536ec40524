"""Compare runs that are trained as one stacked model with the same runs trained alone."""

import json

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from workbench.stacked.launch import run_jobs
from workbench.sweeps.job import run_job

SHORT = (
    "data.source=sample",
    "data.batch_size=600",  # of 4,000 images, so that the last batch is smaller
    "trainer.accelerator=cpu",
    "trainer.max_epochs=2",
    "model.network.encoder_sizes=[16]",
    "model.network.decoder_sizes=[16]",
    "trainer.log_every_n_steps=2",
    "callbacks.image_panel=null",
    "callbacks.latent_panel=null",
)
SMOOTH = ("model=vae", "model/likelihood=gaussian", "optimizer.lr=1e-2")
"""A loss without the kinks of the Laplace density, at which a rounding error flips a gradient."""


def jobs_of(compose_launch, parent, *lists):
    """The jobs of a sweep in the folder `parent`, one for each list of overrides."""
    launches = [compose_launch(*SHORT, *overrides) for overrides in lists]
    place = {"parent": parent, "in_sweep": True}
    return [each._replace(name=f"job{i}", **place) for i, each in enumerate(launches)]


def records(job):
    """The metrics, curves, and best and last checkpoints of a job."""
    folder = job.parent / job.name
    board = EventAccumulator(str(folder)).Reload()
    curves = {
        tag: [(event.step, event.value) for event in board.Scalars(tag)]
        for tag in board.Tags()["scalars"]
        if not tag.endswith(("_step", "_per_second"))
    }
    # The level of a test begins at step 0, also that of a test before the run was resumed.
    curves |= {tag: points[-1:] for tag, points in curves.items() if tag.startswith("test/")}
    load = {"map_location": "cpu", "weights_only": True}
    checkpoints = [torch.load(folder / f"checkpoints/{n}.ckpt", **load) for n in ("best", "last")]
    return json.loads((folder / "metrics.json").read_text()), curves, checkpoints


def flat(values, path=()):
    """Yield (path, leaf) of nested dicts and lists."""
    if isinstance(values, dict):
        values = values.items()
    elif isinstance(values, list | tuple):
        values = enumerate(values)
    else:
        yield path, values
        return
    for name, value in values:
        yield from flat(value, (*path, name))


def check_same_run(job, other, rel):
    """Check that two jobs have the same metrics, curves and checkpoints, up to rounding."""
    (metrics, curves, checkpoints), (known, other_curves, other_checkpoints) = map(
        records, (job, other)
    )
    assert metrics["status"] == known["status"] == "completed"
    assert metrics["metrics"] == pytest.approx(known["metrics"], rel=rel)
    assert metrics["weights"] == known["weights"]
    assert curves.keys() == other_curves.keys()
    for tag, points in curves.items():
        assert [step for step, _ in points] == [step for step, _ in other_curves[tag]]
        assert [v for _, v in points] == pytest.approx([v for _, v in other_curves[tag]], rel=rel)
    for mine, theirs in zip(checkpoints, other_checkpoints, strict=True):
        for each in (mine, theirs):
            each["loops"]["fit_loop"]["state_dict"] = {}  # the loader's
        values, others = dict(flat(mine)), dict(flat(theirs))
        assert values.keys() == others.keys()
        for path, value in values.items():
            if isinstance(value, torch.Tensor):
                assert value.dtype == others[path].dtype
                assert value.shape == others[path].shape
            if isinstance(value, torch.Tensor) and rel < 1e-3:
                torch.testing.assert_close(value, others[path], rtol=1e-2, atol=1e-3)
    last, other_last = (dict(flat(c[1]["loops"])) for c in (checkpoints, other_checkpoints))
    assert last == other_last
    assert checkpoints[0]["global_step"] == other_checkpoints[0]["global_step"]


def check_stacked(jobs, varied, rel):
    """Check that runs with these overrides are the same in a stack as alone."""
    alone, stacked = jobs("alone", *varied), jobs("stacked", *varied)
    for job in alone:
        run_job(job)
    run_jobs(stacked, 64)
    for job, other in zip(stacked, alone, strict=True):
        check_same_run(job, other, rel)


def check_left_alone(jobs, overrides, capsys, reason):
    """Check that two runs with these overrides are trained one by one, and the log says why."""
    run = ("trainer.max_epochs=1", "data.num_workers=0", *overrides)
    stacked = jobs("stacked", *((*run, f"seed={seed}") for seed in (0, 1)))
    run_jobs(stacked, 64)
    output = capsys.readouterr().out
    assert reason in output
    assert "is trained alone: " in output or "are trained one by one: " in output
    for job in stacked:
        metrics = json.loads((job.parent / job.name / "metrics.json").read_text())
        assert metrics["status"] == "completed"
