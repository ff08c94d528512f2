"""The folder of a run: what is written there, and what a resumed run finds."""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from ..checkpoints import CheckpointError, load_checkpoint
from ..errors import is_out_of_memory
from ..locks import NAME, HeldError, Lock
from ..tased import TASEDNet
from ..weights import WeightsError
from ..writing import whole_file

FORMAT = 1  # of the state
COLUMNS = (
    "step",
    "loss",
    "lr",
    "encoder_lr",
    "grad_norm",
    "seconds",
    "images_per_second",
    "skipped",
    "val_loss",
    "val_kl",
    "val_cc",
    "val_nss",
    "val_sim",
)

Row = dict[str, float]  # of the log; what has no value is left out
State = dict[str, Any]


class TrainingError(RuntimeError):
    """A run that cannot begin, go on or be resumed."""


class OwnError(TrainingError):
    """What befell this process alone, so that no other one tells of it."""


class RunFolder:
    """The files of a run.

    ``recipe.toml`` what it is made of; ``log.csv`` a row a step; ``state.pt`` all that it needs to go on; ``last.safetensors``
    and ``best.safetensors`` the network; ``loss.png`` and ``validation.png``.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.state, self.log = self.path / "state.pt", self.path / "log.csv"
        self.last, self.best = self.path / "last.safetensors", self.path / "best.safetensors"
        self.loss_picture, self.validation_picture = self.path / "loss.png", self.path / "validation.png"

    def hold(self) -> Lock:
        """Makes the folder if it is not there, and keeps other runs out of it.

        Raises
        ------
        TrainingError
            If the folder cannot be made, or another run is writing to it.
        """
        try:
            return Lock(self.path / NAME)
        except HeldError as error:
            raise TrainingError(str(error)) from error
        except OSError as error:
            raise TrainingError(f"{self.path}: cannot be made ({error.strerror}): name another folder") from error

    def write_recipe(self, text: str) -> None:
        """Writes the recipe."""
        with whole_file(self.path / "recipe.toml") as beside:
            beside.write_text(text, encoding="utf-8")

    def read_state(self) -> State | None:
        """The state to go on from, if there is one.

        Raises
        ------
        TrainingError
            If it cannot be read, is damaged, or of another version.
        """
        try:
            if not self.state.exists():
                return None
            state = load_checkpoint(self.state)
        except OSError as error:  # which tells nothing of the state: it may well be good
            raise TrainingError(f"{self.state}: cannot be read ({error.strerror}): mend that, and --resume") from error
        except CheckpointError as error:
            if error.__cause__ is not None and is_out_of_memory(error.__cause__):
                raise TrainingError(
                    f"{self.state}: {error}: make room, and --resume; or move it away to begin anew"
                ) from error
            raise TrainingError(
                f"{self.state}: not the state of a run, or damaged; move it away to begin anew"
            ) from error
        if not isinstance(state, dict) or state.get("format") != FORMAT:
            raise TrainingError(f"{self.state}: the state of another version of tased; move it away to begin anew")
        return state

    def write_state(self, state: Mapping[str, Any], net: TASEDNet) -> None:
        """Writes the state, and the network as ``last.safetensors``.

        Raises
        ------
        TrainingError
            If the state cannot be written; the one before is kept.
        """
        try:
            with whole_file(self.state) as beside:
                torch.save({"format": FORMAT, **state}, beside)
        except (OSError, RuntimeError) as error:  # RuntimeError: torch.save, where the disk is full
            line = str(error).splitlines()[0]
            raise TrainingError(
                f"{self.state}: cannot be written, is the disk full? ({line}); the one before is kept"
            ) from error
        self.write_network(self.last, net)

    def write_network(self, path: Path, net: TASEDNet) -> None:
        """Writes the network.

        Raises
        ------
        TrainingError
            If it cannot be written; the one before is kept.
        """
        try:
            net.save_pretrained(path)
        except WeightsError as error:
            raise TrainingError(f"{error}: is the disk full? The one before is kept") from error

    def rows(self) -> list[Row]:
        """The rows of the log; a last one that is cut short is left out.

        Raises
        ------
        TrainingError
            If it is damaged, or something else, as what a spreadsheet may have saved in its place.
        """
        if not self.log.exists():
            return []
        try:
            with self.log.open(newline="", encoding="utf-8-sig") as file:
                lines = [line for line in csv.DictReader(file) if line[COLUMNS[-1]] is not None]
            rows = [{name: float(line[name]) for name in COLUMNS if line[name]} for line in lines]
            if not all({"step", "loss", "lr"} <= row.keys() for row in rows):
                raise ValueError("a row without its step")
        except (csv.Error, KeyError, TypeError, ValueError) as error:
            raise TrainingError(f"{self.log}: not the log of a run, or damaged; move it away, and --resume") from error
        return rows

    def begin_log(self, step: int) -> None:
        """Takes out the rows after a step, which a resumed run will write again."""
        rows = [row for row in self.rows() if row["step"] <= step]
        with whole_file(self.log) as beside, beside.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(COLUMNS)
            writer.writerows(_texts(row) for row in rows)

    def write_row(self, row: Row) -> None:
        """Adds a row to the log."""
        with self.log.open("a", newline="", encoding="utf-8") as file:
            csv.writer(file).writerow(_texts(row))


def _texts(row: Row) -> list[str]:
    return [f"{row[name]:.10g}" if name in row else "" for name in COLUMNS]
