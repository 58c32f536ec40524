"""The environment of a run: packages, code and machine."""

import platform
import subprocess
import sys
from functools import cache
from importlib import metadata

import torch

from workbench.project import the_project


def describe_environment(device: str) -> str:
    """Python, machine, device, git commit (with any difference to it) and packages, as text."""
    lines = [
        f"python {platform.python_version()} ({sys.executable})",
        f"platform {platform.platform()}, CPU threads: {torch.get_num_threads()}",
        f"device {device}",
        f"commit {_git('rev-parse', 'HEAD') or 'not a git checkout'}",
        "",
        *_packages(),
    ]
    if untracked := _git("ls-files", "--others", "--exclude-standard"):
        lines += ["", "untracked files:", untracked]
    if difference := _git("diff", "HEAD"):
        lines += ["", "difference to the commit:", difference]
    return "\n".join(lines) + "\n"


@cache
def _packages() -> list[str]:
    """Names and versions of the installed packages."""
    known = (distribution.metadata for distribution in metadata.distributions())  # parsed once
    return sorted({f"{one['Name']}=={one['Version']}" for one in known}, key=str.lower)


def _git(*arguments: str) -> str:
    try:
        command, root = ["git", *arguments], the_project().root
        done = subprocess.run(
            command, cwd=root, capture_output=True, text=True, errors="replace", check=False
        )
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
