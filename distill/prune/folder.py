"""Name the files in the folder of a pruning."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from distill.core.run_folder import PRUNING_NAME, FileBelow, RunFolder
from distill.evaluation.scorecard import ANCESTRY_NAME, SCORECARD_NAME
from edge.core.errors import ConfigError
from edge.core.files import check_writable


@dataclass(frozen=True, slots=True)
class PruneFolder(RunFolder):
    """Name the files of a pruning, beside those that every run has.

    prune.json holds the settings, source.json says which checkpoint is pruned, recipe.json how it recovers.
    Of step K there are candidates-K.json with what each plan was worth, plan-K.json with the best, cut-K.pt
    before the recovery, and step-K/, a run folder of its own.
    scorecard.jsonl has a row for every model, ancestry.jsonl those of the detectors that came before;
    best.pt is the last good one and appears at the end.
    """

    settings = FileBelow(PRUNING_NAME)
    source = FileBelow("source.json")
    scorecard = FileBelow(SCORECARD_NAME)
    ancestry = FileBelow(ANCESTRY_NAME)
    latency = FileBelow("latency.json")
    latency_table = FileBelow("latency-table.json")
    only_plan = FileBelow("plan.json")
    chart = FileBelow("plan.png")

    def candidates(self, step: int) -> Path:
        return self.path / f"candidates-{step}.json"

    def plan(self, step: int) -> Path:
        return self.path / f"plan-{step}.json"

    def cut(self, step: int) -> Path:
        return self.path / f"cut-{step}.pt"

    def step(self, step: int) -> RunFolder:
        return RunFolder(self.path / f"step-{step}")

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
        if any(file.exists() for file in (self.last, self.best, self.stages, self.scorecard)):
            raise ConfigError(f"{self.path} holds a run already.", "Choose another --out.")

    def open_new(self) -> None:
        """Make the folder for a new run.

        Raises:
            ConfigError: if a run stands there already.
            OutputError: if it cannot be made, or nothing can be written in it.
        """
        self.check_free()
        check_writable(self.path)
