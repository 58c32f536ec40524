"""Take a newer workbench from the template: `make upgrade FROM=<path or git address>[@ref]`.

Replaces `src/workbench`, its tests, its guide to Lightning's callbacks, this script, and the layers
of the workbench in `pyproject.toml`. Prints the additions to the template's changelog and runs the
checks. Refuses if the checkout is not clean, or if its workbench equals no version of the template,
because changes made to it would be lost.
"""

import argparse
import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
REPLACED = (
    *("src/workbench", "src/hydra_plugins", "tests/workbench"),
    *("docs/lightning.md", "scripts/upgrade.py"),
)
LAYERS = re.compile(r'^containers = \["workbench"\]\n(?s:.*?)^\]$', re.MULTILINE)
"""The layers of the workbench's modules in `pyproject.toml`, which import-linter checks."""

CHECKS = (
    ("ruff", "check", "."),
    ("mypy",),
    ("lint-imports",),
    ("pytest", "--quiet", "-m", "not slow and not exhaustive"),
)


class UpgradeError(Exception):
    """The reason why the workbench cannot be upgraded; nothing has been changed."""


def main() -> int:
    """Upgrade as the command line asks; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("source", help="the template: a path or git address, with @ref or without")
    parser.add_argument("--no-check", action="store_true", help="do not run the checks at the end")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        template = Path(folder, "template")
        try:
            check_clean()
            newer = fetch(options.source, template)
            current = current_version(template)
        except UpgradeError as error:
            print(f"\n{error}\nNothing has been changed.", file=sys.stderr)
            return 2
        if all(tree(f"HEAD:{path}") == tree(f"{newer}:{path}", template) for path in REPLACED):
            print(f"The workbench is already that of {options.source}.")
            return 0
        for line in additions(current, newer, template):
            print(line)
        replace(newer, template)
    git("commit", "--quiet", "--message", f"Workbench {newer[:10]} of {options.source}")
    print(f"src/workbench is now that of {newer[:10]}, in one commit; undo: git revert HEAD")
    return 0 if options.no_check else run_checks()


def git(*arguments: str, cwd: Path = ROOT, stdin: str | None = None) -> str:
    """The output of git; an UpgradeError if it fails."""
    command = ["git", *arguments]
    done = subprocess.run(
        command, cwd=cwd, input=stdin, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise UpgradeError(f"git {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout.strip()


def check_clean() -> None:
    """Raise an UpgradeError if there are uncommitted changes, or git does not know who commits."""
    if changes := git("status", "--porcelain"):
        raise UpgradeError(f"There are changes that are not committed; commit them:\n{changes}")
    git("var", "GIT_COMMITTER_IDENT")


def fetch(source: str, folder: Path) -> str:
    """Clone the template with its history; return the commit of the requested ref."""
    address, _, ref = source.rpartition("@")
    if not address or Path(source).exists() or "/" in ref or ":" in ref:  # git@host:path
        address, ref = source, "HEAD"
    try:
        git("clone", "--quiet", "--no-checkout", address, str(folder))
    except UpgradeError as error:
        reason = str(error).rpartition("fatal: ")[2]
        raise UpgradeError(f"{address} cannot be cloned: {reason}") from error
    commits = (tree(f"{where}{ref}^{{commit}}", checkout=folder) for where in ("", "origin/"))
    if not (commit := next(filter(None, commits), "")):
        raise UpgradeError(f"{address} has no branch, tag or commit {ref}: choose another @ref")
    if not tree(f"{commit}:{REPLACED[0]}", folder):
        raise UpgradeError(f"{source} has no {REPLACED[0]}: it is not the template")
    return commit


def tree(name: str, checkout: Path = ROOT) -> str:
    """Git's hash of a revision, or of a `commit:path`; empty if there is none."""
    try:
        return git("rev-parse", "--verify", "--quiet", name, cwd=checkout)
    except UpgradeError:
        return ""


def current_version(template: Path) -> str:
    """The newest commit of the template that has the same workbench as this project.

    Raises:
        UpgradeError: if a path in `REPLACED` differs from all versions in the template.
    """
    commits = git("rev-list", "--all", cwd=template).splitlines()
    current = ""
    for path in reversed(REPLACED):
        own = tree(f"HEAD:{path}")
        names = "".join(f"{commit}:{path}\n" for commit in commits)
        output = git("cat-file", "--batch-check=%(objectname)", cwd=template, stdin=names)
        hashes = ["" if " " in line else line for line in output.splitlines()]  # "... missing"
        current = next((c for c, found in zip(commits, hashes, strict=True) if found == own), "")
        if not current:
            raise UpgradeError(
                f"{path} is not that of any version of the template: it was changed here, and "
                "an upgrade would lose the change.\nMove it into the project's own package, or "
                f"propose it to the template; git log -- {path} shows where it was made."
            )
    return current


def additions(current: str, newer: str, template: Path) -> list[str]:
    """The lines added to the changelog and to the dependencies, for printing."""
    lines = []
    for path, title, added in (
        ("CHANGELOG.md", "Changes", _new_entries),
        ("pyproject.toml", "Copy into pyproject.toml", _new_dependencies),
    ):
        before, after = (git("show", f"{c}:{path}", cwd=template) for c in (current, newer))
        if new := added(before, after):
            lines += [f"{title}:", *(f"  {line}" for line in new), ""]
    return lines


def _new_entries(before: str, after: str) -> list[str]:
    """The lines of a changelog that were not in it before, under their headings."""
    known = set(before.splitlines())
    lines: list[str] = []
    headings: list[str] = []  # not yet printed; a deeper one begins with more #
    for line in after.splitlines():
        if line.startswith("##"):
            headings = [h for h in headings if h.index(" ") < line.index(" ")] + [line]
        elif line not in known:
            lines += [*headings, line]
            headings = []
    return lines


def _new_dependencies(before: str, after: str) -> list[str]:
    """The dependencies of a `pyproject.toml` that were not in it before."""
    known = _dependencies(before)
    return [line for line in _dependencies(after) if line not in known]


def _dependencies(text: str) -> list[str]:
    """All dependencies, those of extras with the name of the extra."""
    project = tomllib.loads(text)["project"]
    extras = project.get("optional-dependencies", {})
    return sorted(
        project.get("dependencies", [])
        + [f"{package} (extra {name})" for name, needed in extras.items() for package in needed]
    )


def replace(newer: str, template: Path) -> None:
    """Replace the workbench by the newer one, and stage the change."""
    existing = [path for path in REPLACED if tree(f"{newer}:{path}", template)]
    git("checkout", "--quiet", newer, "--", *existing, cwd=template)
    for path in REPLACED:
        git("rm", "-r", "--quiet", "--ignore-unmatch", path)
        for file in git("ls-tree", "-r", "--name-only", newer, path, cwd=template).splitlines():
            target = ROOT / file
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes((template / file).read_bytes())
            target.chmod((template / file).stat().st_mode)
        if path in existing:
            git("add", "--", path)
    project = ROOT / "pyproject.toml"
    if layers := LAYERS.search(git("show", f"{newer}:pyproject.toml", cwd=template)):
        text = project.read_text("utf-8")
        project.write_text(LAYERS.sub(lambda _: layers[0], text), "utf-8")
        git("add", "--", "pyproject.toml")


def run_checks() -> int:
    """Run the checks; return the exit status."""
    for command in CHECKS:
        print(" ".join(command), flush=True)
        program, *arguments = command
        path = Path(sys.executable).parent / program
        if subprocess.run([path, *arguments], cwd=ROOT, check=False).returncode:
            print(
                f"\n{program} fails with the newer workbench: fix the project, or undo the upgrade "
                "with git revert HEAD",
                file=sys.stderr,
            )
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
