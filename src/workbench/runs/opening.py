"""Loading a module from a checkpoint file."""

from pathlib import Path
from typing import Any

from workbench.config.build import build_data, build_module, check_module_config, module_config
from workbench.config.targets import find_class
from workbench.errors import ConfigError, RunError
from workbench.foreign import is_foreign
from workbench.module import ReportingModule
from workbench.project import Config, the_project
from workbench.runs.config_file import read_config_file
from workbench.runs.weights import load_checkpoint, load_into

PARENTS = 4
"""The number of folders above a checkpoint that are searched for its config."""


def load_module(kind: type[ReportingModule], path: Path) -> ReportingModule:
    """Load a module of a class with its weights, on the CPU, without running code from the file.

    It is built from the config in the checkpoint, or from that of the run folder around it.

    Raises:
        RunError: if the file is not a checkpoint, no config is found, or the module has another
            class.
    """
    checkpoint = load_checkpoint(path)
    config = _config_of(checkpoint, path)
    try:
        check_module_config(config)
        own = (config.get("module") or {}).get("_target_")
        if own and is_foreign(find_class(own, "module")):
            raise _of_another_class(path, own)
        data = build_data(config)
        if not the_project().can_assemble(data):
            raise ConfigError(
                "its module cannot be built before its data have been read; open its run folder "
                f"with {the_project().package}.load_run"
            )
        module = build_module(config, data)
    except ConfigError as error:
        project = the_project()
        raise RunError(
            f"{path} does not open with {project.package} {project.version}: {error}"
        ) from error
    if not isinstance(module, kind):
        raise _of_another_class(path, type(module).__name__)
    module.on_load_checkpoint(checkpoint)
    load_into(module, checkpoint["state_dict"], path)
    return module


def _of_another_class(path: Path, name: str) -> RunError:
    name = name.rpartition(".")[2]
    return RunError(f"{path} holds a {name}: open it with {name}.load_from_checkpoint")


def _config_of(checkpoint: dict[str, Any], path: Path) -> Config:
    if isinstance(config := checkpoint.get("config"), dict):
        return config
    files = [folder / "config.yaml" for folder in [*path.absolute().parents][:PARENTS]]
    for file in filter(Path.is_file, files):
        return module_config(read_config_file(file))
    raise RunError(
        f"{path} has no config to build its module from, and no folder above it has a config.yaml: "
        "put it back into its run folder, or give the arguments of the constructor"
    )
