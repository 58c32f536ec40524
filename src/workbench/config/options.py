"""The options of a command line: each of Hydra's is obeyed or refused in a line."""

import itertools
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import hydra

from workbench.errors import ConfigError
from workbench.project import the_project

REFUSED = {
    "experimental_rerun": "runs what a pickle says; take resume=<run folder>",
    "config_path": "takes the place of all of configs; add a folder of yours with --config-dir",
}
"""Options that are not obeyed, each with the reason."""

COMMANDS = ("run", "multirun", "cfg", "info", "shell_completion", "help", "hydra_help")
"""Options of which a command line has one at most."""

ONLY_SHOWS = COMMANDS[2:]
"""Options that run no job."""

INFO = ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath")
SHELLS = [
    f"{do}={sh}" for do in ("install", "uninstall", "query") for sh in ("bash", "zsh", "fish")
]


def read_options(script: str, arguments: Sequence[str]) -> Namespace:
    """The options and overrides among the arguments, in any order.

    Raises:
        ConfigError: if an option is not known, not obeyed or does not go with the others.
    """
    options = Parser().parse_intermixed_args(_with_what_info_shows(arguments))
    for name, reason in REFUSED.items():
        if getattr(options, name):
            raise ConfigError(f"{_typed(name)} {reason}")
    given = [_typed(name) for name in COMMANDS if getattr(options, name)]
    if len(given) > 1:
        raise ConfigError(f"{' and '.join(given)} do not go together: take one of them")
    if options.package and not options.cfg:
        raise ConfigError(f"--package {options.package} is for --cfg: add --cfg job")
    if options.resolve and not (options.cfg or options.help):
        raise ConfigError("--resolve is for --cfg and --help: add --cfg job")
    if options.shell_completion and [*options.overrides] not in [[shell] for shell in SHELLS]:
        raise ConfigError(f"--shell-completion: add one of {', '.join(SHELLS)}")
    if options.config_dir is not None and not Path(options.config_dir or "?").is_dir():
        raise ConfigError(f"--config-dir {options.config_dir}: there is no such folder")
    if options.config_dir and any("hydra.searchpath=" in o for o in options.overrides):
        raise ConfigError("--config-dir and hydra.searchpath do not go together: take one of them")
    name = options.config_name
    if (
        name is not None
        and name != script
        and (the_project().root / f"scripts/{name}.py").is_file()
    ):
        raise ConfigError(f"--config-name {name}: is the config of scripts/{name}.py")
    return options


def _typed(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _with_what_info_shows(arguments: Sequence[str]) -> list[str]:
    """`--info a=b` → `--info=all a=b`, as the parser would take `a=b` for what to show."""
    return [
        "--info=all" if this in ("--info", "-i") and then not in INFO else this
        for this, then in itertools.pairwise([*arguments, ""])
    ]


class Parser(ArgumentParser):
    """Hydra's options, whose faults are ConfigErrors."""

    def __init__(self) -> None:
        super().__init__(add_help=False)
        add = self.add_argument
        add("overrides", nargs="*", help="name=value for each setting that is another")
        add("--help", "-h", action="store_true", help="show what can be chosen")
        add("--hydra-help", action="store_true", help="show what Hydra has to choose")
        add("--version", action="version", version=f"Hydra {hydra.__version__}", help="Hydra's")
        add("--cfg", "-c", choices=("job", "hydra", "all"), help="show the config and stop")
        add("--resolve", action="store_true", help="with --cfg: interpolations resolved")
        add("--package", "-p", help="with --cfg: the part that is shown")
        add("--run", "-r", action="store_true", help="run one job, as without it")
        add("--multirun", "-m", action="store_true", help="run every combination of values")
        shell = "complete in a shell: install=bash and so on"
        add("--shell-completion", "-sc", action="store_true", help=shell)
        add("--config-path", "-cp", help="refused")
        add("--config-name", "-cn", help="compose another config")
        add("--config-dir", "-cd", help="look for config files in this folder too")
        add("--experimental-rerun", help="refused")
        add("--info", "-i", nargs="?", const="all", choices=INFO, help="show how it is composed")

    def error(self, message: str) -> NoReturn:
        """Refuse the arguments.

        Raises:
            ConfigError: always.
        """
        raise ConfigError(f"{message}; see --help")
