"""The template becomes another project, or is left unchanged."""

import os
import re
import runpy
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from commands import PYTEST, run_steps
from musigma.paths import PROJECT_ROOT
from script_server import python
from small import SMALL

pytestmark = pytest.mark.slow

LONG, SHORT, MINIMAL = "a_project_with_quite_a_long_name", "zz", "minimal_one"


def git(folder, *arguments):
    return subprocess.run(
        ["git", "-c", "core.quotepath=off", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    ).stdout


def run(folder, *arguments, timeout=300, **environment):
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": "", **environment},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def files_of(folder):
    return {path: (folder / path).read_bytes() for path in git(folder, "ls-files").splitlines()}


@pytest.fixture(scope="module")
def make_template(tmp_path_factory):
    """A function that makes a clean checkout of this repository, with one commit."""
    if not (PROJECT_ROOT / ".git").exists():
        pytest.skip("not a git checkout")

    def make():
        folder = tmp_path_factory.mktemp("template")
        for path in git(PROJECT_ROOT, "ls-files", "-co", "--exclude-standard").splitlines():
            if (PROJECT_ROOT / path).is_file():
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(PROJECT_ROOT / path, folder / path)
        git(folder, "init", "--quiet")
        git(folder, "config", "user.name", "somebody")
        git(folder, "config", "user.email", "somebody@example.com")
        git(folder, "add", "--all")
        git(folder, "commit", "--quiet", "--message", "the template")
        return folder

    return make


@pytest.fixture(scope="module")
def template(make_template):
    """A checkout that no test changes."""
    return make_template()


@pytest.fixture(scope="module")
def script(template):
    """The names that scripts/fork.py defines, and the template's files as it reads them."""
    names = runpy.run_path(str(template / "scripts" / "fork.py"))
    return names, names["tracked_files"]()


def forked(make_template, name, *options):
    """A fork, the template's files, and an environment in which the fork counts as installed."""
    folder = make_template()
    before = files_of(folder)
    done = run(folder, "scripts/fork.py", name, "--no-check", *options)
    assert done.returncode == 0, done.stderr
    info = folder / ".installed" / f"{name}-0.1.0.dist-info"
    info.mkdir(parents=True)
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    lines = ["Metadata-Version: 2.1", f"Name: {name}", "Version: 0.1.0"]
    lines += [f"Requires-Dist: {needed}" for needed in project["dependencies"]]
    (info / "METADATA").write_text("\n".join(lines) + "\n")
    # The template is installed here, but would not be beside a fork.
    (info.parent / "musigma.py").write_text('"""Is not here."""\n\nraise ImportError\n')
    assert git(folder, "status", "--porcelain") == "?? .installed/\n"
    return folder, before, {"PYTHONPATH": f"{folder}/src:{folder}/.installed"}


@pytest.fixture(scope="module")
def fork(make_template):
    return forked(make_template, LONG)


@pytest.fixture(scope="module")
def small_fork(make_template):
    return forked(make_template, SHORT, "--new-history", "--without-examples")


@pytest.fixture(scope="module")
def minimal_fork(make_template):
    return forked(make_template, MINIMAL, "--minimal", "--new-history")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("my-project", "is not a package name"),
        ("MyProject", "is not a package name"),
        ("2d", "is not a package name"),
        ("_private", "is not a package name"),
        ("a.b", "is not a package name"),
        ("../x", "is not a package name"),
        ("naïve", "is not a package name"),
        ("", "is not a package name"),
        ("musigma", "is the template's own name"),
        ("lambda", "is a word of Python"),
        ("match", "is a word of Python"),
        ("list", "is a word of Python"),
        ("tomllib", "is a module of Python's standard library"),
        ("torch", "is a package that the project needs"),
        ("hydra_core", "is a package that the project needs"),
        ("wandb", "is a package that the project needs"),
        ("pluggy", "can be imported here already"),
        ("train", "can be imported here already"),
        ("configs", "is a folder of the project"),
        ("oracles", "is a name that the code uses for something else"),
        ("vae", "is a name that the code uses for something else"),
        ("launch", "is a name that the code uses for something else"),
    ],
)
def test_an_invalid_or_taken_name_is_refused(script, name, reason, monkeypatch):
    names, files = script
    # A script finds the modules beside it and the installed ones, but not those that pytest has
    # added to the path or imported.
    found = [
        path
        for path in sys.path
        if Path(path).is_relative_to(sys.prefix)
        or not Path(path).resolve().is_relative_to(PROJECT_ROOT)
    ]
    monkeypatch.setattr(sys, "path", [str(PROJECT_ROOT / "scripts"), *found])
    monkeypatch.delitem(sys.modules, name, raising=False)
    with pytest.raises(names["ForkError"], match=re.escape(f"{name} {reason}")):
        names["check_name"](name, files)


def test_a_refusal_changes_nothing(template):
    done = run(template, "scripts/fork.py", "--no-check", "lambda")
    assert done.returncode == 2
    assert "lambda is a word of Python" in done.stderr
    assert "Nothing has been changed." in done.stderr
    assert git(template, "status", "--porcelain") == ""


def test_a_fork_that_git_could_not_undo_is_refused(template, tmp_path):
    copy = shutil.copytree(template, tmp_path / "copy")
    (copy / "notes.txt").touch()
    done = run(copy, "scripts/fork.py", LONG)
    assert done.returncode == 2
    assert "not committed; commit or remove:\n?? notes.txt" in done.stderr
    (copy / "notes.txt").unlink()
    shutil.rmtree(copy / ".git")
    for outside in (False, True):
        if outside:
            git(tmp_path, "init", "--quiet")
        done = run(copy, "scripts/fork.py", LONG, GIT_CEILING_DIRECTORIES=str(tmp_path.parent))
        assert done.returncode == 2
        assert ("a part of the checkout" if outside else "is not a git checkout") in done.stderr
    assert (copy / "src" / "musigma").is_dir()


@pytest.mark.parametrize(
    ("path", "old", "new", "reason"),
    [
        ("pyproject.toml", 'name = "musigma"', 'name = "other"', "This is other, no longer"),
        ("README.md", "# musigma", "# premusigma", "README.md holds musigma as a part of another"),
        pytest.param(
            *("README.md", "`make fork", "`make a fork"),
            "README.md holds .* 0 times, and should once",
            marks=pytest.mark.exhaustive,
        ),
    ],
)
def test_a_changed_template_is_refused(template, tmp_path, path, old, new, reason):
    copy = shutil.copytree(template, tmp_path / "copy")
    (copy / path).write_text((copy / path).read_text().replace(old, new, 1))
    git(copy, "commit", "--quiet", "--all", "--message", "changed")
    done = run(copy, "scripts/fork.py", LONG)
    assert done.returncode == 2
    assert re.search(reason, done.stderr), done.stderr
    assert git(copy, "status", "--porcelain") == ""


def test_only_the_license_and_the_changelog_keep_the_old_name(fork, small_fork, minimal_fork):
    forks = ((fork, LONG), (small_fork, SHORT), (minimal_fork, MINIMAL))
    for (folder, before, _), name in forks:
        after = files_of(folder)
        found = {path for path, content in after.items() if b"musigma" in content.lower()}
        assert found == {"LICENSE", "CHANGELOG.md"}
        assert not [path for path in after if "musigma" in path or "fork" in path]
        assert (folder / "src" / name).is_dir()
        assert not (folder / "src" / "musigma").exists()
        assert "fork" not in (folder / "Makefile").read_text()
        texts = [folder / "README.md", *folder.glob("docs/*.md")]
        assert [path.name for path in texts if "fork" in path.read_text().lower()] == []
        assert f'name = "{name}"\nversion = "0.1.0"\n' in after["pyproject.toml"].decode()
        assert f"title: {name}\n" in after["CITATION.cff"].decode()
        binary = [path for path, content in before.items() if b"\0" in content]
        assert binary
        for path in (*binary, "LICENSE"):
            assert after[path.replace("musigma", name)] == before[path]


def test_a_forks_workbench_equals_the_templates_byte_for_byte(fork, small_fork, minimal_fork):
    for folder, before, _ in (fork, small_fork, minimal_fork):
        after = files_of(folder)
        for place in (
            "src/workbench/",
            "tests/workbench/",
            "docs/lightning.md",
            "scripts/upgrade.py",
        ):
            kept = {path: content for path, content in before.items() if path.startswith(place)}
            assert kept
            assert kept == {path: after[path] for path in after if path.startswith(place)}


def test_a_fork_continues_the_history_or_starts_a_new_one(fork, small_fork):
    subjects = git(fork[0], "log", "--format=%s").splitlines()
    assert len(subjects) == 2
    assert subjects[0].startswith(f"{LONG}, made from musigma ")
    assert len(git(small_fork[0], "log", "--format=%s").splitlines()) == 1


def test_example_experiments_are_removed_on_request(fork, small_fork):
    experiments = [sorted(f[0].glob("configs/experiment/*")) for f in (fork, small_fork)]
    assert len(experiments[0]) > 1
    assert [path.name for path in experiments[1]] == ["notebook.yaml"]
    texts = [small_fork[0] / "README.md", *small_fork[0].glob("docs/*.md")]
    named = re.findall(r"experiment=(\w+)", "".join(path.read_text() for path in texts))
    assert set(named) == {"notebook"}


def test_a_fork_passes_ruff_and_import_linter(fork, small_fork, minimal_fork):
    for folder, _, installed in (fork, small_fork, minimal_fork):
        for command in (["check", "."], ["format", "--check", "."]):
            done = run(folder, "-m", "ruff", *command)
            assert done.returncode == 0, done.stdout + done.stderr
        code = "from importlinter.cli import lint_imports; raise SystemExit(lint_imports())"
        done = run(folder, "-c", code, **installed)
        assert done.returncode == 0, done.stdout + done.stderr
        assert " kept, 0 broken" in done.stdout


def test_a_fork_trains_and_opens_its_run(fork, tmp_path):
    folder, _, _ = fork
    small = ["model=vae", *SMALL, "trainer.max_epochs=1", f"log_dir={tmp_path}"]
    opened = (
        f"import pathlib, sys, {LONG}\n"
        f"(made,) = pathlib.Path({str(tmp_path)!r}).glob('runs/*')\n"
        f"print('d =', {LONG}.load_run(made).model.latent_dim, 'musigma' in sys.modules)"
    )
    output = run_steps([("script", ["scripts/train.py", *small]), ("code", opened)], folder)
    assert "\nd = 2 False\n" in output
    (made,) = tmp_path.glob("runs/*")
    assert "musigma" not in (made / "config.yaml").read_text()


def test_tests_pass_in_a_fork(small_fork):
    folder, _, installed = small_fork
    tests = (f"tests/{SHORT}/config/test_instantiate.py", f"tests/{SHORT}/config/test_local.py")
    older = (f"tests/{SHORT}/runs/test_load.py", "-k", "not test_load or older_version")
    done = python(*PYTEST, *tests, *older, cwd=folder, env={**os.environ, **installed})
    assert done.returncode == 0, done.stdout + done.stderr
    assert "passed" in done.stdout
    assert "skipped" not in done.stdout


# --- without the zoo ------------------------------------------------------------------------------

ZOO = {
    "models": ("conditional", "hierarchical", "vq_vae"),
    "models/posteriors": ("full_normal", "hierarchical", "iaf"),
    "models/priors": ("code_book", "flow", "hierarchical", "mixture", "vamp"),
    "objectives": ("capacity", "factor_vae", "free_bits", "iwae", "mmd", "rae", "tcvae"),
}
KEPT = {
    "model": {"autoencoder", "beta_vae", "stochastic_autoencoder", "vae"},
    "model/prior": {"standard_normal"},
    "model/posterior": {"normal", "point"},
    "model/objective": {"elbo", "reconstruction"},
    "model/network": {"conv", "mlp"},
    "model/likelihood": {"bernoulli", "continuous_bernoulli", "gaussian", "laplace"},
    "experiment": {
        *("binary_vae", "gaussian_vae_20d", "gaussian_vae_2d", "grey_levels", "notebook")
    },
    "study": {"beta", "latent_dim", "likelihood", "search", "seeds"},
}


def test_a_minimal_fork_has_no_zoo_and_all_else(minimal_fork):
    folder, before, _ = minimal_fork
    after = files_of(folder)
    for group, names in KEPT.items():
        assert {path.stem for path in (folder / "configs" / group).glob("*.yaml")} == names
    for package, names in ZOO.items():
        for name in names:
            assert f"src/musigma/{package}/{name}.py" in before
            assert f"src/{MINIMAL}/{package}/{name}.py" not in after
            assert [path for path in after if path.endswith(f"/test_{name}.py")] == []
    places = tuple(f"{package}/{name}.py" for package, names in ZOO.items() for name in names)
    gone = {path.replace("musigma", MINIMAL) for path in before} - after.keys()
    assert [path for path in gone if path.startswith("src/") and not path.endswith(places)] == []
    # No other test may be lost because it uses a part of the zoo.
    tests = {Path(path).stem for path in gone if Path(path).name.startswith("test_")}
    assert tests - {"test_architecture", "test_fork", "test_zoo", "test_two_layers"} <= {
        f"test_{name}" for names in ZOO.values() for name in names
    }


def test_no_file_of_a_minimal_fork_mentions_the_zoo(minimal_fork):
    modules = [f"{package}/{name}" for package, names in ZOO.items() for name in names]
    modules += [module.replace("/", ".") for module in modules]
    folder, before, _ = minimal_fork
    models = {Path(path).stem for path in before if re.fullmatch(r"configs/model/\w+.yaml", path)}
    words = re.compile(
        "|".join(rf"{re.escape(module)}\b" for module in modules)
        + r"|\b(?:IWAE|TCVAE|VQVAE|FactorVAE|VampPrior|FreeBits|IAF\w*|zuko|info_vae|dreg_iwae)\b"
        + rf"|\bmodel=(?:{'|'.join(models - KEPT['model'])})\b"
        + r"|`(?:iwae|vamp|flow|iaf|rae|wae|vq_vae|factor_vae|sigma_vae)`"
    )
    found = {
        path: words.findall(content.decode())
        for path, content in files_of(folder).items()
        if b"\0" not in content and not path.endswith(".ckpt")
    }
    assert {path: names for path, names in found.items() if names} == {}


def test_a_minimal_fork_trains_evaluates_and_reports(minimal_fork, tmp_path):
    folder, _, _ = minimal_fork
    small = [*SMALL, "trainer.max_epochs=1", f"log_dir={tmp_path}"]
    models = "model=autoencoder,stochastic_autoencoder,vae,beta_vae"
    evaluated = ["run=latest", "images=4", "samples=25", f"log_dir={tmp_path}"]
    output = run_steps(
        [
            ("script", ["scripts/train.py", "model=vae", *small]),
            ("script", ["scripts/evaluate.py", *evaluated]),
            ("script", ["scripts/train.py", "-m", models, "sweep=models", *small]),
            ("script", ["scripts/report.py", "sweep=models", f"log_dir={tmp_path}"]),
        ],
        folder,
    )
    assert "log p(x), quadrature" in output
    assert len([*tmp_path.glob("runs/*/report.html")]) == 1
    assert len([*tmp_path.glob("sweeps/models/*/metrics.json")]) == 4
    assert (tmp_path / "sweeps" / "models" / "report.html").is_file()


def test_a_minimal_fork_takes_a_newer_workbench(minimal_fork, template, tmp_path):
    newer = shutil.copytree(template, tmp_path / "newer")
    with (newer / "src" / "workbench" / "links.py").open("a") as file:
        file.write("# newer\n")
    git(newer, "commit", "--quiet", "--all", "--message", "newer")
    copy = shutil.copytree(minimal_fork[0], tmp_path / "copy")
    shutil.rmtree(copy / ".installed")
    done = run(copy, "scripts/upgrade.py", str(newer), "--no-check")
    assert done.returncode == 0, done.stdout + done.stderr
    assert (copy / "src" / "workbench" / "links.py").read_text().endswith("# newer\n")


def test_a_file_that_needs_the_zoo_is_named_and_the_minimal_fork_refused(template, tmp_path):
    copy = shutil.copytree(template, tmp_path / "copy")
    with (copy / "src" / "musigma" / "shapes.py").open("a") as file:
        file.write(f"# as in model={'vq_vae'}\n")
    git(copy, "commit", "--quiet", "--all", "--message", "changed")
    done = run(copy, "scripts/fork.py", MINIMAL, "--minimal")
    assert done.returncode == 2
    assert (
        "src/musigma/shapes.py needs files that --minimal removes: configs/model/vq_" in done.stderr
    )
    assert git(copy, "status", "--porcelain") == ""


QUICK_TESTS = ("pytest", "-q", "-n", "2", "-m", "not slow and not exhaustive and not extras")


@pytest.mark.exhaustive
@pytest.mark.parametrize("command", [("mypy",), QUICK_TESTS], ids=["types", "quick tests"])
def test_a_minimal_fork_passes_its_own_checks(command, minimal_fork):
    folder, _, installed = minimal_fork
    done = run(folder, "-m", *command, timeout=3600, **installed)
    assert done.returncode == 0, done.stdout[-20000:] + done.stderr[-2000:]
