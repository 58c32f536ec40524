"""Turn this template into a project of your own: a new name, version 0.1.0, a new changelog.

Works in place, on the tracked files of a clean git checkout. Everything is checked and all new
contents are computed before the first file changes. The result is one commit, which no longer has
this script, its modules and their tests.
"""

import argparse
import builtins
import importlib.util
import io
import itertools
import keyword
import re
import shutil
import subprocess
import sys
import tokenize
import tomllib
from pathlib import Path

from without import texts_without
from zoo import KEPT, belongings, uses_of, zoo

ROOT = Path(__file__).resolve().parents[1]
TEMPLATE = "musigma"
WORDS = re.compile(rf"(?<![A-Za-z0-9_]){TEMPLATE}(?![A-Za-z0-9_])")
CONSTANTS = re.compile(rf"(?<![A-Za-z0-9_]){TEMPLATE.upper()}(?=_)")
LEFT_BEHIND = (
    *("scripts/fork.py", "scripts/without.py", "scripts/zoo.py"),
    *("tests/test_architecture.py", "tests/test_fork.py", "tests/test_zoo.py"),
    *("docs/forks.md", "docs/results.md"),
)
UNCHANGED = ("LICENSE",)
EXAMPLES = re.compile(r"configs/experiment/(?!notebook\.yaml)")

Plan = dict[str, bytes | None]
"""Tracked path → new content; None if it is removed."""


class ForkError(Exception):
    """The reason why the template cannot be forked; nothing has been changed."""


def main() -> int:
    """Fork as the command line asks; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("name", help="of the package and the project, such as my_project")
    parser.add_argument("--new-history", action="store_true", help="begin with a single commit")
    parser.add_argument(
        "--without-examples",
        action="store_true",
        help="remove configs/experiment except notebook.yaml",
    )
    parser.add_argument(
        "--minimal",
        action="store_true",
        help=f"keep only the models {', '.join(KEPT)}, and the code that they need",
    )
    parser.add_argument("--no-check", action="store_true", help="do not lint and test at the end")
    options = parser.parse_args()
    try:
        files = tracked_files()
        version = check_template(files)
        check_name(options.name, files)
        plan = without_zoo(files) if options.minimal else {}
        left = {path: content for path, content in (files | plan).items() if content is not None}
        plan |= renamed(left, options.name, version, options.without_examples)
    except ForkError as error:
        print(f"\n{error}\nNothing has been changed.", file=sys.stderr)
        return 2
    try:
        carry_out(plan, options.name)
        commit(f"{options.name}, made from {TEMPLATE} {version}", options.new_history)
    except BaseException:
        print("\nUndo with: git reset --hard && git clean -fd src tests", file=sys.stderr)
        raise
    print(f"{TEMPLATE} {version} is now {options.name} 0.1.0, in one commit; its code is in src/.")
    print("Left to do: set the git remote, and rewrite README.md and CITATION.cff.")
    print(f"Runs in logs/ that were made before can be opened with {TEMPLATE} only.")
    return 0 if options.no_check else run_checks()


def git(*arguments: str) -> str:
    """The output of git; a ForkError if it fails."""
    command = ["git", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ForkError(f"git {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout.strip()


def tracked_files() -> dict[str, bytes]:
    """Tracked path → content; a ForkError unless the checkout is clean and git can commit."""
    try:
        root = Path(git("rev-parse", "--show-toplevel"))
    except (ForkError, OSError) as error:
        text = f"{ROOT} is not a git checkout, so a fork could not be undone: {error}"
        raise ForkError(text) from error
    if root.resolve() != ROOT:
        raise ForkError(f"{ROOT} is a part of the checkout {root}; fork a clone of the template")
    if changes := git("status", "--porcelain"):
        raise ForkError(f"There are changes that are not committed; commit or remove:\n{changes}")
    git("var", "GIT_AUTHOR_IDENT")
    git("var", "GIT_COMMITTER_IDENT")
    paths = git("ls-files", "-z").rstrip("\0").split("\0")
    return {path: (ROOT / path).read_bytes() for path in paths if not (ROOT / path).is_symlink()}


def check_template(files: dict[str, bytes]) -> str:
    """The template's version; a ForkError if this is not the template, or ruff is missing."""
    project = tomllib.loads(files["pyproject.toml"].decode())["project"]
    if project["name"] != TEMPLATE or f"src/{TEMPLATE}/__init__.py" not in files:
        raise ForkError(f"This is {project['name']}, no longer the template {TEMPLATE}.")
    if not importlib.util.find_spec("ruff"):
        raise ForkError(
            f"{sys.executable} has no ruff, which sorts the imports.\n"
            "Try: make fork NAME=..., or pip install -e '.[dev]'"
        )
    return str(project["version"])


def check_name(name: str, files: dict[str, bytes]) -> None:
    """Raise a ForkError if the new name is invalid or already means something else."""
    project = tomllib.loads(files["pyproject.toml"].decode())["project"]
    extras = project["optional-dependencies"]
    requirements = [*project["dependencies"], *extras, *itertools.chain(*extras.values())]
    packages = {re.split(r"[^\w.-]", text)[0].lower().replace("-", "_") for text in requirements}
    folders = {path.partition("/")[0] for path in files}
    if not re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", name):
        reason = "is not a package name: lower-case letters, digits and single _, such as my_vae"
    elif name == TEMPLATE:
        reason = "is the template's own name"
    elif keyword.iskeyword(name) or keyword.issoftkeyword(name) or hasattr(builtins, name):
        reason = "is a word of Python"
    elif name in sys.stdlib_module_names:
        reason = "is a module of Python's standard library"
    elif name in packages:
        reason = "is a package that the project needs"
    elif importlib.util.find_spec(name):
        reason = "can be imported here already"
    elif name in folders or (ROOT / "src" / name).exists():
        reason = "is a folder of the project"
    elif name in used_words(files):
        reason = "is a name that the code uses for something else"
    else:
        return
    raise ForkError(f"{name} {reason}. Choose another name.")


def used_words(files: dict[str, bytes]) -> set[str]:
    """Every name in the code; a package with one of these names would hide it or be hidden."""
    return {
        token.string
        for path, content in files.items()
        if path.endswith(".py")
        for token in tokenize.tokenize(io.BytesIO(content).readline)
        if token.type == tokenize.NAME
    }


def without_zoo(files: dict[str, bytes]) -> Plan:
    """The new contents of the files that change if the zoo is removed."""
    texts = {path: content.decode() for path, content in files.items() if is_text(content)}
    uses = uses_of(texts)
    gone = belongings(zoo(uses), uses)
    changed = texts_without(gone, texts, uses)
    for path in sorted(texts.keys() - gone - changed.keys()):
        if used := uses[path] & gone:
            raise ForkError(f"{path} needs files that --minimal removes: {', '.join(sorted(used))}")
    return dict.fromkeys(gone) | {path: text.encode() for path, text in changed.items()}


def renamed(files: dict[str, bytes], name: str, version: str, without_examples: bool) -> Plan:
    """The new contents of the files that change under the new name."""
    plan: Plan = {}
    for path, content in files.items():
        if path in LEFT_BEHIND or (without_examples and EXAMPLES.match(path)):
            plan[path] = None
        elif path not in UNCHANGED and is_text(content):
            text = content.decode()
            if TEMPLATE in CONSTANTS.sub("", WORDS.sub("", text)).lower():
                raise ForkError(f"{path} holds {TEMPLATE} as a part of another word.")
            new = edited(path, CONSTANTS.sub(name.upper(), WORDS.sub(name, text)), version)
            if new != text:
                plan[path] = new.encode()
    return plan


def is_text(content: bytes) -> bool:
    """True if a file's content is text in UTF-8."""
    try:
        return "\0" not in content.decode()
    except UnicodeDecodeError:
        return False


def edited(path: str, text: str, version: str) -> str:
    """The text with its version reset, and without what only the template needs."""
    if path == "CHANGELOG.md":
        return f"# Changelog\n\n## 0.1.0\n\nMade from {TEMPLATE} {version}.\n"
    edits = {
        "pyproject.toml": [(r'^version = ".*"$', 'version = "0.1.0"')],
        "CITATION.cff": [(r"^version: .*$", "version: 0.1.0")],
        "Makefile": [(r"^fork:.*\n(\t.*\n)+\n", ""), (r"^(\.PHONY:.*) fork\b", r"\1")],
        "README.md": [
            (r"^`make fork (?s:.*?)\n\n", ""),
            (r"\[forks\]\(docs/forks\.md\) ·\s", ""),
            (r"\[results\]\(docs/results\.md\) ·\s", ""),
            (r"^Against published values(?s:.*?)\n\n", ""),
        ],
    }.get(path, [])
    for pattern, replacement in edits:
        text, count = re.subn(pattern, replacement, text, flags=re.MULTILINE)
        if count != 1:
            raise ForkError(f"{path} holds {pattern} {count} times, and should once.")
    return text


def carry_out(plan: Plan, name: str) -> None:
    """Write the files, rename the package's two folders, and sort imports by the new name."""
    for path, content in plan.items():
        if content is None:
            (ROOT / path).unlink()
        else:
            (ROOT / path).write_bytes(content)
    git("add", "--all")  # git does not move a folder in which files are missing
    for place in ("src", "tests"):
        git("mv", f"{place}/{TEMPLATE}", f"{place}/{name}")
    shutil.rmtree(ROOT / "src" / f"{TEMPLATE}.egg-info", ignore_errors=True)
    ruff("check", "--fix", "--exit-zero")
    ruff("format")
    ruff("check", "--select", "E501", "--add-noqa")  # lines that a longer name made too long


def ruff(*arguments: str) -> None:
    """Run ruff on the whole project."""
    subprocess.run(
        [sys.executable, "-m", "ruff", *arguments, "--silent", "."], cwd=ROOT, check=True
    )


def commit(message: str, new_history: bool) -> None:
    """Commit everything, on top of the template's last commit or as the first commit."""
    git("add", "--all")
    parents = [] if new_history else ["-p", "HEAD"]
    git("update-ref", "HEAD", git("commit-tree", git("write-tree"), *parents, "-m", message))


def run_checks() -> int:
    """Run lint and the quick tests of the new project; return the exit status."""
    if Path(sys.prefix) == ROOT / ".venv":
        uninstall = ["-m", "pip", "uninstall", "--quiet", "--yes", TEMPLATE]
        subprocess.run([sys.executable, *uninstall], check=False)
    print("Checking the new project: make lint test-quick", flush=True)
    # If make runs this script, its environment has ARGS, which are meant for this script.
    make = ["make", "lint", "test-quick", "ARGS="]
    return subprocess.run(make, cwd=ROOT, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
