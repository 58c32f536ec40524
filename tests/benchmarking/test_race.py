"""Benchmarked pipelines take turns and report their speed; no test depends on time."""

import pytest

from benchmarking import tables
from benchmarking.race import Epoch, Row, race
from musigma.project import PROJECT
from script_server import server
from workbench.jobs import hydra_adapter

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _warm(monkeypatch):
    """Pipelines run in processes that have everything imported."""
    context = server()
    monkeypatch.setattr("benchmarking.race.multiprocessing.get_context", lambda _: context)


def _three_images(pace):
    while True:
        pace.next_epoch(3)
        pace.parts["reading"] = 0.25


def _breaks(pace):
    pace.next_epoch(1)
    raise ValueError


@pytest.mark.exhaustive
def test_pipelines_take_turns_and_the_first_turn_does_not_count():
    rows = race({"a": _three_images, ("b", 2): _three_images}, rounds=2)
    assert list(rows) == ["a", ("b", 2)]
    for row in rows.values():
        assert [epoch.images for epoch in row.epochs] == [3, 3]
        assert row.parts == {"reading": 0.25}
        assert all(epoch.cpu >= 0 for epoch in row.epochs)


@pytest.mark.exhaustive
def test_a_failing_pipeline_ends_the_race():
    with pytest.raises(EOFError):
        race({"a": _three_images, "b": _breaks}, rounds=1)


def test_loops_with_and_without_lightning_train_on_all_images_in_each_turn():
    small = ("data.source=sample", "data.batch_size=500", "trainer=cpu")
    loops = (tables.BARE, tables.STEP, tables.MINIMAL, tables.OURS)
    with hydra_adapter.opened(PROJECT.configs, "train"):
        rows = tables._race([tables.Entry("", small, loops)], [], rounds=1)
    assert [row.epochs[0].images for row in rows.values()] == [4000] * 4
    shown = tables._table("epoch", rows)
    headers = [column.header for column in shown.columns]
    assert headers[4:] == ["to bare loop", "to minimal Lightning", "MiB"]
    assert "CPU 1.000" in next(iter(shown.columns[4].cells))


def test_a_row_shows_the_spread_of_its_epochs():
    row = Row([Epoch(seconds, 2 * seconds, 60, seconds, {}) for seconds in (3.0, 1.0, 2.0)])
    assert row.seconds == (1, 2, 3)
    assert row.cpu == (2, 4, 6)
    assert row.images_per_second == (20, 30, 60)
    assert row.memory == 3.0


def test_ratios_compare_epochs_of_the_same_turn():
    """The machine slows down threefold after the first turn; the ratio stays."""
    ours, theirs = (
        Row([Epoch(pace * seconds, 1.0, 60, 0.0, {}) for seconds in (1.0, 3.0, 3.0)])
        for pace in (1.5, 1.0)
    )
    assert ours.ratios(theirs) == (1.5, 1.5, 1.5)
