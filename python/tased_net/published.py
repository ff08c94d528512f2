"""Published scores, and the table of one's own beside them. The figures are data with their sources, in published.json."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.resources import files

from .scores import LEVEL, TITLES, Scores
from .words import counted

METRICS = ("nss", "cc", "sim", "auc_judd", "shuffled_auc")


@dataclass(frozen=True)
class Published:
    """A row of somebody's table.

    Attributes
    ----------
    dataset, split
        As `open_dataset` calls them.
    model, year
        Whose scores they are; the year is None where it is not known.
    scores
        By metric; None where none is given.
    source
        Where they stand, such as "TASED-Net paper, table 1".
    citation, url
        Of the source.
    """

    dataset: str
    split: str
    model: str
    year: int | None
    scores: dict[str, float | None]
    source: str
    citation: str
    url: str


def published(dataset: str | None = None) -> list[Published]:
    """All rows, or those of a dataset: "dhf1k", "hollywood2" or "ucfsports"."""
    data = json.loads(files(__package__).joinpath("published.json").read_text(encoding="utf-8"))
    found = []
    for values in data["rows"]:
        row = dict(zip(data["columns"], values, strict=True))
        source = data["sources"][row["source"]]
        scores = {metric: row[metric] for metric in METRICS}
        about = (row["dataset"], row["split"], row["model"], row["year"])
        if dataset in (None, row["dataset"]):
            found.append(
                Published(*about, scores, f"{source['short']}, {row['where']}", source["citation"], source["url"])
            )
    return found


def table(scores: Scores, dataset: str, split: str | None, name: str, seed: int = 0) -> Iterator[str]:
    """The lines of a table of scores, their intervals, and what is published for the dataset.

    Parameters
    ----------
    scores
        One's own.
    dataset, split
        What they are of. Rows of the same split come first; within one, the highest NSS.
    name
        Of what was scored.
    seed
        Of the bootstrap.
    """
    metrics = [*METRICS, *(metric for metric in scores.metrics if metric not in METRICS)]
    rows = published(dataset)
    rows.sort(key=lambda row: (row.split != split, row.split, -(row.scores["nss"] or 0)))
    width = max([len("95 % interval to"), len(name), *(len(row.model) for row in rows)])

    def line(first: str, year: object, part: str | None, values: Sequence[float | None], source: str = "") -> str:
        cells = " ".join("       -" if value is None else f"{value:8.3f}" for value in values)
        return f"{first:<{width}} {year!s:>4} {part or '':>5} {cells}  {source}".rstrip()

    def own(values: Sequence[float]) -> list[float | None]:
        return [dict(zip(scores.metrics, values, strict=True)).get(metric) for metric in metrics]

    yield f"{'':<{width}} {'year':>4} {'split':>5} " + " ".join(f"{TITLES[metric]:>8}" for metric in metrics)
    yield line(
        name,
        "",
        split,
        own(scores.mean().tolist()),
        f"{counted(scores.frames, 'frame')}, {counted(len(scores.videos), 'video')}",
    )
    interval = scores.interval(seed=seed)
    if interval is not None:
        for word, ends in zip(("from", "to"), interval, strict=True):
            yield line(f"{100 * LEVEL:.0f} % interval {word}", "", "", own(ends.tolist()))
    for row in rows:
        values = [row.scores.get(metric) for metric in metrics]
        yield line(row.model, row.year or "", row.split, values, row.source)
