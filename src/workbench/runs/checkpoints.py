"""The checkpoints in the folder of a run, by name."""

from contextlib import suppress
from pathlib import Path

from workbench.errors import RunError
from workbench.links import leads_out
from workbench.runs.files import RunFiles

NAMES = ("best", "last", "previous")
"""The checkpoints of `BestAndLast`."""


class RunCheckpoints(RunFiles):
    """Finds the checkpoints of a run, besides its text files."""

    def checkpoint(self, name: str) -> Path:
        """The file of a checkpoint: `best`, `last`, `previous` (before `last`), or another.

        If Lightning's own ModelCheckpoint wrote the best one, `metrics.json` names it. Others are
        found by name, with or without `.ckpt`, or by path.

        Raises:
            RunError: if there is no other checkpoint of that name, or more than one.
        """
        if name not in NAMES:
            return self._other_checkpoint(name)
        path = self.path / "checkpoints" / f"{name}.ckpt"
        if name == "best" and not path.exists():
            with suppress(RunError):  # of a damaged `metrics.json`
                best = self.read_metrics().get("best")
                return next((p for p in self.other_checkpoints() if self.inside(p) == best), path)
        return path

    def other_checkpoints(self) -> list[Path]:
        """The checkpoints of other names than `BestAndLast` gives, newest first."""
        ours = {self.path / "checkpoints" / f"{name}.ckpt" for name in NAMES}
        others = {path for path in self.path.rglob("*.ckpt") if self.inside(path)} - ours
        return sorted(others, key=lambda path: (path.stat().st_mtime_ns, path), reverse=True)

    def checkpoint_name(self, name: str) -> str:
        """The full name of `checkpoint(name)`: its path in `checkpoints/`, without the suffix."""
        if name in NAMES:
            return name
        path = self.checkpoint(name)
        return next(full for full, other in self._named_checkpoints().items() if other == path)

    def _other_checkpoint(self, name: str) -> Path:
        paths = self._named_checkpoints()
        place = Path(name).absolute()
        found = [paths[name]] if name in paths else []
        found = found or [p for p in paths.values() if name in (p.stem, p.name)]
        found = found or [p for p in paths.values() if p.absolute() == place]
        if len(found) == 1:
            return found[0]
        problem = f"several checkpoints called {name}" if found else f"no checkpoint {name}"
        raise RunError(f"{self.path} has {problem}; it has: {', '.join(paths) or 'none'}")

    def _named_checkpoints(self) -> dict[str, Path]:
        """All checkpoints, by `checkpoint_name`."""
        paths = {self.inside(path): path for path in sorted(self.path.rglob("*.ckpt"))}
        return {
            name.removeprefix("checkpoints/").removesuffix(".ckpt"): path
            for name, path in paths.items()
            if name
        }

    def inside(self, path: Path) -> str | None:
        """The path of a file relative to this folder; None if it is not a file in there."""
        if leads_out(path, self.path) or not path.is_file():
            return None
        return path.resolve().relative_to(self.path.resolve()).as_posix()
