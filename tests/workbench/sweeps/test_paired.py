"""Differences of settings, paired over the same test examples and seeds."""

import math
import zipfile

import numpy as np
import pytest
from scipy import stats

from workbench.meaning import Meaning, Meanings
from workbench.runs.values import FILE, read_values, write_values
from workbench.sweeps.collect import SweepRun
from workbench.sweeps.compare import compare
from workbench.sweeps.paired import Gap, gaps_to_best, t_quantile

MEANINGS = Meanings(
    {
        "loss": Meaning("squared", ("points",)),
        "gain": Meaning("squared", ("points",), "higher"),
        "scaled": Meaning("squared", ("points",), repeats="loss"),
    }
)


def run_of(folder, name, values, *, width=1, seed=0, kept=True, shift=0.0):
    """A completed run with these values of the metric `name` on the test examples."""
    path = folder / f"width={width},seed={seed}"
    path.mkdir()
    values = np.asarray(values, dtype=np.float64)
    if kept:
        write_values(path, {name: values.astype(np.float32)})
    mean = float(values.mean())
    return SweepRun(
        path,
        "completed",
        settings={"width": width, "seed": seed},
        swept=("width", "seed"),
        metrics={f"test/{name}": mean, "test/scaled": mean + shift},
        meanings=MEANINGS,
    )


def test_the_error_of_a_gap_is_that_of_the_differences_per_example(tmp_path):
    dice = np.random.default_rng(0)
    hard = 100 * dice.standard_normal(1000)  # examples differ far more than the two settings do
    better, worse = hard, hard + 1 + 0.5 * dice.standard_normal(1000)
    runs = [run_of(tmp_path, "loss", better), run_of(tmp_path, "loss", worse, width=2)]
    best, gap = gaps_to_best(compare(runs, "test/loss"), "test/loss").values()
    assert best.value == 0
    assert gap.value == pytest.approx((worse - better).mean(), rel=1e-4)
    assert gap.over_examples == pytest.approx(np.std(worse - better, ddof=1) / 1000**0.5, rel=1e-4)
    assert gap.over_examples < 0.1 < better.std() / 1000**0.5
    assert gap.examples == 1000
    assert math.isnan(gap.over_seeds)
    assert not gap.may_be_chance


def test_seeds_are_paired_if_both_settings_have_the_same_seeds(tmp_path):
    lucky = {0: 0.0, 1: 50.0, 2: -30.0}  # the seed matters far more than the setting
    losses = {(w, s): x + w + 0.1 * s * w for w in (1, 2) for s, x in lucky.items()}
    runs = [
        run_of(tmp_path, "loss", [loss] * 2, width=w, seed=s, kept=False)
        for (w, s), loss in losses.items()
    ]
    _, gap = gaps_to_best(compare(runs, "test/loss"), "test/loss").values()
    differences = [losses[2, s] - losses[1, s] for s in lucky]
    assert gap.same_seeds
    assert gap.seeds == 3
    assert gap.over_seeds == pytest.approx(np.std(differences, ddof=1) / 3**0.5)
    assert math.isnan(gap.over_examples)
    assert not gap.may_be_chance


@pytest.mark.parametrize("seeds", [2, 3, 5])
@pytest.mark.parametrize("over_examples", [math.nan, 0.5])
def test_a_difference_by_chance_is_taken_for_a_real_one_in_at_most_a_twentieth(
    seeds, over_examples
):
    """Draws of settings that do not differ: the standard error over few seeds is often small."""
    dice = np.random.default_rng(0)
    draws = dice.standard_normal((4000, seeds))
    means = draws.mean(1) + np.nan_to_num(over_examples) * dice.standard_normal(4000)
    errors = draws.std(1, ddof=1) / seeds**0.5
    taken = [
        not Gap(abs(mean), over_examples, error, 1000, seeds, True).may_be_chance
        for mean, error in zip(means, errors, strict=True)
    ]
    assert 0.01 < np.mean(taken) < 0.06


@pytest.mark.parametrize("freedom", [*range(1, 12), 100, 10_000])
def test_the_quantiles_of_students_t_are_those_of_scipy(freedom):
    assert t_quantile(freedom) == pytest.approx(stats.t.ppf(0.975, freedom), rel=0.01)


def test_with_test_examples_alone_two_standard_errors_are_no_chance():
    assert Gap(1.95, 1.0, math.nan, 10_000, 1, False).may_be_chance
    assert not Gap(1.97, 1.0, math.nan, 10_000, 1, False).may_be_chance
    assert not Gap(1.0, math.nan, math.nan, 0, 1, False).may_be_chance


def test_settings_with_equal_values_may_differ_by_chance(tmp_path):
    runs = [run_of(tmp_path, "loss", [1, 2, 3], width=width) for width in (1, 2)]
    _, gap = gaps_to_best(compare(runs, "test/loss"), "test/loss").values()
    assert (gap.value, gap.error) == (0, 0)
    assert gap.may_be_chance


def test_different_seeds_are_not_paired(tmp_path):
    runs = [
        run_of(tmp_path, "loss", [loss] * 2, width=width, seed=seed, kept=False)
        for width, seed, loss in ((1, 0, 1.0), (1, 1, 3.0), (2, 0, 2.0), (2, 2, 6.0))
    ]
    _, gap = gaps_to_best(compare(runs, "test/loss"), "test/loss").values()
    assert not gap.same_seeds
    assert gap.over_seeds == pytest.approx(math.hypot(1.0, 2.0))  # errors s / √2 of each setting
    assert gap.may_be_chance


def test_runs_of_the_same_seed_count_as_one(tmp_path):
    losses = {1: (1.0, 3.0), 2: (4.0, 8.0)}
    runs, repeated = (
        [
            run_of(folder, "loss", [loss] * 2, width=width, seed=seed, kept=False)
            for width, of_width in losses.items()
            for seed, loss in enumerate(of_width)
        ]
        for folder in (tmp_path / "first", tmp_path / "again")
        if not folder.mkdir()
    )
    once, twice = (compare(some, "test/loss") for some in (runs, runs + repeated))
    assert [len(group.runs) for group in twice.groups] == [4, 4]
    for first, again in zip(once.groups, twice.groups, strict=True):
        assert (first.means, first.errors) == (again.means, again.errors)
    _, gap = gaps_to_best(twice, "test/loss").values()
    assert gap == gaps_to_best(once, "test/loss")[1]
    assert (gap.seeds, gap.same_seeds) == (2, True)


def test_the_best_has_the_largest_mean_if_higher_is_better(tmp_path):
    runs = [run_of(tmp_path, "gain", [1, 2]), run_of(tmp_path, "gain", [3, 5], width=2)]
    gaps = gaps_to_best(compare(runs, "test/gain"), "test/gain")
    assert sorted(gap.value for gap in gaps.values()) == [0, 2.5]


def test_a_metric_that_repeats_another_uses_its_values_shifted(tmp_path):
    runs = [
        run_of(tmp_path, "loss", [1, 2, 4], shift=10),
        run_of(tmp_path, "loss", [2, 2, 5], width=2, shift=20),
    ]
    _, gap = gaps_to_best(compare(runs, "test/scaled"), "test/scaled").values()
    assert gap.value == pytest.approx(10 + 2 / 3)
    assert gap.over_examples == pytest.approx(np.std([1, 0, 1], ddof=1) / 3**0.5, rel=1e-4)


@pytest.mark.parametrize("other", [[1.0, 2.0], None])
def test_runs_without_values_of_the_same_examples_are_not_paired(tmp_path, other):
    runs = [
        run_of(tmp_path, "loss", [1, 2, 3]),
        run_of(tmp_path, "loss", other or [2, 3, 4], width=2, kept=bool(other)),
    ]
    for gap in gaps_to_best(compare(runs, "test/loss"), "test/loss").values():
        assert math.isnan(gap.over_examples)
        assert gap.examples == 0


def test_values_are_read_back_and_an_empty_set_removes_the_file(tmp_path):
    write_values(tmp_path, {"loss": np.arange(3, dtype=np.float32)})
    assert read_values(tmp_path, "loss").tolist() == [0, 1, 2]
    assert read_values(tmp_path, "gain") is None
    write_values(tmp_path, {})
    assert list(tmp_path.iterdir()) == []
    assert read_values(tmp_path, "loss") is None


def _pickled(path):
    np.savez(path, loss=np.array([{"a": 1}], dtype=object))


def _huge(path):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("loss.npy", bytes(9_000_000))


@pytest.mark.parametrize(
    "strange",
    [
        _pickled,
        _huge,
        lambda path: path.write_bytes(b"PK no archive"),
        lambda path: np.savez(path, loss=np.ones((2, 2))),
        lambda path: np.savez(path, loss=np.array([np.nan])),
        lambda path: np.savez(path, loss=np.array(["text"])),
        lambda path: path.mkdir(),
    ],
)
def test_an_unreadable_file_of_values_counts_as_none(tmp_path, strange):
    strange(tmp_path / FILE)
    assert read_values(tmp_path, "loss") is None
