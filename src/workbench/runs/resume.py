"""Finding runs, and what is needed to resume one."""

import copy
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from workbench.errors import RunError
from workbench.links import leads_out
from workbench.runs.folder import RunFolder
from workbench.runs.weights import WEIGHTS, load_checkpoint

log = logging.getLogger(__name__)


def find_run(which: str, runs: Path) -> RunFolder:
    """The run folder that `which` names; `latest` is the last one written in `runs`."""
    if which != "latest":
        return RunFolder.open(Path(which))
    folders = [path.parent for path in runs.glob("*/config.yaml")]
    if not folders:
        raise RunError(f"There is no run in {runs} yet; name a run folder instead of `latest`.")
    return RunFolder.open(max(folders, key=_last_modified))


def _last_modified(folder: Path) -> float:
    """The time of the newest file in a folder; files may vanish, and links lead nowhere."""
    times = [0.0]
    for file in folder.iterdir():
        with suppress(OSError):
            times.append(file.stat().st_mtime)
    return max(times)


def find_run_to_resume(which: str, runs: Path) -> RunFolder:
    """As `find_run`, but raises a RunError for anything that cannot be resumed."""
    path = Path(which)
    if path.is_file() and (run := next((p for p in path.parents if _is_run(p)), None)):
        raise RunError(f"{path} is a file of a run: name its folder, resume={run}")
    if path.is_dir() and not _is_run(path) and any(map(_is_run, path.iterdir())):
        raise RunError(
            f"{path} is a folder of runs: name one of them; a sweep is resumed with the command "
            "that began it"
        )
    folder = find_run(which, runs)
    if (folder.path / WEIGHTS).exists():
        raise RunError(f"{folder.path} is an export, of weights only: resume the run it came from")
    return folder


def _is_run(path: Path) -> bool:
    return (path / "config.yaml").is_file()


def find_runs(which: str, runs: Path) -> list[RunFolder]:
    """The run folder that `which` names, or all run folders in the folder that it names."""
    inside = sorted(path.parent for path in Path(which).glob("[!.]*/config.yaml"))
    if not inside or _is_run(Path(which)):  # a run may hold an export of itself
        return [find_run(which, runs)]
    if links := [path for path in inside if leads_out(path, Path(which))]:
        raise RunError(f"{links[0]} is a link out of {which}: copy or name that run itself")
    return [RunFolder.open(path) for path in inside]


def newest_checkpoint(
    folder: RunFolder, check: Callable[[dict[str, Any], Path], None]
) -> tuple[Path, dict[str, Any]] | None:
    """The newest intact checkpoint and its contents; None if the run had saved nothing yet.

    `check` raises a RunError for a checkpoint that training cannot resume from.

    Raises:
        RunError: if there are checkpoints, and all are damaged.
    """
    paths = [folder.checkpoint(name) for name in ("last", "previous", "best")]
    # `best` alone was saved before the end of the first epoch, whose curves may exist already.
    if not any(path.exists() for path in paths[:2]):
        paths = folder.other_checkpoints()
    if not paths:
        log.warning("%s had saved nothing yet and starts from the beginning", folder.path)
        return None
    faults: list[RunError] = []
    for path in filter(Path.exists, paths):
        try:
            checkpoint = load_checkpoint(path)
            check(checkpoint, path)
        except RunError as error:
            faults.append(error)
            continue
        for fault in faults:
            log.warning("%s", fault)
        if faults or path.stem in ("previous", "best"):
            log.warning("resuming from %s instead", path)
        return path, checkpoint
    raise RunError(f"{folder.path} cannot be resumed from any checkpoint: {faults[0]}")


def with_overrides(config: dict[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """A run's own config with single values changed, as by `trainer.max_epochs=20`.

    A name that is not in the config may be an argument of a target in it; `check_config` checks
    that.

    Raises:
        RunError: if an override names a group or a setting that the run does not have.
    """
    changed = copy.deepcopy(config)
    for override in overrides:
        name, _, value = override.lstrip("+").partition("=")
        if name == "resume":
            continue
        *groups, last = name.split(".")
        node: Any = changed
        for group in groups:
            node = node.get(group) if isinstance(node, dict) else None
        is_known = isinstance(node, dict) and (last in node or "_target_" in node)
        if not is_known or isinstance(node.get(last), dict):
            raise RunError(
                f"{override} cannot be changed when a run is resumed: it keeps its own config, in "
                "which only single values can be set, such as trainer.max_epochs=20"
            )
        try:
            given = OmegaConf.from_dotlist([f"value={value}"])
        except (OmegaConfBaseException, yaml.YAMLError) as error:
            raise RunError(f"{override}: {error}") from error
        node[last] = OmegaConf.to_container(given)["value"]  # type: ignore[index,call-overload]
    return changed
