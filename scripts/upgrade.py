"""Take a newer workbench from the template: `make upgrade FROM=<path or git address>[@ref]`.

Replaces `src/workbench`, its tests, its guide to Lightning's callbacks and this script, and in
`pyproject.toml` the layers of the workbench. Shows what the template's changelog says in between,
and runs the checks. Nothing is replaced unless the checkout is clean and its workbench is one that
the template has had, so that no change of yours is lost.
"""

import argparse
import difflib
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
"""Of the workbench's modules, in `pyproject.toml`, where import-linter looks for them."""

CHECKS = (
    ("ruff", "check", "."),
    ("mypy",),
    ("lint-imports",),
    ("pytest", "--quiet", "-m", "not slow and not exhaustive"),
)


class UpgradeError(Exception):
    """The reason why there is no upgrade; nothing has been changed."""


def main() -> int:
    """Upgrade as the command line says; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("source", help="the template: a path or git address, with @ref or without")
    parser.add_argument("--no-check", action="store_true", help="do not run the checks at the end")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        template = Path(folder, "template")
        try:
            check_clean()
            newer = fetch(asked.source, template)
            known = known_version(template)
        except UpgradeError as error:
            print(f"\n{error}\nNothing has been changed.", file=sys.stderr)
            return 2
        if all(tree(f"HEAD:{path}") == tree(f"{newer}:{path}", template) for path in REPLACED):
            print(f"The workbench is that of {asked.source} already.")
            return 0
        for line in said_since(known, newer, template):
            print(line)
        replace(newer, template)
    git("commit", "--quiet", "--message", f"Workbench {newer[:10]} of {asked.source}")
    print(f"src/workbench is that of {newer[:10]} now, in one commit; undo: git revert HEAD")
    return 0 if asked.no_check else checked()


def git(*arguments: str, cwd: Path = ROOT, typed: str | None = None) -> str:
    """The output of git, to which something may be typed; an UpgradeError if it fails."""
    command = ["git", *arguments]
    done = subprocess.run(
        command, cwd=cwd, input=typed, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise UpgradeError(f"git {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout.strip()


def check_clean() -> None:
    """Check that there are no uncommitted changes, and that git knows who commits."""
    if changes := git("status", "--porcelain"):
        raise UpgradeError(f"There are changes that are not committed; commit them:\n{changes}")
    git("var", "GIT_COMMITTER_IDENT")


def fetch(source: str, folder: Path) -> str:
    """Clone the template with its history; return the commit of its ref."""
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
        raise UpgradeError(f"{address} has no branch, tag or commit {ref}: take another @ref")
    if not tree(f"{commit}:{REPLACED[0]}", folder):
        raise UpgradeError(f"{source} has no {REPLACED[0]}: it is not the template")
    return commit


def tree(name: str, checkout: Path = ROOT) -> str:
    """Git's hash of a revision, or of a `commit:path`; empty if there is none."""
    try:
        return git("rev-parse", "--verify", "--quiet", name, cwd=checkout)
    except UpgradeError:
        return ""


def known_version(template: Path) -> str:
    """The newest commit of the template whose workbench is that here.

    Raises:
        UpgradeError: if the template never had it, or one of the other places.
    """
    commits = git("rev-list", "--all", cwd=template).splitlines()
    known = ""
    for path in reversed(REPLACED):
        mine = tree(f"HEAD:{path}")
        names = "".join(f"{commit}:{path}\n" for commit in commits)
        found = git("cat-file", "--batch-check=%(objectname)", cwd=template, typed=names)
        hashes = ["" if " " in line else line for line in found.splitlines()]  # "... missing"
        known = next((c for c, one in zip(commits, hashes, strict=True) if one == mine), "")
        if not known:
            raise UpgradeError(
                f"{path} is not that of any version of the template: it was changed here, and "
                "an upgrade would lose that.\nMove the change into the project's own package, or "
                f"propose it to the template; git log -- {path} shows where it was made."
            )
    return known


def said_since(known: str, newer: str, template: Path) -> list[str]:
    """The lines added to the changelog and to the dependencies, for printing."""
    lines = []
    for path in ("CHANGELOG.md", "pyproject.toml"):
        before, after = (git("show", f"{c}:{path}", cwd=template) for c in (known, newer))
        if path == "pyproject.toml":
            before, after = ("\n".join(_dependencies(text)) for text in (before, after))
        added = [
            line[2:]
            for line in difflib.ndiff(before.splitlines(), after.splitlines())
            if line.startswith("+ ")
        ]
        if added:
            title = "In between" if path == "CHANGELOG.md" else "Take over into pyproject.toml"
            lines += [f"{title}:", *(f"  {line}" for line in added), ""]
    return lines


def _dependencies(text: str) -> list[str]:
    """The dependencies, and those of each extra with its name."""
    project = tomllib.loads(text)["project"]
    extras = project.get("optional-dependencies", {})
    return sorted(
        project.get("dependencies", [])
        + [f"{one} (extra {name})" for name, needed in extras.items() for one in needed]
    )


def replace(newer: str, template: Path) -> None:
    """Replace the workbench by the newer one, and stage that."""
    there = [path for path in REPLACED if tree(f"{newer}:{path}", template)]
    git("checkout", "--quiet", newer, "--", *there, cwd=template)
    for path in REPLACED:
        git("rm", "-r", "--quiet", "--ignore-unmatch", path)
        for file in git("ls-tree", "-r", "--name-only", newer, path, cwd=template).splitlines():
            place = ROOT / file
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes((template / file).read_bytes())
            place.chmod((template / file).stat().st_mode)
        if path in there:
            git("add", "--", path)
    project = ROOT / "pyproject.toml"
    if layers := LAYERS.search(git("show", f"{newer}:pyproject.toml", cwd=template)):
        text = project.read_text("utf-8")
        project.write_text(LAYERS.sub(lambda _: layers[0], text), "utf-8")
        git("add", "--", "pyproject.toml")


def checked() -> int:
    """Run the checks; return the exit status."""
    for command in CHECKS:
        print(" ".join(command), flush=True)
        program, *arguments = command
        found = Path(sys.executable).parent / program
        if subprocess.run([found, *arguments], cwd=ROOT, check=False).returncode:
            print(
                f"\n{program} fails with the newer workbench: fix the project, or undo with "
                "git revert HEAD",
                file=sys.stderr,
            )
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
