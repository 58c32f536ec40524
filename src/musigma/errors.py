"""The errors a user can mend. Each message says what is wrong, where it came from, what to do."""


class UserError(Exception):
    """Something the user can mend; scripts print it without a traceback and exit with status 2."""


class ConfigError(UserError):
    """A setting that cannot be right, named by its place in the config."""


class DataError(UserError):
    """Data that is missing, damaged or not what its name says."""


class RunError(UserError):
    """A run folder that cannot be made, opened or continued."""
