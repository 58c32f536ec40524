"""Collect the errors of a command line."""

import pytest

from workbench.errors import ConfigError
from workbench.jobs.command_line import read_command_line


def faults_of(*arguments: str, script: str = "train") -> list[str]:
    """The lines of the error with which a script refuses its arguments."""
    with pytest.raises(ConfigError) as error:
        read_command_line(script, list(arguments))
    return str(error.value).splitlines()
