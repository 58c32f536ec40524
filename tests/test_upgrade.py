"""A fork takes a newer workbench and keeps what is its own."""

import os
import shutil
import subprocess
import sys

import pytest

from musigma.paths import PROJECT_ROOT

pytestmark = pytest.mark.slow

ME = {"name": "somebody", "email": "somebody@example.com"}

PROJECT = """
[project]
name = 'science'
dependencies = ['torch'{more}]
[project.optional-dependencies]
tables = ['{tables}']
[[tool.importlinter.contracts]]
containers = ["science"]
layers = ["{science}"]

[[tool.importlinter.contracts]]
containers = ["workbench"]
exhaustive = true
layers = [
    "{layer}",
]
"""
OLD = {"more": "", "tables": "pandas", "science": "model", "layer": "old"}


def git(folder, *arguments):
    done = subprocess.run(
        ["git", *arguments], cwd=folder, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def commit(folder, message, files):
    """Write the files (name → text), commit them, and return the commit."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", message)
    return git(folder, "rev-parse", "HEAD")


def set_up(folder):
    git(folder, "init", "--quiet")
    for key, value in ME.items():
        git(folder, "config", f"user.{key}", value)


def upgrade(fork, source, *arguments):
    return subprocess.run(
        [sys.executable, "scripts/upgrade.py", str(source), *arguments],
        cwd=fork,
        env=os.environ,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def template(tmp_path):
    """A template with a workbench and its tests."""
    folder = tmp_path / "template"
    (folder / "scripts").mkdir(parents=True)
    shutil.copy(PROJECT_ROOT / "scripts" / "upgrade.py", folder / "scripts")
    set_up(folder)
    commit(
        folder,
        "first",
        {
            "src/workbench/__init__.py": "",
            "src/workbench/old.py": "OLD = 1\n",
            "src/science/model.py": "MODEL = 1\n",
            "tests/workbench/test_old.py": "",
            "docs/lightning.md": "The old guide.\n",
            "CHANGELOG.md": "# Changelog\n\n## 1\n- The first.\n",
            "pyproject.toml": PROJECT.format(**OLD),
        },
    )
    return folder


@pytest.fixture
def fork(template, tmp_path):
    """A fork of the template with a science of its own."""
    folder = tmp_path / "fork"
    git(tmp_path, "clone", "--quiet", str(template), str(folder))
    set_up(folder)
    mine = {
        "src/mine/model.py": "MODEL = 2\n",
        "pyproject.toml": PROJECT.format(**{**OLD, "science": "mine"}),
    }
    commit(folder, "mine", mine)
    return folder


def newer(template):
    (template / "src" / "workbench" / "old.py").unlink()
    return commit(
        template,
        "second",
        {
            "src/workbench/new.py": "NEW = 1\n",
            "docs/lightning.md": "The new guide.\n",
            "src/science/model.py": "MODEL = 3\n",
            "CHANGELOG.md": "# Changelog\n\n## 2\n- Something new.\n\n## 1\n- The first.\n"
            "- The science's own.\n",
            "pyproject.toml": PROJECT.format(
                more=", 'rich>=13'", tables="pandas>=3", science="new", layer="new"
            ),
        },
    )


def test_an_upgrade_replaces_the_workbench_and_keeps_the_science(template, fork):
    change = {"CHANGELOG.md": "# Changelog\n\n## 1\n- The first.\n- The science's own.\n"}
    commit(template, "the science's own", change)
    newer(template)
    done = upgrade(fork, template, "--no-check")
    assert done.returncode == 0, done.stderr
    assert sorted(os.listdir(fork / "src" / "workbench")) == ["__init__.py", "new.py"]
    assert (fork / "docs" / "lightning.md").read_text() == "The new guide.\n"
    assert (fork / "src" / "mine" / "model.py").read_text() == "MODEL = 2\n"
    assert (fork / "src" / "science" / "model.py").read_text() == "MODEL = 1\n"
    assert "Something new." in done.stdout
    assert "The first." not in done.stdout
    assert "The science's own." not in done.stdout  # it describes no change of the workbench
    assert "rich>=13" in done.stdout
    assert "pandas>=3 (extra tables)" in done.stdout
    layers = PROJECT.format(**{**OLD, "science": "mine", "layer": "new"})
    assert (fork / "pyproject.toml").read_text() == layers
    assert git(fork, "status", "--porcelain") == ""
    again = upgrade(fork, template, "--no-check")
    assert "already" in again.stdout
    git(fork, "revert", "--no-edit", "HEAD")
    assert (fork / "src" / "workbench" / "old.py").is_file()


def test_new_entries_of_the_changelog_are_shown_under_their_headings(template, fork):
    text = "# Changelog\n\n## 1\n\n### Added\n\n- The first.\n\n### Fixed\n\n#### Data\n\n- Old.\n"
    commit(template, "sections", {"CHANGELOG.md": text, "src/workbench/new.py": ""})
    git(fork, "pull", "--quiet", "--no-rebase", "--no-edit")
    text = text.replace("- Old.", "- Old.\n- Newer.\n\n#### Speed\n\n- Faster.")
    commit(template, "more", {"CHANGELOG.md": text, "src/workbench/new.py": "NEW = 1\n"})
    done = upgrade(fork, template, "--no-check")
    assert done.returncode == 0, done.stderr
    shown = done.stdout.partition("Changes:\n")[2].partition("\n\n")[0].splitlines()
    lines = ["## 1", "### Fixed", "#### Data", "- Newer.", "#### Speed", "- Faster."]
    assert [line.strip() for line in shown] == lines


def test_a_version_can_be_named(template, fork):
    first = git(template, "rev-parse", "HEAD")
    newer(template)
    assert upgrade(fork, f"{template}@HEAD", "--no-check").returncode == 0
    assert upgrade(fork, f"{template}@{first}", "--no-check").returncode == 0
    assert (fork / "src" / "workbench" / "old.py").is_file()


def test_an_upgrade_that_would_lose_changes_is_refused(template, fork, tmp_path):
    newer(template)
    before = git(fork, "rev-parse", "HEAD")
    (fork / "notes.txt").write_text("mine")
    done = upgrade(fork, template)
    assert done.returncode == 2
    assert "not committed" in done.stderr
    commit(fork, "changed", {"src/workbench/old.py": "OLD = 2\n"})
    done = upgrade(fork, template)
    assert done.returncode == 2
    assert "src/workbench is not that of any version of the template" in done.stderr
    assert git(fork, "rev-parse", "HEAD^") == before
    for source, message in (
        (tmp_path / "nowhere", f"{tmp_path}/nowhere cannot be cloned: repository"),
        (f"{template}@v9", "has no branch, tag or commit v9"),
    ):
        git(fork, "reset", "--quiet", "--hard", before)
        done = upgrade(fork, source)
        assert done.returncode == 2
        assert message in done.stderr
        assert "Traceback" not in done.stderr
    assert git(fork, "rev-parse", "HEAD") == before


def test_an_upgrade_replaces_its_own_script_and_accepts_a_branch(template, fork):
    git(template, "checkout", "--quiet", "-b", "next")
    script = (template / "scripts" / "upgrade.py").read_text() + "# newer\n"
    commit(template, "a newer script", {"scripts/upgrade.py": script})
    git(template, "checkout", "--quiet", "-")
    assert upgrade(fork, f"{template}@next", "--no-check").returncode == 0
    assert (fork / "scripts" / "upgrade.py").read_text() == script
