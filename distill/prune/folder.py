"""Name the files in the folder of a pruning."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from distill.core.run_folder import RunFolder
from distill.evaluation.scorecard import SCORECARD_NAME
from edge.core.errors import ConfigError
from edge.core.files import check_writable


@dataclass(frozen=True, slots=True)
class PruneFolder:
    """Name the files of a pruning.

    prune.json holds the settings, source.json says which checkpoint is pruned, recipe.json how it recovers.
    Of step K there are plan-K.json, cut-K.pt before the recovery, and step-K/, a run folder of its own.
    scorecard.jsonl has a row for every model; best.pt is the last good one and appears at the end.
    """

    path: Path

    @property
    def settings(self) -> Path:
        return self.path / "prune.json"

    @property
    def source(self) -> Path:
        return self.path / "source.json"

    @property
    def recipe(self) -> Path:
        return self.path / "recipe.json"

    @property
    def best(self) -> Path:
        return self.path / "best.pt"

    @property
    def metrics(self) -> Path:
        return self.path / "metrics.json"

    @property
    def scorecard(self) -> Path:
        return self.path / SCORECARD_NAME

    @property
    def pareto(self) -> Path:
        return self.path / "pareto.png"

    @property
    def latency(self) -> Path:
        return self.path / "latency.json"

    @property
    def latency_table(self) -> Path:
        return self.path / "latency-table.json"

    @property
    def only_plan(self) -> Path:
        return self.path / "plan.json"

    def plan(self, step: int) -> Path:
        return self.path / f"plan-{step}.json"

    @property
    def chart(self) -> Path:
        return self.path / "plan.png"

    def cut(self, step: int) -> Path:
        return self.path / f"cut-{step}.pt"

    def step(self, step: int) -> RunFolder:
        return RunFolder(self.path / f"step-{step}")

    def write_json(self, file: Path, value: object) -> None:
        """Write JSON, whole or not at all.

        Raises:
            OutputError: if it cannot be written.
        """
        RunFolder(self.path).write_json(file, value)

    def way_on(self) -> str:
        """Say what to do after an error that has nothing to do with the pruning itself."""
        how = "with --resume goes on" if self.settings.is_file() else "starts it again"
        return f"Then the same command {how}."

    def check_free(self) -> None:
        """See that no run stands here already.

        Raises:
            ConfigError: if one does.
        """
        if self.settings.exists():
            raise ConfigError(
                f"{self.path} holds a pruning already.",
                "Add --resume to go on with it, or choose another --out.",
            )
        run = RunFolder(self.path)
        if any(file.exists() for file in (run.last, run.best, run.stages, self.scorecard)):
            raise ConfigError(f"{self.path} holds a run already.", "Choose another --out.")

    def open_new(self) -> None:
        """Make the folder for a new run.

        Raises:
            ConfigError: if a run stands there already.
            OutputError: if it cannot be made, or nothing can be written in it.
        """
        self.check_free()
        check_writable(self.path)
