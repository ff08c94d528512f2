"""What a recipe trains and validates on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from ..data import DataError, Scan, Split
from ..recipes import Recipe, RecipeError
from .folder import TrainingError

HELD_OUT = 10  # one video in so many is kept for validation where a dataset has no split for it


def open_splits(recipe: Recipe, tell: Callable[[str], None], progress: bool) -> tuple[Split, Split]:
    """The videos to train on and those to validate on, all with density maps.

    Without a word in the recipe they are the dataset's splits "train" and "val". What has no splits is trained on whole; where
    there is no "val", as in Hollywood-2 and UCF-Sports, every tenth training video is held out. To `overfit` is to validate on
    what is trained on: the other split is not opened then.

    Raises
    ------
    RecipeError
        If the recipe names no data.
    TrainingError
        If there is nothing to train on; the sentence says what is missing.
    """
    if recipe.data is None or recipe.dataset is None:
        missing = " and ".join(name for name in ("data", "dataset") if getattr(recipe, name) is None)
        raise RecipeError(f"nothing to train on: give {missing}, on the command line or in the recipe")
    try:
        scan = Scan(recipe.data, recipe.dataset)
        usual = "train" if scan.splits else None  # what has no splits is trained on whole
        training = scan.open(recipe.train_split or usual, progress=progress)
        _check(training, recipe, tell)
        stated = recipe.validation_split or ("val" if "val" in scan.splits else None)
        if stated is None:
            return _held_out(training, tell)
        if recipe.overfit:
            return training, training
        validation = scan.open(stated, progress=progress)
        _check(validation, recipe, tell)
    except DataError as error:
        raise TrainingError(str(error)) from error
    return training, validation


def _check(split: Split, recipe: Recipe, tell: Callable[[str], None]) -> None:
    name = f"{recipe.data}, {split.split or 'all videos'}"
    for problem in split.problems:
        tell(f"{name}: {problem}")
    if not any(video.maps is not None for video in split.videos):  # of a split, all have maps or none
        raise TrainingError(f"{name}: no video has both frames and density maps; docs/data.md shows the layouts")


def _held_out(split: Split, tell: Callable[[str], None]) -> tuple[Split, Split]:
    count = len(split.videos)
    if count == 1:
        tell("a single video: validation uses it as well, and tells nothing about others")
        return split, split
    kept = set(range(min(HELD_OUT, count) - 1, count, HELD_OUT))
    tell(f"no validation split: {len(kept)} of {count} videos are held out for it")
    training, validation = (
        replace(split, videos=[video for number, video in enumerate(split.videos) if (number in kept) is held])
        for held in (False, True)
    )
    return training, validation
