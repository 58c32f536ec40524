"""Paths of the repository, its configs and the data."""

import os
from pathlib import Path

PROJECT_ROOT = Path(__file__).resolve().parents[2]
CONFIGS = PROJECT_ROOT / "configs"


def default_data_root() -> Path:
    """The folder of the data sets: `$DATA_DIR`, or else `data/` in the repository."""
    return Path(os.environ.get("DATA_DIR") or PROJECT_ROOT / "data")
