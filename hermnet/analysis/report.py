"""`Analysis`: the findings as lines for a terminal, and as a folder of files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, final

from hermnet.analysis.findings import Findings
from hermnet.analysis.maps import draw_maps
from hermnet.analysis.matrices import draw_matrices
from hermnet.analysis.tables import as_json, csv_columns, csv_rows, shown_columns, shown_rows
from hermnet.properties.report import Report, write_csv, write_json

_TABLE, _JSON, _TEXT = "relations.csv", "analysis.json", "report.md"
_MAPS, _MATRICES = "relations.png", "weights.png"
_MOST_LINES = 30  # relations in a terminal

_READING = """\
*train edges*: messages of the relation in the training frames. *params*: parameters that belong to
it and to no other. *time*: its part of the time that relations take in a prediction, each run
alone. *atoms*: those that it changes, in these frames. *F MAE*: error of the forces on them.
*off*: how much the error of all atoms rises when the relation changes no atom any more, in no
layer. *nearest*: whose weights do best in place of its own, and how much the error on its atoms
rises with them. *Cosines* of weights are near 0 for relations whose weights have nothing in common,
as independent ones are before training, and 1 for equal ones."""


@final
class Analysis(Report):
    """What an analysis has found, ready to print and to save.

    Args:
        found: the findings.
    """

    files: ClassVar[tuple[str, ...]] = (_TABLE, _JSON, _TEXT, _MAPS, _MATRICES)

    def __init__(self, found: Findings) -> None:
        self.found = found

    def lines(self) -> list[str]:
        """See `Report.lines`."""
        table = [shown_columns(self.found), *shown_rows(self.found)]
        widths = [max(len(row[k]) for row in table) for k in range(len(table[0]))]
        lines = ["  ".join(_aligned(row, widths)) for row in table]
        if len(lines) > _MOST_LINES + 1:
            rest = len(lines) - _MOST_LINES - 1
            lines = [*lines[: _MOST_LINES + 1], f"... and {rest} more in {_TABLE}"]
        return [*self._about(), "", *lines, "", *self.found.sentences()]

    def write(self, folder: Path) -> None:
        """See `Report.write`."""
        found = self.found
        write_csv(folder / _TABLE, csv_columns(found), csv_rows(found))
        write_json(folder / _JSON, as_json(found))
        pictures = []
        if draw_maps(found, folder / _MAPS):
            pictures.append(_MAPS)
        if draw_matrices(found, folder / _MATRICES):
            pictures.append(_MATRICES)
        text = "\n".join(self._markdown(pictures)) + "\n"
        (folder / _TEXT).write_text(text, encoding="utf-8")

    def _about(self) -> list[str]:
        found = self.found
        split, n_frames, n_all = found.split
        errors = ", ".join(
            f"{target} {value:.3g} {found.units[target]}"
            for target, value in found.errors.targets.items()
        )
        return [
            f"{found.checkpoint}: relations {found.scheme}",
            f"{n_frames} of {n_all} {split} frames; MAE: {errors}",
        ]

    def _markdown(self, pictures: Sequence[str]) -> list[str]:
        columns = shown_columns(self.found)
        return [
            "# Relations",
            "",
            *(f"{line}\n" for line in self._about()),
            _row(columns),
            _row(["---"] * len(columns)),
            *(_row(row) for row in shown_rows(self.found)),
            "",
            *(f"- {sentence}" for sentence in self.found.sentences()),
            "",
            _READING,
            *(f"\n![{name}]({name})" for name in pictures),
        ]


def _aligned(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    first = row[0].ljust(widths[0])
    return [first, *(cell.rjust(w) for cell, w in zip(row[1:], widths[1:], strict=True))]


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
