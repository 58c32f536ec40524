"""Write a trained model as files that others open. `--help` shows what can be chosen."""

import sys
from pathlib import Path

import hydra
from omegaconf import DictConfig

from musigma.config.command_line import read_command_line
from musigma.config.resolvers import register_resolvers
from musigma.errors import plain_errors

register_resolvers()


@hydra.main(version_base="1.3", config_path="../configs", config_name="export")
def main(cfg: DictConfig) -> None:
    """Read the command line and export."""
    with plain_errors():
        from musigma.runs.export import NAMES, export_run
        from musigma.runs.load import load_run
        from musigma.runs.output import output_folder
        from musigma.runs.resume import find_run

        folder = find_run(cfg.run, Path(cfg.log_dir) / "runs").path
        place = output_folder(cfg.output, folder / "export", NAMES)
        written = export_run(load_run(folder, cfg.checkpoint), place)
        for path, opening in written.items():
            print(f"{path.name:<18} {opening}")
        print("x and x_mean are images [B, C, H, W] in the model's own pixels (data.normalization)")
        print(f"written to   {place}")


if __name__ == "__main__":
    with plain_errors():
        sys.argv[1:], _ = read_command_line("export", sys.argv[1:])
    main()
