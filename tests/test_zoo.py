"""Each model, objective, prior and posterior of the zoo can be removed."""

import re
import shutil
import subprocess

import pytest

from commands import PYTEST
from musigma.paths import PROJECT_ROOT
from script_server import python
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
CONFIGS = uses_of({name: text for name, text in TEXTS.items() if name.startswith("configs/")})
PARTS = sorted(config for config in zoo(CONFIGS) if re.search("^_target_: ", TEXTS[config], re.M))


@pytest.fixture(scope="module")
def uses():
    """The files that each file of the project uses; computed once, as it takes a second."""
    return uses_of(TEXTS)


def _own_module(config, uses):
    """The module of the config's class, which nothing else needs."""
    gone = belongings({config}, uses)
    return next(name for name in uses[config] & gone if name.startswith("src/"))


@pytest.mark.slow
@pytest.mark.parametrize("config", PARTS)
def test_no_other_file_names_a_part_of_the_zoo(config, uses):
    gone = belongings({config}, uses)
    left = TEXTS | texts_without(gone, TEXTS, uses)
    users = [name for name in uses if name not in gone and uses[name] & gone]
    assert [name for name in users if not name.endswith((".md", "/__init__.py"))] == []
    module = _own_module(config, uses)
    dotted = module.removeprefix("src/").removesuffix(".py").replace("/", ".")
    word = re.compile(rf"{re.escape(dotted)}\b|{re.escape(module)}\b|{re.escape(config)}\b")
    assert [name for name in left if name not in gone and word.search(left[name])] == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("config", "tests"),
    [
        *((config, "build") for config in PARTS[:1]),
        *(pytest.param(config, "", marks=pytest.mark.exhaustive) for config in PARTS),
    ],
)
def test_the_rest_works_without_a_part_of_the_zoo(config, tests, uses, tmp_path):
    """Every module imports and every other model builds; whether they work is left to the CI."""
    for name in COPIED:
        source = PROJECT_ROOT / name
        copy = shutil.copytree if source.is_dir() else shutil.copy
        copy(source, tmp_path / name)
    gone = belongings({config}, uses)
    for name in gone:
        (tmp_path / name).unlink()
    for name, text in texts_without(gone, TEXTS, uses).items():
        (tmp_path / name).write_text(text, "utf-8")
    places = [
        f"tests/musigma/{name}" for name in ("config/test_configs.py", "models", "objectives")
    ]
    done = python(
        *(*PYTEST, "-p", "no:cacheprovider", "-n", "0"),
        *("-m", "not slow and not exhaustive", "-k", tests, *places),
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
