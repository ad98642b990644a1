"""`ExportedPotential`: a potential that `hermnet export` has compiled, ready to predict.

Of HermNet this needs neighbor lists, relations and sums over edges, and no package that only
training uses.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, final

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

import hermnet.grouped
import hermnet.kernels.affine
import hermnet.kernels.convolution
import hermnet.kernels.message
import hermnet.kernels.perceptron  # noqa: F401  # operators that compiled code calls
from hermnet.classes import ElementClasses
from hermnet.derivatives import edge_vectors
from hermnet.errors import InputError
from hermnet.export.description import Description, read_description
from hermnet.graph import AtomicGraph
from hermnet.kernels.choice import at_most_threads
from hermnet.kernels.library import library
from hermnet.memory import bytes_taken, piece_of, times_as_many
from hermnet.network import Indices, kinds_of, type_table, types_of
from hermnet.potential import Prediction, Wanted, prediction_from
from hermnet.relations import make_scheme
from hermnet.repulsion import ZBL
from hermnet.two_way import two_way

_CAPABILITIES = ("DEFAULT", "AVX2", "AVX512")  # of x86, each with what those before it have


@final
class ExportedPotential:
    """Energy, atomic energies, forces and stress, as those of the checkpoint.

    It can be pickled and copied; the copy needs no file.

    Args:
        content: the bytes of a file that `hermnet export --format pt2` has written. **It holds
            machine code**, as a program does: take it from people whose programs you would run.
        where: its name, for messages.

    Attributes:
        description: what the file says of itself.
        device: where it computes.
        scheme: what decides the relation of an edge.

    Raises:
        InputError: for a file that is no export, of an unknown format, or compiled for another
            kind of machine or version of torch.
    """

    def __init__(self, content: bytes, where: str = "the exported potential") -> None:
        self._content, self._where = content, where
        self.description = read_description(content, where)
        self.device = _usable(self.description, where)
        self.dtype: torch.dtype = getattr(torch, self.description.dtype)
        self._function = _loaded(content, self.description, where)
        about = self.description
        classes = ElementClasses(about.class_names, about.class_of_type)
        self.scheme = make_scheme(about.scheme, classes)
        self._type_of_number = type_table(self.elements).to(self.device)
        self._class_of_type = torch.tensor(about.class_of_type, device=self.device)
        zbl = ZBL(self.elements, self.cutoff) if about.zbl else None
        self._repulsion = None if zbl is None else zbl.to(self.device)
        parts = [torch.tensor(part, device=self.device) for part in about.parts]
        self._parts: list[Tensor] | list[None] = parts or [None]

    def __reduce__(self) -> tuple[type[ExportedPotential], tuple[bytes, str]]:
        return ExportedPotential, (self._content, self._where)

    @property
    def elements(self) -> tuple[int, ...]:
        """The atomic numbers that it knows."""
        return self.description.elements

    @property
    def cutoff(self) -> float:
        """In A."""
        return self.description.cutoff

    def classes_of(self, atomic_numbers: Tensor) -> Tensor:
        """Index of each atom's class, (n_atoms,); an unknown element raises `InputError`."""
        types = types_of(atomic_numbers, self._type_of_number, self.elements)
        return self._class_of_type.index_select(0, types)

    def bytes_needed(self, graph: AtomicGraph) -> float:
        """What a large structure takes, from what a piece of it is seen to take.

        Args:
            graph: one structure with a neighbor list, on the device.

        Raises:
            InputError: for an element that it does not know.
        """
        piece, vectors = piece_of(graph, self.dtype)
        indices = self.indices(piece)
        taken = bytes_taken(lambda: self.evaluate(vectors, indices))
        return taken * times_as_many(self.indices(graph), indices)

    def indices(self, graph: AtomicGraph) -> Indices:
        """Types and relations of a graph.

        Raises:
            InputError: for an element that it does not know.
        """
        types = types_of(graph.atomic_numbers, self._type_of_number, self.elements)
        return self.relate(types, graph.centers, graph.neighbors, graph.shifts)

    def relate(
        self, types: Tensor, centers: Tensor, neighbors: Tensor, shifts: Tensor | None
    ) -> Indices:
        """The relations of edges between atoms of known types.

        Args:
            types: (n_atoms,) int64, index into the elements.
            centers: (n_edges,) int64, the receiving atoms.
            neighbors: (n_edges,) int64, the sending atoms.
            shifts: (n_edges, 3) whole numbers of lattice vectors; None where periodic images are
                atoms of their own.
        """
        classes = self._class_of_type.index_select(0, types)
        kinds = kinds_of(types, len(self.elements))
        expansions = [
            self.scheme.expand(classes, centers, neighbors, part, shares, kinds)
            for part, shares in zip(self._parts, self.description.shares_sources, strict=True)
        ]
        found = two_way(expansions, self.description.two_way, centers, neighbors, shifts)
        return Indices(types, centers, neighbors, found)

    def evaluate(
        self, vectors: Tensor, indices: Indices, weights: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Atomic energies (n_atoms,) float64 and a gradient (n_edges, 3) by the edges' vectors.

        Args:
            vectors: (n_edges, 3) in A, from center to neighbor.
            indices: of the same edges.
            weights: (n_atoms,) float64; the gradient is that of the atomic energies' weighted sum;
                by default of their sum.
        """
        if weights is None:
            weights = torch.ones_like(indices.types, dtype=torch.float64)
        vectors = vectors.to(self.dtype)
        inputs = (vectors, weights, *pytree.tree_leaves(indices))
        with at_most_threads(self.description.threads):  # other ranks use the other cores
            energies, gradient = self._function(*(tensor.contiguous() for tensor in inputs))
        if self._repulsion is None:
            return energies, gradient
        edges = indices.types, indices.centers, indices.neighbors
        added, slope = self._repulsion.with_gradient(vectors, *edges, weights)
        return energies + added, gradient + slope

    @torch.no_grad()
    def __call__(
        self,
        graph: AtomicGraph,
        forces: bool = True,
        stress: bool = False,
        atomic_stresses: bool = False,
    ) -> Prediction:
        """Predict; see `hermnet.Potential.forward`. Nothing of it can be differentiated.

        Args:
            graph: structures with a neighbor list of at least the cutoff, on any device.
            forces: whether to return forces.
            stress: whether to return the stress.
            atomic_stresses: whether to return each atom's share of it.

        Raises:
            InputError: for an element that it does not know.
        """
        graph = graph.to(self.device)
        indices = self.indices(graph)
        vectors = edge_vectors(graph).to(self.dtype)
        energies, gradient = self.evaluate(vectors, indices)
        wanted = Wanted(forces, stress, atomic_stresses)
        return prediction_from(energies, gradient, vectors, graph, wanted)


def load_exported(path: str | Path) -> ExportedPotential:
    """Read a file that `hermnet export --format pt2` has written.

    Raises:
        InputError: as `ExportedPotential`, and when there is no such file.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"there is no exported potential {path}")
    return ExportedPotential(path.read_bytes(), str(path))


def _usable(about: Description, where: str) -> torch.device:
    device = torch.device(about.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise InputError(
            f"{where} was compiled for cuda, which is not there; export it for the cpu"
        )
    here = torch.backends.cpu.get_cpu_capability()
    ranks = {name: rank for rank, name in enumerate(_CAPABILITIES)}
    if about.capability != here and ranks.get(about.capability, 9) > ranks.get(here, -1):
        raise InputError(
            f"{where} was compiled for {about.capability} instructions, this processor has {here}; "
            "export it on a machine like this one"
        )
    if any(library(name) is None for name in about.kernels):
        raise InputError(
            f"{where} calls kernels of hermnet that cannot be had here: install a C++ compiler "
            "such as g++ (and unset HERMNET_KERNELS), or export it with --plain"
        )
    return device


def _loaded(content: bytes, about: Description, where: str) -> Callable[..., Any]:
    from torch._inductor import aoti_load_package  # late: its import takes a second

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "potential.pt2"
        path.write_bytes(content)
        try:
            return aoti_load_package(str(path))
        except Exception as error:  # whatever a loader says of code that does not fit
            raise InputError(
                f"{where} cannot be loaded by torch {torch.__version__}; it was compiled with "
                f"{about.versions.get('torch', 'an unknown version')}: export it again "
                f"({str(error).strip().splitlines()[0]})"
            ) from error
