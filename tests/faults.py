"""The faults of a command line."""

import pytest

from musigma.config.command_line import read_command_line
from musigma.errors import ConfigError


def faults_of(*arguments: str, script: str = "train") -> list[str]:
    """The lines in which the arguments of a script are refused."""
    with pytest.raises(ConfigError) as error:
        read_command_line(script, list(arguments))
    return str(error.value).splitlines()
