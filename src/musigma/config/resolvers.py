"""What the YAML files can ask for with `${...}`; imports nothing heavy."""

from pathlib import Path

from omegaconf import OmegaConf

from musigma.paths import PROJECT_ROOT


def register_resolvers() -> None:
    """What there is.

    `${in_repository:path}` is that path in the repository, wherever the script runs, and
    `${made:folder}` that folder, made if it is not there: a study's database needs it.
    """
    OmegaConf.register_new_resolver(
        "in_repository", lambda path: str(PROJECT_ROOT / path), replace=True
    )
    OmegaConf.register_new_resolver("made", _made, replace=True)


def _made(folder: str) -> str:
    Path(folder).mkdir(parents=True, exist_ok=True)
    return folder
