"""The guide to posteriors works as written, in a copy of the repository."""

import sys

import pytest
import torch

from commands import QUICK_EVALUATION, copy_repository, run_steps, small
from markdown_blocks import blocks, commands, write_files
from musigma.paths import PROJECT_ROOT
from posteriors import check_density, check_integral, check_moments

pytestmark = pytest.mark.slow

GUIDE = blocks((PROJECT_ROOT / "docs" / "your-own-posterior.md").read_text("utf-8"))


def test_following_the_guide_trains_sweeps_and_evaluates(tmp_path):
    copy = copy_repository(tmp_path)
    write_files(GUIDE, copy)
    output = run_steps([("code", QUICK_EVALUATION), *map(small, commands(GUIDE))], copy)
    assert "logistic posterior" in output
    assert len([*(copy / "logs" / "sweeps").glob("*/*/metrics.json")]) == 2
    assert "diagonal normal posteriors" in output


def test_the_guides_density_integrates_to_one(monkeypatch):
    (code,) = (block.text for block in GUIDE if block.language == "python")
    names = {"__name__": "guide"}
    monkeypatch.setitem(sys.modules, "guide", type(sys)("guide"))
    exec(code, names)
    torch.manual_seed(0)
    with torch.no_grad():
        posterior = names["LogisticHead"](3, 1).double()(torch.randn(2, 3).double())
    check_density(posterior, torch.randn(4, 2, 1).double())
    check_integral(posterior, half_width=40.0, side=4000)
    check_moments(posterior, 1, tolerance=0.02)
