"""The errors a user can mend. Each message says what is wrong, where it came from, what to do."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager


class UserError(Exception):
    """Something the user can mend."""


class ConfigError(UserError):
    """A setting that cannot be right, named by its place in the config."""


class DataError(UserError):
    """Data that is missing, damaged or not what its name says."""


class RunError(UserError):
    """A run folder that cannot be made, opened or continued."""


@contextmanager
def plain_errors() -> Iterator[None]:
    """Within it a UserError is a message and exit status 2.

    With `HYDRA_FULL_ERROR=1` in the environment it keeps its traceback.
    """
    try:
        yield
    except UserError as error:
        if os.environ.get("HYDRA_FULL_ERROR", "0") != "0":
            raise
        print(f"\n{error}", file=sys.stderr)
        sys.exit(2)
