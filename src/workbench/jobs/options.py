"""The options of a command line: each option of Hydra's is obeyed or refused."""

import itertools
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import hydra

from workbench.errors import ConfigError
from workbench.project import the_project

REFUSED = {
    "experimental_rerun": "runs code from a pickle; use resume=<run folder>",
    "config_path": "replaces all of configs/; add a folder of your own with --config-dir",
}
"""Options that are refused, each with the reason."""

COMMANDS = ("run", "multirun", "cfg", "info", "shell_completion", "help", "hydra_help")
"""Options of which a command line may have one."""

ONLY_SHOWS = COMMANDS[2:]
"""Options that print something and run no job."""

INFO = ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath")
SHELLS = [
    f"{do}={sh}" for do in ("install", "uninstall", "query") for sh in ("bash", "zsh", "fish")
]


def read_options(script: str, arguments: Sequence[str]) -> Namespace:
    """Parse the options and overrides among the arguments, which come in any order.

    Raises:
        ConfigError: if an option is unknown, refused, or cannot be combined with the others.
    """
    options = Parser().parse_intermixed_args(_with_default_info(arguments))
    for name, reason in REFUSED.items():
        if getattr(options, name):
            raise ConfigError(f"{_flag(name)} {reason}")
    given = [_flag(name) for name in COMMANDS if getattr(options, name)]
    if len(given) > 1:
        raise ConfigError(f"{' and '.join(given)} cannot be combined: use one of them")
    if options.package and not options.cfg:
        raise ConfigError(f"--package {options.package} is for --cfg: add --cfg job")
    if options.resolve and not (options.cfg or options.help):
        raise ConfigError("--resolve is for --cfg and --help: add --cfg job")
    if options.hydra_help and options.overrides:
        raise ConfigError("--hydra-help is about Hydra itself: leave out the settings")
    if options.shell_completion and [*options.overrides] not in [[shell] for shell in SHELLS]:
        raise ConfigError(f"--shell-completion: add one of {', '.join(SHELLS)}")
    if options.config_dir is not None and not Path(options.config_dir or "?").is_dir():
        raise ConfigError(f"--config-dir {options.config_dir}: there is no such folder")
    if options.config_dir and any("hydra.searchpath=" in o for o in options.overrides):
        raise ConfigError("--config-dir and hydra.searchpath cannot be combined: use one of them")
    name = options.config_name
    if name not in (None, script) and (the_project().root / f"scripts/{name}.py").is_file():
        raise ConfigError(f"--config-name {name}: is the config of scripts/{name}.py")
    return options


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _with_default_info(arguments: Sequence[str]) -> list[str]:
    """Replace `--info a=b` by `--info=all a=b`: the parser would read `a=b` as its value."""
    return [
        "--info=all" if argument in ("--info", "-i") and following not in INFO else argument
        for argument, following in itertools.pairwise([*arguments, ""])
    ]


class Parser(ArgumentParser):
    """A parser of Hydra's options that raises ConfigError."""

    def __init__(self) -> None:
        super().__init__(add_help=False)
        add = self.add_argument
        add("overrides", nargs="*", help="name=value for each setting that you change")
        add("--help", "-h", action="store_true", help="show what can be chosen")
        add("--hydra-help", action="store_true", help="show the options of Hydra")
        version = f"Hydra {hydra.__version__}"
        add("--version", action="version", version=version, help="show the version of Hydra")
        add("--cfg", "-c", choices=("job", "hydra", "all"), help="show the config and stop")
        add("--resolve", action="store_true", help="with --cfg: resolve interpolations")
        add("--package", "-p", help="with --cfg: show this part only")
        add("--run", "-r", action="store_true", help="run one job, as by default")
        add("--multirun", "-m", action="store_true", help="run every combination of values")
        shell = "complete overrides in a shell: install=bash and so on"
        add("--shell-completion", "-sc", action="store_true", help=shell)
        add("--config-path", "-cp", help="refused")
        add("--config-name", "-cn", help="compose another config")
        add("--config-dir", "-cd", help="look for config files in this folder too")
        add("--experimental-rerun", help="refused")
        add("--info", "-i", nargs="?", const="all", choices=INFO, help="show how Hydra composes")

    def error(self, message: str) -> NoReturn:
        """Raise a ConfigError."""
        raise ConfigError(f"{message}; see --help")
