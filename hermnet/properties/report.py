"""What a property leaves behind: a folder of data files and a picture, complete or not there."""

from __future__ import annotations

import csv
import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, final

import ase.io
from ase import Atoms

from hermnet.data.staging import staged
from hermnet.errors import InputError

_DPI = 150
_PANEL = (5.2, 4.2)  # inches


class Report(ABC):
    """A result that can be printed and written."""

    files: ClassVar[tuple[str, ...]]  # everything that `write` writes

    @abstractmethod
    def lines(self) -> list[str]:
        """The most important numbers with their units, as a terminal shows them."""

    @abstractmethod
    def write(self, folder: Path) -> None:
        """Write `files` into a folder that is there."""

    @final
    def save(self, output: Path, overwrite: bool = False) -> None:
        """Write a folder, which appears only when it is complete.

        Args:
            output: the folder.
            overwrite: whether to replace an older one of the same kind.

        Raises:
            InputError: as `check_output`, or if the folder cannot be written.
        """
        check_output(output, self.files, overwrite)
        try:
            with staged(output, lambda _: True, overwrite=True) as stage:
                folder = stage / output.name
                folder.mkdir()
                self.write(folder)
        except OSError as error:
            raise InputError(f"cannot write {output}: {error.strerror}") from error


def check_output(output: Path, files: Iterable[str], overwrite: bool) -> None:
    """Refuse a folder in which something is that must stay, before anything is computed.

    Raises:
        InputError: if it is there and not to be overwritten, or has other files too.
    """
    if not output.exists():
        return
    if not output.is_dir():
        raise InputError(f"{output} is a file; give a folder as --output")
    others = sorted({path.name for path in output.iterdir()} - set(files))
    if others:
        raise InputError(
            f"{output} holds other files too, such as {others[0]}, and is not replaced"
        )
    if not overwrite:
        raise InputError(f"{output} is there already: give --overwrite or another --output")


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Numbers with their names."""
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """A table with a first line that names columns."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(rows)


def write_frames(path: Path, frames: Sequence[Atoms]) -> None:
    """Structures as extended xyz."""
    ase.io.write(path, frames, format="extxyz")


@contextmanager
def picture(path: Path, n_panels: int = 1) -> Iterator[list[Any]]:
    """Panels side by side to draw on; they are saved at the end.

    Args:
        path: PNG to write.
        n_panels: how many.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # late: its import takes a second
    from matplotlib.figure import Figure

    figure = Figure(figsize=(_PANEL[0] * n_panels, _PANEL[1]), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, n_panels, squeeze=False)[0]
    for axis in axes:
        axis.grid(alpha=0.3)
    yield list(axes)
    figure.savefig(path, dpi=_DPI)
