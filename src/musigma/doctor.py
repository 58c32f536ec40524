"""Whether this machine is ready to train: a list of checks, each of which yields findings.

Heavy packages are imported inside the checks: one that is missing or broken is a finding too.
"""

import importlib
import os
import platform
import re
import shutil
import sys
import warnings
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple, get_args

from musigma.errors import DataError, RunError
from musigma.paths import PROJECT_ROOT, default_data_root
from musigma.runs.output import check_writable, nearest_folder

if TYPE_CHECKING:
    from packaging.requirements import Requirement

LOGS = PROJECT_ROOT / "logs"
GIB = 2**30
# GHSA-w37p-236h-pfx3: `import lightning` starts a thief of credentials.
MALICIOUS = ("2.6.2", "2.6.3")

INSTALL = "pip install -e '.[dev]'"
PAIR = "Install both anew, from one place: pip install --force-reinstall torch torchvision"
CLEAN_UP = f"Change every password, key and token that this machine can read, then: {INSTALL}"
USE_CPU = "Runs use the CPU. For a GPU that nvidia-smi lists: https://pytorch.org/get-started"
GET_DATA = "The first run that needs them downloads them; or put them there by hand."
ELSEWHERE = "Choose another place with log_dir=..."


class Finding(NamedTuple):
    """One line of the report, and what to do about it."""

    level: Literal["ok", "note", "PROBLEM"]
    about: str
    what: str
    advice: str = ""


def packages() -> Iterator[Finding]:
    """Python, musigma, and the packages that it needs."""
    yield Finding("ok", "python", f"{platform.python_version()} ({sys.executable})")
    for name in ("musigma", "packaging"):
        if not _version(name):
            yield Finding("PROBLEM", name, "is missing: no versions can be compared", INSTALL)
            return
    yield Finding("ok", "musigma", _version("musigma"))
    for needed in _requirements("musigma"):
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
    """Whether torch and torchvision fit one another, and all of musigma can be loaded."""
    torch, torchvision = _version("torch"), _version("torchvision")
    if not (torch and torchvision):
        return
    for needed in _requirements("torchvision"):
        if needed.name == "torch" and not needed.specifier.contains(torch, prereleases=True):
            what = f"{torchvision} is made for {needed}, and torch is {torch}"
            yield Finding("PROBLEM", "torchvision", what, PAIR)
    for name, advice in (("torch", INSTALL), ("torchvision", PAIR), ("musigma.training", INSTALL)):
        if failure := _import_failure(name):
            yield Finding("PROBLEM", "imports", f"{name} cannot be imported: {failure}", advice)
            return
    yield Finding("ok", "imports", "torch, torchvision and all of musigma")


def devices() -> Iterator[Finding]:
    """What there is to compute with."""
    if _import_failure("torch"):
        return
    import torch

    yield Finding("ok", "cpu", f"{cpu_name()}, torch uses {torch.get_num_threads()} threads")
    with warnings.catch_warnings(record=True) as caught:  # of an old driver or GPU
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
    """Whether `torch.compile` finds what it needs; nothing else needs it."""
    names = (os.environ.get("CXX", ""), "g++", "clang++", "cl")
    if found := next(filter(None, map(shutil.which, names)), None):
        yield Finding("ok", "torch.compile", f"could work, with {found}")
    else:
        yield Finding("note", "torch.compile", "cannot work without a C++ compiler on PATH")


def data() -> Iterator[Finding]:
    """The data sets that are here, each held against its format."""
    root = Path(os.path.expanduser(default_data_root()))
    if _import_failure("musigma.data"):
        yield Finding("note", "data", f"{root} is looked at once musigma can be imported")
        return
    from musigma.data.access import readable
    from musigma.data.download import missing_files
    from musigma.data.idx import FILES, archive_of, check_raw_files
    from musigma.data.mnist import PLACE, Dataset

    for name in get_args(Dataset):
        folder = root / name / "raw"
        try:
            with readable(root, PLACE):
                missing = missing_files(folder)
                missing = [file for file in missing if not archive_of(folder / file).is_file()]
                if not missing:
                    check_raw_files(folder, name)
        except DataError as error:
            what, _, advice = str(error).partition("\n")
            yield Finding("PROBLEM", name, what, advice)
            continue
        if missing:
            what = f"{len(missing)} of {len(FILES)} files are not in {folder}"
            sample = "\nOr train on 5,000 digits that are here: data.fallback=sample"
            yield Finding("note", name, what, GET_DATA + sample * (name == "MNIST"))
        else:
            yield Finding("ok", name, str(folder))


def logs() -> Iterator[Finding]:
    """Whether runs can be written, and how much room there is for them."""
    try:
        check_writable([LOGS / "runs" / "a run" / "config.yaml"], ELSEWHERE)
    except RunError as error:
        what, _, advice = str(error).partition("\n")
        yield Finding("PROBLEM", "logs", f"{LOGS} cannot be written: {what}", advice)
        return
    free = shutil.disk_usage(nearest_folder(LOGS / "runs")).free / GIB
    what = f"{LOGS} can be written, {free:.1f} GiB free"
    yield Finding("note", "logs", what, ELSEWHERE) if free < 1 else Finding("ok", "logs", what)


CHECKS = (packages, imports, devices, compiler, data, logs)


def report() -> int:
    """Print what all checks find; the exit status, 1 if there is any problem."""
    problems = 0
    for check in CHECKS:
        for level, about, what, advice in check():
            print(f"{level:<9}{about:<15}{what}", flush=True)
            for line in advice.splitlines():
                print(f"{'':<24}{line}")
            problems += level == "PROBLEM"
    print(f"\n{problems or 'no'} problem{'' if problems == 1 else 's'}")
    return min(problems, 1)


def _version(package: str) -> str:
    """What is installed; empty for nothing."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def _requirements(package: str) -> Iterator["Requirement"]:
    """What a package needs here, without its extras; nothing where that cannot be known."""
    if not (_version(package) and _version("packaging")):
        return
    from packaging.requirements import Requirement

    for requirement in map(Requirement, metadata.requires(package) or ()):
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            yield requirement


def _import_failure(name: str) -> str:
    """Why a module cannot be imported; empty if it can."""
    if name.startswith("musigma") and _version("lightning") in MALICIOUS:
        return "it would start the malicious lightning"
    try:
        importlib.import_module(name)
    except Exception as error:  # packages that do not fit one another raise whatever they like
        return f"{type(error).__name__}: {error}".partition("\n")[0]
    return ""


def cpu_name() -> str:
    """The processor, as it calls itself."""
    info = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*: (.+)", info.read_text("utf-8") if info.exists() else "")
    return found[1] if found else platform.processor() or platform.machine()
