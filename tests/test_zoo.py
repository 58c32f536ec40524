"""Models, objectives, priors and posteriors of the zoo can be taken out, one by one.

The zoo are those whose configs name their module, `musigma.objectives.rae.RAE`: no other file of
the package does. What belongs to one is its module, the configs that name it, those built on these,
and the tests that use it.
"""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from musigma.paths import PROJECT_ROOT

NAMED = re.compile(r"_target_: (musigma\.(?:models|objectives)(?:\.[a-z_]+)*\.([a-z_]+))\.[A-Z]")
OF_ALL = ("docs", "README.md", "CHANGELOG.md", "tests/test_zoo.py")
"""Texts that may name any of them."""
COPIED = ("src", "configs", "tests", "scripts", "pyproject.toml")


def _texts():
    listed = subprocess.run(
        ["git", "ls-files", "src/musigma", "configs", "tests", "scripts"],
        cwd=PROJECT_ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    names = [name for name in listed if name.endswith((".py", ".yaml"))]
    return {name: (PROJECT_ROOT / name).read_text("utf-8") for name in names}


TEXTS = _texts()


def _is_public(module):
    """Whether the package gives its classes to everybody."""
    package, _, name = module.rpartition(".")
    init = f"src/{package.replace('.', '/')}/__init__.py"
    return f"{package}.{name} import" in TEXTS.get(init, "")


def _zoo():
    found = {}
    for name, text in TEXTS.items():
        if name.startswith("configs/model/"):
            found |= {m[1]: m[2] for m in NAMED.finditer(text) if not _is_public(m[1])}
    files = {module: f"src/{module.replace('.', '/')}.py" for module in found}
    return {m: short for m, short in found.items() if files[m] in TEXTS and short != "schedules"}


ZOO = _zoo()


def _parts(module):
    """The files that belong to a module of the zoo."""
    own = {name for name, text in TEXTS.items() if name.startswith("configs") and module in text}
    for _ in range(2):  # a preset that chooses it, and an experiment that chooses the preset
        choices = {Path(name).stem for name in own}
        for name, text in TEXTS.items():
            chosen = re.findall(r"(?:- (?:override [\w/]+: )?|\[)(\w+)", text)
            if name.startswith("configs/") and choices & {*chosen}:
                own.add(name)
    own |= {
        name for name in TEXTS if name.startswith("tests/") and f"{module} import" in TEXTS[name]
    }
    return own | {f"src/{module.replace('.', '/')}.py"}


def test_the_zoo_is_found():
    assert {"factor_vae", "rae", "vq_vae"} <= {*ZOO.values()}


@pytest.mark.parametrize("module", sorted(ZOO))
def test_no_other_file_names_it(module):
    own = _parts(module)
    choices = {Path(name).stem for name in own if name.startswith("configs")}
    words = re.compile(rf"{re.escape(module)}\b|\bmodel(?:/\w+)?=(?:{'|'.join(choices)})\b")
    rest = [name for name in TEXTS if name not in own and not name.startswith(OF_ALL)]
    assert [name for name in rest if words.search(TEXTS[name])] == []


@pytest.mark.slow
@pytest.mark.parametrize(
    "module",
    [
        pytest.param(module, marks=() if number == 0 else pytest.mark.exhaustive)
        for number, module in enumerate(sorted(ZOO))
    ],
)
def test_without_it_the_rest_stands(module, tmp_path):
    """Every module imports and every other model builds; all of the quick tests are the CI's."""
    for name in COPIED:
        source = PROJECT_ROOT / name
        copy = shutil.copytree if source.is_dir() else shutil.copy
        copy(source, tmp_path / name)
    for name in _parts(module):
        (tmp_path / name).unlink()
    tests = ["tests/musigma/config/test_configs.py", "tests/musigma/models"]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-n", "0"]
    done = subprocess.run(
        [*command, "-m", "not slow and not exhaustive", *tests],
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(tmp_path / "src"), "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
