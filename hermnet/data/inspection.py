"""`inspect_splits`: can the labels of a data set be trusted? Facts, checks and what they mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import torch

from hermnet.data.consistency import Check, Verdict
from hermnet.data.consistency_energy_forces import check_energy_forces
from hermnet.data.consistency_pair_labels import check_pair_model
from hermnet.data.consistency_strain import check_strain
from hermnet.data.inspection_distances import Distances, measure_all
from hermnet.data.inspection_duplicates import Duplicate, find_duplicates
from hermnet.data.inspection_facts import SplitFacts, atom_name, gather_facts, outliers
from hermnet.data.inspection_frames import Frame
from hermnet.data.inspection_text import facts_lines
from hermnet.errors import InputError
from hermnet.graph import AtomicGraph

ONE_PLACE = 0.1  # A; two atoms nearer than this are at one place
_NET_FORCE = 0.01  # eV/A, the sum of a frame's forces that is worth a note
_SHOWN = 3  # examples of each kind


class Severity(StrEnum):
    """How much a finding matters."""

    PROBLEM = "problem"
    NOTE = "note"


@dataclass(frozen=True)
class Finding:
    """One thing that a user should know.

    Attributes:
        severity: whether training on the data as they are is a mistake.
        text: a sentence.
    """

    severity: Severity
    text: str


@dataclass(frozen=True)
class Inspection:
    """Everything that was found.

    Attributes:
        splits: facts by split.
        checks: the comparisons of labels with labels, by split.
        findings: problems and notes, problems first.
    """

    splits: tuple[SplitFacts, ...]
    checks: tuple[Check, ...]
    findings: tuple[Finding, ...]

    @property
    def problems(self) -> list[str]:
        """What should be mended before training, a sentence each; empty if all is well."""
        return [f.text for f in self.findings if f.severity is Severity.PROBLEM]

    @property
    def notes(self) -> list[str]:
        """What is good to know, a sentence each."""
        return [f.text for f in self.findings if f.severity is Severity.NOTE]

    def lines(self) -> list[str]:
        """The report as plain text."""
        lines = [line for facts in self.splits for line in [*facts_lines(facts), ""]]
        lines.append("checks of labels against labels")
        lines += [f"  {c.verdict.upper():14s}  {c.split}, {c.name}: {c.text}" for c in self.checks]
        for title, texts in (("notes", self.notes), ("problems", self.problems)):
            if texts:
                lines += ["", title, *(f"  {text}" for text in texts)]
        if not self.problems:
            lines += ["", "no problem found"]
        return lines


def inspect_splits(splits: Mapping[str, Sequence[AtomicGraph]], masked: bool = True) -> Inspection:
    """Look at the frames of every split and compare their labels with each other.

    Args:
        splits: graphs of one structure each by name of the split, with or without edges. A label
            that is None or NaN throughout counts as missing.
        masked: whether a label may be NaN throughout.

    Raises:
        InputError: if there are no frames at all.
    """
    by_split = {
        name: [Frame(name, k, graph) for k, graph in enumerate(graphs)]
        for name, graphs in splits.items()
        if len(graphs)
    }
    if not by_split:
        raise InputError("there are no frames to check")
    frames = [frame for part in by_split.values() for frame in part]
    distances, broken = measure_all(frames)
    near = dict(zip(map(id, frames), distances, strict=True))
    facts, checks = [], []
    for name, part in by_split.items():
        facts.append(gather_facts(name, part, [near[id(frame)] for frame in part]))
        sound = [f for f in part if (d := near[id(f)]) is not None and d.shortest > ONE_PLACE]
        checks += _check(name, sound)
    problems = [*_bad_labels(frames, masked), *broken, *_one_place(frames, distances)]
    problems += [
        f"{c.split}, {c.name}: {c.text}" for c in checks if c.verdict is Verdict.SUSPICIOUS
    ]
    doubled, seen_twice = _duplicates(find_duplicates(frames, distances))
    sound = [f for f, d in zip(frames, distances, strict=True) if d is not None]
    notes = [*seen_twice, *_net_forces(facts), *outliers(sound)]
    findings = [Finding(Severity.PROBLEM, text) for text in [*problems, *doubled]]
    findings += [Finding(Severity.NOTE, text) for text in notes]
    return Inspection(tuple(facts), tuple(checks), tuple(findings))


def _check(split: str, frames: Sequence[Frame]) -> list[Check]:
    """All checks for which the split has the labels."""
    has = {name: any(getattr(f, name) is not None for f in frames) for name in ("energy", "stress")}
    checks = []
    forced = any(frame.forces is not None for frame in frames)
    if has["energy"] and forced:
        checks.append(check_energy_forces(split, frames))
    if has["energy"] and has["stress"]:
        checks.append(check_strain(split, frames))
    unsure = any(check.verdict is Verdict.NOT_CONCLUSIVE for check in checks[:1])
    if forced and (has["stress"] or unsure):
        energy, stress = check_pair_model(split, frames)
        checks += [energy] if has["energy"] and unsure else []
        checks += [stress] if has["stress"] else []
    return checks


def _bad_labels(frames: Sequence[Frame], masked: bool) -> list[str]:
    lines = []
    for frame in frames:
        for name in ("energy", "forces", "stress"):
            values = getattr(frame.graph, name)
            if values is None or (masked and bool(torch.isnan(values).all())):
                continue
            if not bool(torch.isfinite(values).all()):
                lines.append(f"{frame.name}: {name} with NaN or infinity among its values")
    return _shortened(lines)


def _one_place(frames: Sequence[Frame], distances: Sequence[Distances | None]) -> list[str]:
    lines = []
    for frame, distance in zip(frames, distances, strict=True):
        if distance is not None and distance.shortest <= ONE_PLACE:
            names = " and ".join(atom_name(frame, k) for k in distance.atoms)
            lines.append(
                f"{frame.name}: atoms {names} at one place, {distance.shortest:.2g} A apart"
            )
    return _shortened(lines)


def _net_forces(facts: Sequence[SplitFacts]) -> list[str]:
    return [
        f"{f.name}: the forces of a frame do not sum to zero, but to {f.net_force:.3g} eV/A at "
        f"most ({f.net_force_at}); a model's always do"
        for f in facts
        if f.net_force > _NET_FORCE
    ]


def _duplicates(found: Sequence[Duplicate]) -> tuple[list[str], list[str]]:
    """Problems and notes about structures that occur twice."""
    problems, notes = [], []
    pairs = sorted({(d.first.split, d.second.split) for d in found})
    for one, other in pairs:
        where = f"within {one}" if one == other else f"in both {one} and {other}"
        mine = [d for d in found if (d.first.split, d.second.split) == (one, other)]
        other_label = [d for d in mine if not d.same_energy]
        if other_label:
            problems.append(f"one structure with two energies {where}: {_examples(other_label)}")
        same = [d for d in mine if d.in_place and d.same_energy]
        if same:
            text = f"the same structure {where}: {_examples(same)}"
            if one == other or (one.startswith("test") and other.startswith("test")):
                notes.append(text)
            else:
                problems.append(f"LEAKAGE: {text}; errors there say nothing about new structures")
        turned = [d for d in mine if not d.in_place]
        if turned:
            notes.append(
                f"the same structure, turned, mirrored, shifted or renumbered, {where}: "
                f"{_examples(turned)}"
            )
    return problems, notes


def _examples(found: Sequence[Duplicate]) -> str:
    names = [f"{d.first.name} = {d.second.name}" for d in found[:_SHOWN]]
    n_frames = len({id(d.second) for d in found})
    return f"{n_frames} frames ({', '.join(names)}{', ...' if len(found) > _SHOWN else ''})"


def _shortened(lines: list[str]) -> list[str]:
    if len(lines) <= _SHOWN:
        return lines
    return [*lines[:_SHOWN], f"... and {len(lines) - _SHOWN} more frames like these"]
