"""The resolvers of `${...}` in the YAML files; imports nothing heavy."""

from omegaconf import OmegaConf

from workbench.project import the_project


def register_resolvers() -> None:
    """Register all resolvers, which may be done more than once.

    `${in_repository:path}` is a path in the repository, whatever the working directory.
    """
    OmegaConf.register_new_resolver(
        "in_repository", lambda path: str(the_project().root / path), replace=True
    )
