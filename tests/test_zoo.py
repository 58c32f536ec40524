"""Models, objectives, priors and posteriors of the zoo can be taken out, one by one."""

import re
import shutil
import subprocess
import sys

import pytest

from musigma.paths import PROJECT_ROOT
from without import texts_without
from zoo import belongings, uses_of, zoo

COPIED = ("src", "configs", "tests", "scripts", "docs", "pyproject.toml", "README.md", "Makefile")


def _texts():
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", *COPIED],
        cwd=PROJECT_ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    names = (".py", ".yaml", ".md", ".toml", "Makefile")
    there = [name for name in listed if name.endswith(names) and (PROJECT_ROOT / name).is_file()]
    return {name: (PROJECT_ROOT / name).read_text("utf-8") for name in there}


TEXTS = _texts()
USES = uses_of(TEXTS)
ZOO = zoo(USES)


def _own_module(config):
    """The module of the config's class, if nothing else needs it."""
    gone = belongings({config}, USES)
    return next((name for name in USES[config] & gone if name.startswith("src/")), None)


PARTS = {config: module for config in sorted(ZOO) if (module := _own_module(config))}


@pytest.mark.parametrize("config", PARTS)
def test_no_other_file_names_it(config):
    gone = belongings({config}, USES)
    left = TEXTS | texts_without(gone, TEXTS, USES)
    users = [name for name in USES if name not in gone and USES[name] & gone]
    assert [name for name in users if not name.endswith((".md", "/__init__.py"))] == []
    module = PARTS[config]
    dotted = module.removeprefix("src/").removesuffix(".py").replace("/", ".")
    word = re.compile(rf"{re.escape(dotted)}\b|{re.escape(module)}\b|{re.escape(config)}\b")
    assert [name for name in left if name not in gone and word.search(left[name])] == []


@pytest.mark.slow
@pytest.mark.parametrize(
    "config",
    [
        pytest.param(config, marks=() if number == 0 else pytest.mark.exhaustive)
        for number, config in enumerate(PARTS)
    ],
)
def test_without_it_the_rest_stands(config, tmp_path):
    """Every module imports and every other model builds; all of the quick tests are the CI's."""
    for name in COPIED:
        source = PROJECT_ROOT / name
        copy = shutil.copytree if source.is_dir() else shutil.copy
        copy(source, tmp_path / name)
    gone = belongings({config}, USES)
    for name in gone:
        (tmp_path / name).unlink()
    for name, text in texts_without(gone, TEXTS, USES).items():
        (tmp_path / name).write_text(text, "utf-8")
    tests = [f"tests/musigma/{name}" for name in ("config/test_configs.py", "models", "objectives")]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-n", "0"]
    done = subprocess.run(
        [*command, "-m", "not slow and not exhaustive", *tests],
        cwd=tmp_path,
        env={
            "PATH": "/usr/bin:/bin",
            "PYTHONPATH": str(tmp_path / "src"),
            "HOME": str(tmp_path),
            "OMP_NUM_THREADS": "1",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
