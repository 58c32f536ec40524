"""Check the downloaded data sets, for `scripts/doctor.py`."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

from musigma.data.access import readable
from musigma.data.download import missing_files
from musigma.data.idx import FILES, archive_of, check_raw_files
from musigma.data.mnist import PLACE, Dataset
from musigma.paths import default_data_root
from workbench.errors import DataError
from workbench.project import Finding

GET_DATA = "The first run that needs them downloads them, or copy them there yourself."


def data_sets() -> Iterator[Finding]:
    """The state of each data set: complete, missing or damaged."""
    root = Path(os.path.expanduser(default_data_root()))
    for name in get_args(Dataset):
        folder = root / name / "raw"
        try:
            with readable(root, PLACE):
                missing = missing_files(folder)
                missing = [file for file in missing if not archive_of(folder / file).is_file()]
                if not missing:
                    check_raw_files(folder, name)
        except DataError as error:
            what, _, advice = str(error).partition("\n")
            yield Finding("PROBLEM", name, what, advice)
            continue
        if missing:
            what = f"{len(missing)} of {len(FILES)} files are not in {folder}"
            sample = "\nOr train on the 5,000 digits of a package: data.fallback=sample"
            yield Finding("note", name, what, GET_DATA + sample * (name == "MNIST"))
        else:
            yield Finding("ok", name, str(folder))
