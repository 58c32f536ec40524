"""What the YAML files can ask for with `${...}`; imports nothing heavy."""

from omegaconf import OmegaConf

from workbench.project import the_project


def register_resolvers() -> None:
    """What there is; none of it changes anything.

    `${in_repository:path}` is that path in the repository, wherever the script runs.
    """
    OmegaConf.register_new_resolver(
        "in_repository", lambda path: str(the_project().root / path), replace=True
    )
