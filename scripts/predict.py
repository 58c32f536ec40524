"""Encode, reconstruct, decode, traverse or sample with a trained model. See `--help`."""

from pathlib import Path
from typing import Any

from musigma.project import PROJECT
from workbench.script import script


@script("predict", PROJECT)
def main(cfg: Any) -> None:
    """Read the config and predict."""
    from musigma.commands.predict import predict
    from workbench.console import display_path

    names = ("checkpoint", "input", "count", "seed", "z", "image", "label", "output", "data")
    settings = {name: cfg[name] for name in (*names, "device")} | {"offsets": list(cfg.offsets)}
    written = predict(cfg.task, cfg.run, Path(cfg.log_dir) / "runs", **settings)
    print(f"written to  {display_path(written)}")


if __name__ == "__main__":
    main()
