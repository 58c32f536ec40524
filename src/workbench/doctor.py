"""Check that this machine is ready to train: a list of checks, each of which yields findings.

Heavy packages are imported inside the checks, so that a missing or broken one is a finding too.
"""

import importlib
import os
import platform
import re
import shutil
import sys
import textwrap
import warnings
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.errors import RunError
from workbench.project import Finding, Project, hand_over, the_project
from workbench.runs.output import check_writable, nearest_folder

if TYPE_CHECKING:
    from packaging.requirements import Requirement

GIB = 2**30
# GHSA-w37p-236h-pfx3: `import lightning` starts malware that steals credentials.
MALICIOUS = ("2.6.2", "2.6.3")

INSTALL = "pip install -e '.[dev]'"
PAIR = "Reinstall both, from one place: pip install --force-reinstall torch torchvision"
CLEAN_UP = f"Change every password, key and token that this machine can read, then: {INSTALL}"
USE_CPU = "Runs use the CPU. For a GPU that nvidia-smi lists: https://pytorch.org/get-started"
ELSEWHERE = "Choose another place with log_dir=..."


def packages() -> Iterator[Finding]:
    """Check the versions of Python, the project and the packages that it needs."""
    yield Finding("ok", "python", f"{platform.python_version()} ({sys.executable})")
    project = the_project().package
    for name in (project, "packaging"):
        if not _version(name):
            yield Finding("PROBLEM", name, "is missing: no versions can be compared", INSTALL)
            return
    yield Finding("ok", project, _version(project))
    for needed in _requirements(project):
        version = _version(needed.name)
        if not version:
            yield Finding("PROBLEM", needed.name, f"is missing, needed: {needed}", INSTALL)
        elif needed.name == "lightning" and version in MALICIOUS:
            what = f"{version} is MALICIOUS: importing it steals credentials"
            yield Finding("PROBLEM", needed.name, what, CLEAN_UP)
        elif not needed.specifier.contains(version, prereleases=True):
            what = f"{version} is too old, needed: {needed.specifier}"
            yield Finding("PROBLEM", needed.name, what, INSTALL)
        else:
            yield Finding("ok", needed.name, f"{version} ({needed.specifier})")


def imports() -> Iterator[Finding]:
    """Check that torch and torchvision fit together, and that the project can be imported."""
    torch, torchvision = _version("torch"), _version("torchvision")
    if not (torch and torchvision):
        return
    for needed in _requirements("torchvision"):
        if needed.name == "torch" and not needed.specifier.contains(torch, prereleases=True):
            what = f"{torchvision} is made for {needed}, and torch is {torch}"
            yield Finding("PROBLEM", "torchvision", what, PAIR)
    if failure := _import_failure():
        yield Finding("PROBLEM", "imports", *failure)
        return
    yield Finding("ok", "imports", f"torch, torchvision and all of {the_project().package}")


def devices() -> Iterator[Finding]:
    """List the CPU and the GPUs that torch can use."""
    try:
        import torch
    except Exception:  # reported by `imports`
        return

    yield Finding("ok", "cpu", f"{cpu_name()}, torch threads: {torch.get_num_threads()}")
    with warnings.catch_warnings(record=True) as caught:  # about an old driver or GPU
        warnings.simplefilter("always")
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        gpus = [torch.cuda.get_device_properties(number) for number in range(count)]
    reasons = "".join(f"{warning.message}\n" for warning in caught)
    for gpu in gpus:
        what = f"{gpu.name}, {gpu.total_memory / GIB:.0f} GiB"
        yield Finding("note" if reasons else "ok", "gpu", what, reasons)
    if torch.backends.mps.is_available():
        yield Finding("ok", "gpu", "MPS")
    elif not gpus:
        built = f"for CUDA {torch.version.cuda}" if torch.version.cuda else "without CUDA"
        what = f"no GPU or driver is usable, torch is built {built}"
        yield Finding("note", "gpu", what, reasons + USE_CPU)


def compiler() -> Iterator[Finding]:
    """Look for the C++ compiler that `torch.compile` needs; nothing else needs it."""
    names = (os.environ.get("CXX", ""), "g++", "clang++", "cl")
    if found := next(filter(None, map(shutil.which, names)), None):
        yield Finding("ok", "torch.compile", f"can use the compiler {found}")
    else:
        yield Finding("note", "torch.compile", "needs a C++ compiler, and there is none on PATH")


def logs() -> Iterator[Finding]:
    """Check that run folders can be written, and how much space is free for them."""
    folder = the_project().root / "logs"
    try:
        check_writable([folder / "runs" / "a run" / "config.yaml"], ELSEWHERE)
    except RunError as error:
        what, _, advice = str(error).partition("\n")
        yield Finding("PROBLEM", "logs", f"{folder} cannot be written: {what}", advice)
        return
    free = shutil.disk_usage(nearest_folder(folder / "runs")).free / GIB
    what = f"{folder} can be written, {free:.1f} GiB free"
    yield Finding("note", "logs", what, ELSEWHERE) if free < 1 else Finding("ok", "logs", what)


def project_checks() -> Iterator[Finding]:
    """Run the project's own checks."""
    project = the_project()
    if project.checks and _import_failure():
        yield Finding("note", "the rest", f"is checked once {project.package} can be imported")
        return
    for check in project.checks:
        yield from check()


CHECKS = (packages, imports, devices, compiler, project_checks, logs)


def report(project: Project) -> int:
    """Print the findings of all checks; return the exit status: 1 if there is any problem."""
    hand_over(project)
    problems = 0
    for check in CHECKS:
        for level, about, what, advice in check():
            print(_line(f"{level:<9}{about:<15}", what), flush=True)
            for line in advice.splitlines():
                print(_line("", line))
            problems += level == "PROBLEM"
    print(f"\n{problems or 'no'} problem{'' if problems == 1 else 's'}")
    return min(problems, 1)


def _line(start: str, text: str) -> str:
    """The start of a line in 24 columns, then text wrapped to a terminal without breaking paths."""
    return textwrap.fill(
        text,
        80,
        initial_indent=f"{start:<24}",
        subsequent_indent=" " * 24,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _version(package: str) -> str:
    """The installed version of a package; empty if it is not installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def _requirements(package: str) -> Iterator["Requirement"]:
    """The requirements of an installed package on this machine, without those of its extras."""
    if not (_version(package) and _version("packaging")):
        return
    from packaging.requirements import Requirement

    for requirement in map(Requirement, metadata.requires(package) or ()):
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            yield requirement


def _import_failure() -> tuple[str, str] | None:
    """Why torch, torchvision or the project cannot be imported, and advice; None if they can."""
    project = the_project().package
    for name, advice in (("torch", INSTALL), ("torchvision", PAIR), (project, INSTALL)):
        if name == project and _version("lightning") in MALICIOUS:
            return f"{name} cannot be imported: it would start the malicious lightning", advice
        try:
            the_project().settings() if name == project else importlib.import_module(name)
        except Exception as error:  # packages that do not fit together raise anything
            reason = f"{type(error).__name__}: {error}".partition("\n")[0]
            return f"{name} cannot be imported: {reason}", advice
    return None


def cpu_name() -> str:
    """The name of the processor."""
    info = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*: (.+)", info.read_text("utf-8") if info.exists() else "")
    return found[1] if found else platform.processor() or platform.machine()
