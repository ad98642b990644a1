"""`FileDataModule`: data modules whose frames stand in files that the recipe names."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

from hermnet.data.frames import Frames, JoinedFrames
from hermnet.data.graphs import GraphSequence, graphs_of
from hermnet.data.labels import Labelling
from hermnet.data.paths import Entry, matches, parse_entries
from hermnet.data.splits import Indices, carve
from hermnet.datamodule import GraphDataModule
from hermnet.errors import InputError

_FIXED = ("train", "val", "predict")  # names that no test set can have


class FileDataModule(GraphDataModule):
    """Structures with labels from files; a subclass says how one file becomes frames.

    A path is relative to the folder where the program runs, and may be a pattern such as
    ``data/*.xyz``. Where several are wanted, a list: ``[a.xyz, {path: b.xyz, weight: 2}]``. The
    weight of a training file says how often each of its frames is drawn in an epoch. Formats whose
    files have parts take ``path::part``.

    Args:
        train: file, pattern or list of the training frames.
        val: the same for the validation frames.
        test: the same for the test frames; or a mapping of names to them for several test sets,
            each of which gets a row of its own in the table of errors.
        n_val: number (or fraction, if below 1) of validation frames to take from the training
            frames if there is no `val`, by a permutation that `seed` fixes.
        n_test: the same for test frames.
        group_key: the key of what a frame belongs to, such as its trajectory; `n_val` and `n_test`
            then never part a group.
        labels: which labels to read, of energy, forces, stress and dipole; by default energy and
            forces, and none where there are `scalars`.
        scalars: other properties of a structure that a readout may learn, each with its unit in the
            file, such as ``{gap: Hartree, mu: D, charge: "1"}``, ``"1"`` for a pure number.
            Energies become eV, other units stay as they are.
        keys: under which keys frames have labels and scalars, such as ``{energy: E_dft}``.
        units: of length, energy, forces, stress and dipole, such as ``{energy: kcal/mol}``, where
            they are not A, eV, eV/A, eV/A^3 and e A.
        stress: what a stress means, such as ``{kind: virial, positive: compression, order: xx yy
            zz xy yz xz}``; by default a stress, positive under tension, in the order xx yy zz yz
            xz xy.
        missing: what to do with a frame that lacks a label or scalar: error, skip the frame, or
            mask what it lacks.

    Raises:
        InputError: for a number out of range, an unknown word, or both `val` and `n_val`.
    """

    # What the format itself fixes, over the defaults above; a recipe goes before it.
    default_labels: ClassVar[tuple[str, ...]] = ("energy", "forces")
    default_keys: ClassVar[Mapping[str, str]] = {}
    default_units: ClassVar[Mapping[str, str]] = {}
    default_stress: ClassVar[Mapping[str, str]] = {}

    def __init__(
        self,
        *,
        train: str | list[Any],
        val: str | list[Any] | None = None,
        test: str | list[Any] | dict[str, Any] | None = None,
        n_val: float = 0,
        n_test: float = 0,
        group_key: str | None = None,
        labels: list[str] | None = None,
        scalars: dict[str, str] | None = None,
        keys: dict[str, str] | None = None,
        units: dict[str, str] | None = None,
        stress: dict[str, str] | None = None,
        missing: Literal["error", "skip", "mask"] = "error",
        **common: Any,
    ) -> None:
        super().__init__(**common)
        self.entries = _sources(train, val, test)
        self.parts = {"test": n_test, "val": n_val}
        for split, part in self.parts.items():
            if part < 0 or (part > 1 and part != int(part)):
                raise InputError(f"n_{split} must be a number of frames or a fraction, not {part}")
            given = {"val": val, "test": test}[split]
            if part and given is not None:
                raise InputError(f"give {split} ('{given}') or n_{split} ({part:g}), not both")
        self.group_key = group_key
        self.units = {**self.default_units, **(units or {})}
        self.labelling = Labelling.parse(
            (() if scalars else self.default_labels) if labels is None else labels,
            {**self.default_keys, **(keys or {})},
            self.units,
            {**self.default_stress, **(stress or {})},
            missing,
            scalars,
        )
        self.scalar_names = self.labelling.scalars.names
        self.scalar_units = self.labelling.scalars.units
        self._indices: Indices | None = None

    @abstractmethod
    def open(self, path: Path, part: str) -> Frames:
        """The frames of one file or folder.

        Args:
            path: it exists.
            part: what of it is meant; empty for everything.

        Raises:
            InputError: if it cannot be read or has no such part; it names the file.
        """

    @property
    def masks_labels(self) -> bool:
        """See `GraphDataModule.masks_labels`."""
        return self.labelling.missing == "mask"

    def read(self) -> dict[str, GraphSequence]:
        """Frames in the order of their files.

        Raises:
            InputError: if a file is missing or cannot be read, or if a frame lacks a label (it
                lists the keys that the frame has) or has one of another shape.
        """
        opened = {split: self._open(split, entries) for split, entries in self.entries.items()}
        parts = {name: n for name, n in self.parts.items() if n}
        chosen: dict[str, list[int] | None] = dict.fromkeys(opened)
        if parts:
            whole, _ = opened["train"]
            if self._indices is None:
                self._indices = carve(len(whole), parts, self.seed, self._groups(whole))
            last = max(index for part in self._indices.values() for index in part)
            if last >= len(whole):
                raise InputError(
                    f"the run's splits name frame {last}, but the training files hold {len(whole)}"
                )
            chosen |= self._indices
        splits = {}
        for split, indices in chosen.items():
            frames, weights = opened.get(split, opened["train"])
            splits[split] = graphs_of(frames, self.labelling, indices, weights)
        return splits

    def split_indices(self) -> Indices | None:
        """See `GraphDataModule.split_indices`."""
        return self._indices

    def use_split_indices(self, indices: Indices) -> None:
        """See `GraphDataModule.use_split_indices`."""
        self._indices = indices

    def _open(self, split: str, entries: list[Entry]) -> tuple[Frames, list[float] | None]:
        """The frames of all entries, and their weights where there are any."""
        parts: list[Frames] = []
        weights: list[float] = []
        for entry in entries:
            for path in matches(split, entry.path):
                parts.append(self.open(path, entry.part))
                weights += [entry.weight] * len(parts[-1])
        plain = all(entry.weight == 1 for entry in entries)
        return (JoinedFrames(parts) if len(parts) > 1 else parts[0]), (None if plain else weights)

    def _groups(self, frames: Frames) -> list[object] | None:
        if self.group_key is None:
            return None
        groups: list[object] = []
        for index in range(len(frames)):
            frame = frames[index]
            if self.group_key not in frame.values:
                known = ", ".join(sorted(frame.values))
                raise InputError(
                    f"{frame.name} has no group_key '{self.group_key}' (keys: {known})"
                )
            groups.append(str(frame.values[self.group_key]))
        return groups


def _sources(train: Any, val: Any, test: Any) -> dict[str, list[Entry]]:
    tests = test if isinstance(test, dict) else {"test": test}
    for name in tests:
        if name in _FIXED:
            raise InputError(f"test: a test set cannot be called '{name}'")
    given = {"train": train, "val": val, **tests}
    return {
        split: parse_entries(split, entry) for split, entry in given.items() if entry is not None
    }
