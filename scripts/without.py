"""Remove mentions of removed files from the texts of the project."""

import ast
import re
from collections.abc import Iterator, Set
from pathlib import PurePosixPath

from zoo import KINDS, Files, Uses, chosen, group_of

ALTERNATIVES = re.compile(r"\b([a-z/]+)=(\w+(?:\|\w+)+)")


def texts_without(gone: Set[str], files: Files, uses: Uses) -> dict[str, str]:
    """The remaining files that change, with their new texts.

    - Packages no longer re-export classes of removed modules.
    - Markdown loses each table row, list item, paragraph and line of code that names a removed
      file; in a list of alternatives (`study=beta|seeds`) only the name is removed.
    - `pyproject.toml` and the Makefile lose extras that nothing imports any more.
    """
    changed = {}
    for path, text in files.items():
        if path.endswith(".md"):
            changed[path] = _markdown_without(gone, text)
        elif path.endswith("/__init__.py") and uses[path] & gone:
            changed[path] = _package_without(gone, text)
    changed |= _without_extras(gone, files)
    return {path: t for path, t in changed.items() if path not in gone and t != files[path]}


def _markdown_without(gone: Set[str], text: str) -> str:
    names = "|".join(PurePosixPath(path).stem for path in gone if group_of(path) in KINDS)

    def shortened(match: re.Match[str]) -> str:
        left = [n for n in match[2].split("|") if f"configs/{match[1]}/{n}.yaml" not in gone]
        return f"{match[1]}={'|'.join(left)}" if left else match[0]

    def is_removed(unit: str) -> bool:
        is_named = re.search(rf"`(?:{names})`", unit) or any(path in unit for path in gone)
        return bool(is_named or gone & {*chosen("", unit)})

    kept, after_removal = [""], False
    for unit in _units(ALTERNATIVES.sub(shortened, text)):
        if is_removed(unit):
            after_removal = True
        elif not (after_removal and unit == kept[-1] == "\n"):  # leaves one blank line, not two
            kept.append(unit)
            after_removal = False
    return "".join(kept)


def _units(text: str) -> Iterator[str]:
    """Split Markdown into table rows, list items, paragraphs, and lines of code."""
    unit, in_code = "", False
    for line in text.splitlines(keepends=True):
        fence = line.startswith("```")
        if unit and (in_code or fence or line == "\n" or line.startswith(("|", "- "))):
            yield unit
            unit = ""
        unit += line
        if in_code or fence or line == "\n":
            yield unit
            unit = ""
        in_code ^= fence
    yield unit


def _package_without(gone: Set[str], text: str) -> str:
    """The text of an `__init__.py` without the names that it re-exports from removed modules."""
    lines, names = text.splitlines(keepends=True), list[str]()
    for node in reversed(ast.parse(text).body):
        if isinstance(node, ast.ImportFrom) and _path(str(node.module)) in gone:
            names += [alias.asname or alias.name for alias in node.names]
            del lines[node.lineno - 1 : node.end_lineno]
    return re.sub(rf'"(?:{"|".join(names)})",?\s*', "", "".join(lines)) if names else text


def _path(module: str) -> str:
    return f"src/{module.replace('.', '/')}.py"


def _without_extras(gone: Set[str], files: Files) -> dict[str, str]:
    """`pyproject.toml` and the Makefile without the extras that only removed files import."""
    project, makefile = files["pyproject.toml"], files["Makefile"]
    for extra, package in re.findall(r'^(\w+) = \["(\w+)>=[^"]*"\]', project, re.MULTILINE):
        import_of = re.compile(rf"^\s*(?:import|from) {package}\b", re.MULTILINE)
        users = {path for path, t in files.items() if path.endswith(".py") and import_of.search(t)}
        if users and users <= gone:
            project = re.sub(rf'(?m)^{extra} = .*\n|,? "{package}\.\*"', "", project)
            makefile = re.sub(rf",{extra}\b", "", makefile)
    return {"pyproject.toml": project, "Makefile": makefile}
