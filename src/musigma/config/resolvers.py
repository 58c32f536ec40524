"""What the YAML files can ask for with `${...}`; imports nothing heavy."""

from omegaconf import OmegaConf

from musigma.paths import PROJECT_ROOT


def register_resolvers() -> None:
    """What there is; none of it changes anything.

    `${in_repository:path}` is that path in the repository, wherever the script runs.
    """
    OmegaConf.register_new_resolver(
        "in_repository", lambda path: str(PROJECT_ROOT / path), replace=True
    )
