"""The README works as written."""

import re
import shlex

import pytest

from commands import QUICK_EVALUATION, copy_repository, run_steps, small
from markdown_blocks import blocks, commands
from musigma.paths import PROJECT_ROOT
from workbench.jobs.command_line import read_command_line

WORKFLOWS = sorted(PROJECT_ROOT.glob(".github/workflows/*"))
README = (PROJECT_ROOT / "README.md").read_text("utf-8")
GUIDES = sorted(PROJECT_ROOT.glob("docs/*.md"))
MADE = ("configs/schema.json", "configs/local/trusted.yaml", "docs/api/", "src/my_project")
"""Paths that a command or a user creates."""


IN_TEXT = re.findall(r"`python\s+scripts/train\.py\s?([^`]*)`", README)
IN_BLOCKS = re.findall(r"^(?:\$ )?python scripts/train\.py (.*?)(?:  +#.*)?$", README, re.M)


@pytest.mark.parametrize(
    "command",
    sorted({" ".join(command.split()) for command in IN_TEXT + IN_BLOCKS if "..." not in command}),
)
def test_every_command_is_valid(command):
    """Each command of the README is accepted; what it does is tested elsewhere."""
    # One job stands for a sweep.
    first_job = re.sub(r"=([^\[, ]+),[^ ]+", r"=\1", command)
    arguments = [a for a in shlex.split(first_job) if a not in ("-m", "--help")]
    read_command_line("train", ["--cfg", "job", *arguments])


@pytest.mark.slow
def test_the_commands_run_one_after_the_other(tmp_path):
    lines = [line for line in commands(blocks(README)) if "python scripts/" in line]
    assert len(lines) > 10
    typed = [re.search(r"python scripts/[^)]*", line)[0] for line in lines]
    # Fewer runs: one of the study's nine weights, and one seed instead of three.
    typed = [
        command.replace("study=beta", "study=beta model.objective.beta=1").replace("=0,1,2", "=0")
        for command in typed
    ]
    steps = [("code", QUICK_EVALUATION), *map(small, typed)]
    output = run_steps(steps, copy_repository(tmp_path))
    for words in (
        "d = 8, normal posterior",
        "ELBO(beta=4, samples=1)",
        "complete -o nospace",
    ):
        assert words in output, words
    assert len([*tmp_path.glob("logs/runs/*/report.html")]) == 1
    sweeps = {path.parent.name for path in tmp_path.glob("logs/sweeps/*/report.html")}
    assert sweeps == {"beta,seed", "beta"}


def test_every_model_is_in_the_readme():
    names = {path.stem for path in (PROJECT_ROOT / "configs" / "model").glob("*.yaml")}
    table = README.partition("| `model=` | minimises |")[2].partition("\n\n")[0]
    assert names <= set(re.findall(r"`(\w+)`(?=[ ,|(])", table))


@pytest.mark.parametrize("path", [PROJECT_ROOT / "README.md", *GUIDES], ids=lambda path: path.name)
def test_every_path_and_link_exists(path):
    text = path.read_text("utf-8")
    for named in re.findall(r"`((?:src|tests|configs|scripts|docs)/[\w/.-]+)`", text):
        written = f"`{named}`:\n\n```" in text  # the guide writes this file
        assert written or named in MADE or (PROJECT_ROOT / named).exists(), named
    for link in re.findall(r"\]\(([^)]+)\)", text):
        if "://" not in link:
            file, _, anchor = link.partition("#")
            there = path.parent / file if file else path
            assert there.is_file(), link
            assert not anchor or anchor in anchors(there.read_text("utf-8")), link


def anchors(markdown):
    """The anchors that GitHub makes of headings."""
    titles = re.findall(r"^#+ (.+)$", markdown, re.M)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


def test_the_readme_is_short_and_leads_to_every_section_and_guide():
    assert len(README.splitlines()) <= 250
    contents = README[README.index("**Contents:**") : README.index("\n## ")]
    linked = set(re.findall(r"\]\(([^)]+)\)", contents))
    assert {f"#{anchor}" for anchor in anchors(README)} - {"#musigma"} <= linked
    assert {f"docs/{path.name}" for path in GUIDES} <= linked


def test_every_mentioned_make_target_exists():
    makefile = (PROJECT_ROOT / "Makefile").read_text("utf-8")
    others = ("CONTRIBUTING.md", ".pre-commit-config.yaml", ".ci/run", *WORKFLOWS)
    for path in ("README.md", *others, *GUIDES):
        text = (PROJECT_ROOT / path).read_text("utf-8")
        for target in re.findall(r"(?:^|`|: )make\s([a-z][a-z-]*)|target: ([a-z-]+)", text, re.M):
            assert re.search(rf"^{''.join(target)}:", makefile, re.M), (path, target)


def test_a_run_opens_in_python_as_shown(trained):
    folder = trained("model=vae")
    guide = (PROJECT_ROOT / "docs" / "runs.md").read_text("utf-8")
    (code,) = (block.text for block in blocks(guide) if "load_run" in block.text)
    names = {}
    exec(code.replace("logs/runs/...", str(folder.path)), names)
    assert names["x_hat"].shape == names["x"].shape == (500, 1, 28, 28)
    assert names["mu"].shape == names["std"].shape == (500, 2)


def test_a_model_trains_without_a_config_as_shown(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (code,) = (block.text for block in blocks(README) if "L.Trainer" in block.text)
    names = {}
    exec(code.replace("max_epochs=1", "max_epochs=1, limit_train_batches=5"), names)
    assert names["module"].global_step == 5
    assert "elbo" in names["module"].validation()
