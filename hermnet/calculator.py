"""`HermNetCalculator`: trained models as a calculator of ASE."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from numpy.typing import NDArray

from hermnet.checkpoints.checkpoint import load_model, read_checkpoint
from hermnet.compiled import CompiledEvaluator
from hermnet.data.validity import check_linked, refuse
from hermnet.elements import symbol
from hermnet.errors import InputError
from hermnet.export.exported import ExportedPotential, load_exported
from hermnet.familiarity import Familiarity
from hermnet.graph import AtomicGraph
from hermnet.memory import bytes_needed, check_memory
from hermnet.neighbors import graph_from_atoms
from hermnet.network import Network
from hermnet.potential import Potential, Prediction
from hermnet.property_model import PropertyModel
from hermnet.skin import SkinNeighbors

Array = NDArray[np.float64]
_ENERGIES = ("energy", "free_energy", "energies", "forces", "stress", "stresses")
_SPREADS = ("energy_std", "forces_std")
_Potential = Potential | ExportedPotential
_OF_ELECTRONS = {"initial_charges", "initial_magmoms"}
_VOIGT = ([0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1])  # xx yy zz yz xz xy


@final
class HermNetCalculator(Calculator):
    """Energy, forces and stress of a potential, or of several as a committee.

    Results are ``energy`` and ``free_energy`` (the same, eV), ``energies`` of the atoms (eV),
    ``forces`` (eV/A) and, where the cell has a volume, ``stress`` (xx yy zz yz xz xy in eV/A^3,
    positive under tension) and, when asked for, ``stresses`` (n_atoms, 6): the atoms' shares of
    the stress, their virials over ``-volume``. A committee gives the mean of its members, and
    ``energy_std`` (eV) and ``forces_std`` (n_atoms, 3, eV/A): the members' root mean square
    deviation from that mean. A model of the dipole, alone or beside potentials, gives ``dipole``
    (e A).

    Neighbor lists are a little longer than the cutoff and last until an edge could be missing.
    A warning names relations of a structure that training hardly saw.

    It can be pickled and copied; the copy holds the weights and needs no files. Like every
    calculator of ASE it keeps the structure that it saw last, so each thread needs one of its own:
    a copy (`copy.deepcopy`) shares nothing with its original, and both may compute at one time.

    Args:
        checkpoints: of one or several runs, such as ``runs/quickstart/checkpoints/best.ckpt``, or
            files that `hermnet export` has compiled (``.pt2``).
        device: where to compute; by default on the GPU where there is one.
        dtype: ``float32`` or ``float64``; by default as trained.
        compile: whether to compile the potentials at their first use, for long simulations.
        skin: in A; see `hermnet.SkinNeighbors`.

    Raises:
        InputError: for a file that is no usable checkpoint, a model that has neither energies nor
            dipoles, a device that is not there, members that know different elements, and, when
            it computes, as `calculate`.
    """

    name = "hermnet"

    def __init__(
        self,
        checkpoints: str | Path | Sequence[str | Path],
        device: torch.device | str | None = None,
        dtype: str | None = None,
        compile: bool = False,
        skin: float = 0.5,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # ASE has few types
        paths = [checkpoints] if isinstance(checkpoints, str | Path) else list(checkpoints)
        if not paths:
            raise InputError("a calculator needs at least one checkpoint")
        self.device = usable_device(device)
        models = [_load(path, self.device, dtype) for path in paths]
        if device is None and isinstance(models[0], ExportedPotential):
            self.device = models[0].device
        loaded = list(zip(map(str, paths), models, strict=True))
        self._familiar = [Familiarity(m, _edges_seen(path, m)) for path, m in loaded]
        self._compiled = False
        self.potentials = [m for m in models if isinstance(m, _Potential)]
        self.dipoles = [_of_dipoles(m, path) for path, m in loaded if not isinstance(m, _Potential)]
        if compile:
            self.compile()
        self.implemented_properties = self._implemented()
        self.elements = _common_elements(loaded)
        self.cutoff = max(model.cutoff for model in models)
        self._neighbors = SkinNeighbors(self.cutoff, skin)
        self._n_checked = 0  # searches whose lists were looked at

    def compile(self) -> None:
        """Compile the potentials at their next use; it takes a minute or so."""
        self._compiled = True
        for potential in self.potentials:
            if isinstance(potential, Potential):  # an exported one is compiled already
                potential.evaluate = CompiledEvaluator()

    @property
    def n_searches(self) -> int:
        """How often a neighbor list had to be made."""
        return self._neighbors.n_searches

    def _implemented(self) -> list[str]:
        names = list(_ENERGIES) if self.potentials else []
        names += _SPREADS if len(self.potentials) > 1 else ()
        return [*names, "dipole"] if self.dipoles else names

    def check_state(self, atoms: Atoms, tol: float = 1e-15) -> list[str]:
        """What has changed, as ASE tells it; fast where nothing has, as several times in a step."""
        if self.atoms is not None and _is_same(self.atoms, atoms):
            return []
        # ASE has few types
        changed: list[str] = super().check_state(atoms, tol)  # type: ignore[no-untyped-call]
        return changed

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = tuple(all_changes),
    ) -> None:
        """Fill `results` with everything; see the class.

        Raises:
            InputError: for an element that a model does not know, no atoms, positions that are not
                finite, a periodic cell without volume, two atoms at one place, or a structure that
                does not fit into memory.
        """
        # ASE has few types
        super().calculate(atoms, properties, system_changes)  # type: ignore[no-untyped-call]
        if self.atoms is None:
            raise InputError("there is no structure to compute")
        strangers = sorted(set(self.atoms.numbers.tolist()) - set(self.elements))
        graph = graph_from_atoms(self.atoms)
        if strangers:
            raise InputError(
                f"the potential does not know {', '.join(map(symbol, strangers))}; "
                f"it was trained on {', '.join(map(symbol, self.elements))}"
            )
        self.results = {}
        graph = self._linked(graph)
        self.results = self._energies(graph, "stresses" in properties) if self.potentials else {}
        if self.dipoles:
            with torch.no_grad():
                values = [_numpy(m(graph).values * m.internal)[0] for m in self.dipoles]
            self.results["dipole"] = np.mean(values, axis=0)

    def _linked(self, graph: AtomicGraph) -> AtomicGraph:
        """The structure with its edges, where it is computed; a new list of them is looked at."""
        linked = self._neighbors(graph)
        if self.n_searches == self._n_checked:
            return linked.to(self.device)
        refuse(check_linked(linked, "the structure"))
        linked = linked.to(self.device)
        for familiar in self._familiar:
            familiar.check(linked)
        for potential in self.potentials[:1]:
            if isinstance(potential, ExportedPotential):
                check_memory(potential.bytes_needed, linked)
            elif not self._compiled:
                check_memory(partial(bytes_needed, potential), linked)
        self._n_checked = self.n_searches
        return linked

    def _energies(self, graph: AtomicGraph, by_atom: bool) -> dict[str, Any]:
        with torch.no_grad():
            found = [_arrays(p(graph, True, True, by_atom)) for p in self.potentials]
        mean = {name: np.mean([one[name] for one in found], axis=0) for name in found[0]}
        results: dict[str, Any] = {**mean, "energy": float(mean["energy"])}
        results["free_energy"] = results["energy"]
        if not np.isfinite(mean["stress"]).all():  # there is no volume
            results = {name: value for name, value in results.items() if "stress" not in name}
        if len(found) > 1:
            results["energy_std"] = float(np.std([one["energy"] for one in found]))
            results["forces_std"] = np.std([one["forces"] for one in found], axis=0)
        return results


def _is_same(before: Atoms, now: Atoms) -> bool:
    """Whether nothing that ASE compares differs in a single bit."""
    return (
        np.array_equal(before.positions, now.positions)
        and np.array_equal(before.numbers, now.numbers)
        and np.array_equal(before.cell.array, now.cell.array)
        and np.array_equal(before.pbc, now.pbc)
        and not _OF_ELECTRONS & (before.arrays.keys() | now.arrays.keys())
    )


def _load(path: str | Path, device: torch.device, dtype: str | None) -> Network | ExportedPotential:
    if Path(path).suffix != ".pt2":
        return load_model(path, device, dtype).requires_grad_(False)
    exported = load_exported(path)
    compiled = exported.description.dtype
    if dtype not in (None, compiled):
        raise InputError(f"{path} was compiled for {compiled}; export it again for {dtype}")
    return exported


def _edges_seen(path: str, model: Network | ExportedPotential) -> Mapping[str, int | None]:
    """Training edges of each relation by its label, None where not known."""
    if isinstance(model, ExportedPotential):
        return model.description.relations
    return read_checkpoint(path).relations


def _arrays(prediction: Prediction) -> dict[str, Array]:
    """What one potential says of one structure, in float64 and ASE's order."""
    assert prediction.forces is not None
    assert prediction.stress is not None
    arrays = {
        "energy": _numpy(prediction.energy)[0],
        "energies": _numpy(prediction.atomic_energies),
        "forces": _numpy(prediction.forces),
        "stress": _numpy(prediction.stress)[0][_VOIGT],
    }
    if prediction.atomic_stresses is not None:
        arrays["stresses"] = _numpy(prediction.atomic_stresses)[:, *_VOIGT]
    return arrays


def _numpy(tensor: torch.Tensor) -> Array:
    array: Array = tensor.double().cpu().numpy()
    return array


def usable_device(device: torch.device | str | None) -> torch.device:
    """The device, by default the GPU where there is one; `InputError` where it cannot be used."""
    name = device or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:  # what torch says of a device it lacks
        reason = str(error).splitlines()[0]
        raise InputError(f"the device '{name}' cannot be used: {reason}") from error


def _of_dipoles(model: Network | ExportedPotential, path: str) -> PropertyModel:
    if isinstance(model, PropertyModel) and [t.from_dipole for t in model.targets] == [True]:
        return model
    assert isinstance(model, Network)
    raise InputError(
        f"{path} holds a model of {', '.join(model.units)}; a calculator takes potentials and "
        "models of the dipole vector"
    )


def _common_elements(models: Sequence[tuple[str, Network | ExportedPotential]]) -> tuple[int, ...]:
    (first, known), *others = ((path, sorted(model.elements)) for path, model in models)
    for path, elements in others:
        if elements != known:
            raise InputError(
                f"{path} knows {', '.join(map(symbol, elements))}, but {first} "
                f"{', '.join(map(symbol, known))}; members of a committee know the same elements"
            )
    return tuple(known)
