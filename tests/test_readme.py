"""What the README says works as it is written there."""

import re
import shlex

import pytest

from commands import copy_repository, run_steps, small
from fenced import blocks, commands
from musigma.paths import PROJECT_ROOT
from workbench.config.command_line import read_command_line
from workbench.config.resolvers import register_resolvers

WORKFLOWS = sorted(PROJECT_ROOT.glob(".github/workflows/*"))
README = (PROJECT_ROOT / "README.md").read_text("utf-8")


@pytest.mark.parametrize(
    "command", sorted(set(re.findall(r"^python scripts/train\.py (.*?)(?:  +#.*)?$", README, re.M)))
)
def test_commands_compose(command):
    """Each command of the README is understood; what they do is tested elsewhere."""
    # A sweep is as good as its first job.
    first_job = re.sub(r"=([^\[, ]+),[^ ]+", r"=\1", command)
    arguments = [a for a in shlex.split(first_job) if a not in ("-m", "--help")]
    register_resolvers()
    read_command_line("train", ["--cfg", "job", *arguments])


@pytest.mark.slow
def test_its_commands_run_one_after_the_other(tmp_path):
    lines = [line for line in commands(blocks(README)) if "python scripts/" in line]
    assert len(lines) > 10
    typed = [re.search(r"python scripts/[^)]*", line)[0] for line in lines]
    # Fewer runs: one weight of the ready sweep's nine, one seed instead of three.
    typed = [
        command.replace("study=beta", "study=beta model.objective.beta=1").replace("=0,1,2", "=0")
        for command in typed
        if "trainer=ddp" not in command  # tests/test_distributed.py
    ]
    said = run_steps([small(command) for command in typed], copy_repository(tmp_path))
    for words in (
        "d = 8, normal posterior",
        "ELBO(beta=4, samples=1)",
        "complete -o nospace",
    ):
        assert words in said, words
    assert len([*tmp_path.glob("logs/runs/*/report.html")]) == 1
    sweeps = {path.parent.name for path in tmp_path.glob("logs/sweeps/*/report.html")}
    assert sweeps == {"model,seed", "beta"}


def test_every_model_is_in_the_readme():
    names = {path.stem for path in (PROJECT_ROOT / "configs" / "model").glob("*.yaml")}
    table = README.partition("| `model=` | minimises |")[2].partition("\n\n")[0]
    assert names == set(re.findall(r"`(\w+)`(?=[ ,|(])", table)) - {"wae`"}


def test_every_path_in_the_readme_exists():
    named = re.findall(r"`((?:src|tests|configs|scripts)/[\w/.]+)`", README)
    linked = [path for path in re.findall(r"\]\(([^)]+)\)", README) if "://" not in path]
    assert len(linked) >= 2
    headings = {
        f"#{title.lower().replace(' ', '-')}" for title in re.findall(r"^## (.+)$", README, re.M)
    }
    for path in [*named, *linked]:
        assert path in headings or (PROJECT_ROOT / path).exists(), path


def test_every_make_target_that_is_named_exists():
    makefile = (PROJECT_ROOT / "Makefile").read_text("utf-8")
    for path in ("README.md", "CONTRIBUTING.md", ".pre-commit-config.yaml", *WORKFLOWS):
        text = (PROJECT_ROOT / path).read_text("utf-8")
        for target in re.findall(r"(?:^|`|: )make ([a-z][a-z-]*)|target: ([a-z-]+)", text, re.M):
            assert re.search(rf"^{''.join(target)}:", makefile, re.M), (path, target)


def test_a_run_opens_in_a_notebook_as_shown(trained):
    folder = trained("model=vae")
    (code,) = (block.text for block in blocks(README) if "load_run" in block.text)
    names = {}
    exec(code.replace("logs/runs/...", str(folder.path)), names)
    assert names["x_hat"].shape == names["x"].shape == (500, 1, 28, 28)
    assert names["mu"].shape == names["std"].shape == (500, 2)
