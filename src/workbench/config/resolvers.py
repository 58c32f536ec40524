"""The resolvers of `${...}` in the YAML files; imports nothing heavy."""

from omegaconf import OmegaConf

from workbench.project import the_project


def register_resolvers() -> None:
    """Register all resolvers; none of them changes anything.

    `${in_repository:path}` is that path in the repository, wherever the script runs.
    """
    OmegaConf.register_new_resolver(
        "in_repository", lambda path: str(the_project().root / path), replace=True
    )
