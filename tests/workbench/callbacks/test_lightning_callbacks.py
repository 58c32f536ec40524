"""Lightning's callbacks work or are refused before the start, as the guide's table says."""

import re
from pathlib import Path

import pytest
import yaml
from lightning.pytorch import callbacks

from workbench.config.check import find_problems
from workbench.config.misfits import find_misfits
from workbench.jobs.quoting import quote
from workbench.training.run import run

GUIDE = Path(__file__).parents[3] / "docs" / "lightning.md"
ROWS = [
    [re.findall("`(.+?)`", cell) or cell.strip() for cell in line.split("|")[1:4]]
    for line in GUIDE.read_text("utf-8").splitlines()
    if line.startswith("| `")
]
HOME = "lightning.pytorch.callbacks"


def _job(compose_small, name, settings):
    """The `Launch` of a run with the callback; a progress bar replaces that of the config."""
    launch = compose_small()
    if "ProgressBar" in name:
        del launch.config["callbacks"]["progress"]
    given = {key: yaml.safe_load(value) for key, value in (s.split("=") for s in settings)}
    launch.config["callbacks"]["theirs"] = {"_target_": f"{HOME}.{name}", **given}
    return launch


def test_the_guides_table_lists_every_lightning_callback():
    named = {name for names, *_ in ROWS for name in names}
    assert named == {*callbacks.__all__}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty")
@pytest.mark.filterwarnings("ignore:Found [0-9]+ module.* in eval mode")
@pytest.mark.parametrize(("name", "settings"), [(r[0][0], r[2]) for r in ROWS if r[1] == "works"])
def test_a_callback_listed_as_working_trains_and_resumes(
    name, settings, compose_small, compose_launch, capsys
):
    launch = _job(compose_small, name, settings)
    assert not find_problems(launch.config)
    assert not [*find_misfits(launch.config)]
    run(launch)
    (folder,) = launch.parent.iterdir()
    run(compose_launch(quote(f"resume={folder}"), "trainer.max_epochs=3"))
    assert "best checkpoint: epoch 3" in capsys.readouterr().out


@pytest.mark.parametrize(("name", "settings"), [(r[0][0], r[2]) for r in ROWS if r[1] == "refused"])
def test_a_callback_listed_as_refused_is_refused_in_one_line(name, settings, compose_small):
    config = _job(compose_small, name, settings).config
    (problem,) = find_problems(config) or find_misfits(config)
    assert str(problem).startswith("callbacks.theirs")
    assert name in str(problem)
    assert "\n" not in str(problem)
