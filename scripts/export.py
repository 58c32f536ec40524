"""Export a trained model to files for other programs. `--help` lists the settings."""

from pathlib import Path
from typing import Any

from musigma.project import PROJECT
from workbench.script import script


@script("export", PROJECT)
def main(cfg: Any) -> None:
    """Read the config and export."""
    from musigma.commands.export import FILES, check_format, export_run
    from musigma.loading import load_run
    from workbench.console import display_path
    from workbench.devices import exact_device
    from workbench.runs.output import output_folder
    from workbench.runs.resume import find_run

    check_format(cfg.format)
    exact_device(cfg.device)
    folder = find_run(cfg.run, Path(cfg.log_dir) / "runs").path
    place = output_folder(cfg.output, folder / "export", FILES[cfg.format])
    run = load_run(folder, cfg.checkpoint, device=cfg.device)
    written = export_run(run, place, cfg.format)
    for path, usage in written.items():
        print(f"{path.name:<18} {usage}")
    print("x and x_mean are images [B, C, H, W] with normalised pixels (data.normalization)")
    print(f"written to  {display_path(place)}")


if __name__ == "__main__":
    main()
