"""`ModelOptions`: a recipe's ``model`` section."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from hermnet.errors import InputErrors, nearest
from hermnet.subnetwork import HETEROGENEITY

_DTYPES = {"float32": torch.float32, "float64": torch.float64}


@dataclass(frozen=True)
class ModelOptions:
    """A recipe's ``model`` section.

    Attributes:
        subnet: the sub-network's name; or a mapping with ``name`` and its options; or a mapping
            from relation to one of these, with ``default`` for the rest.
        relations: the relation scheme: none, vertex, pair or triadic.
        sharing: how relations share weights: independent, basis:B or shared.
        heterogeneity: which layers know relations: full (all), filters (those on edges: cheap,
            since an atom needs no copy for each relation it sends in), or update (those on the
            atoms that receive); the others have one weight for all relations.
        classes: what relations are made of: element, group, period, block, or a mapping from class
            to elements.
        n_channels: channels of the features.
        n_layers: number of interaction layers.
        lmax: highest degree of the features; by default what the sub-networks need.
        cutoff: distance in A beyond which atoms do not see each other.
        radial: the radial basis: bessel, sine, gaussian or bernstein.
        n_radial: number of radial functions.
        envelope: how edges fade at the cutoff: cosine or polynomial.
        readout: what is learned: energy (with forces and stress), or the name of another readout,
            or a mapping with ``name`` and its options.
        reference: reference energies of the readout energy: ``fit`` (least squares on the training
            set), or a mapping from element to the energy of its isolated atom in eV; with
            `init_from` also ``keep``, which fits those of new elements only.
        zbl: whether to add the ZBL repulsion of bare nuclei at short distances to the energy.
        dtype: float32 or float64.
        init_from: a checkpoint whose weights this model starts from and whose options it takes;
            the training set may have further elements.
        low_rank: with `init_from`, the rank of a change of the relations' weights, which is trained
            in place of them; 0 trains the weights.
    """

    subnet: str | dict[str, Any] = "painn"
    relations: str = "vertex"
    sharing: str = "independent"
    heterogeneity: str = "full"
    classes: str | dict[str, list[str]] = "element"
    n_channels: int = 64
    n_layers: int = 3
    lmax: int | None = None
    cutoff: float = 5.0
    radial: str = "gaussian"
    n_radial: int = 20
    envelope: str = "cosine"
    readout: str | dict[str, Any] = "energy"
    reference: str | dict[str, float] = "fit"
    zbl: bool = False
    dtype: str = "float32"
    init_from: str | None = None
    low_rank: int = 0

    def __post_init__(self) -> None:
        least = {"n_channels": 1, "n_layers": 0, "n_radial": 1, "lmax": 0, "low_rank": 0}
        problems = [
            f"{name}: {getattr(self, name)} is too small; at least {bound}"
            for name, bound in least.items()
            if getattr(self, name) is not None and getattr(self, name) < bound
        ]
        if not self.cutoff > 0:
            problems.append(f"cutoff: {self.cutoff} A is not a positive distance")
        if self.dtype not in _DTYPES:
            problems.append(f"dtype: unknown '{self.dtype}'; {nearest(self.dtype, _DTYPES)}")
        if self.heterogeneity not in HETEROGENEITY:
            hint = nearest(self.heterogeneity, HETEROGENEITY)
            problems.append(f"heterogeneity: unknown '{self.heterogeneity}'; {hint}")
        if isinstance(self.reference, str) and self.reference not in ("fit", "keep"):
            problems.append(
                f"reference: '{self.reference}' is neither 'fit' nor 'keep' nor a mapping from "
                "element to eV"
            )
        if self.init_from is None and (self.low_rank > 0 or self.reference == "keep"):
            name = "low_rank" if self.low_rank > 0 else "reference: keep"
            problems.append(f"{name}: holds for a model with init_from, which names a checkpoint")
        if self.readout_name != "energy":
            for name, neutral in {"reference": "fit", "zbl": False}.items():
                if getattr(self, name) != neutral:
                    problems.append(f"{name}: holds for energies, not for {self.readout_name}")
        if problems:
            raise InputErrors(f"model.{problem}" for problem in problems)

    @property
    def torch_dtype(self) -> torch.dtype:
        """The dtype as torch has it."""
        return _DTYPES[self.dtype]

    @property
    def readout_name(self) -> str:
        """The readout's name."""
        given = self.readout
        return str(given.get("name", "")) if isinstance(given, dict) else given

    @property
    def readout_options(self) -> dict[str, Any]:
        """The readout's options, without its name."""
        given = self.readout if isinstance(self.readout, dict) else {}
        return {key: value for key, value in given.items() if key != "name"}
