"""What an exported potential says of itself, readable without running anything of it.

It is one entry of the metadata that AOTInductor keeps in its package, a zip file. The version of
the format also covers the order of the compiled function's arguments: the leaves of
`hermnet.network.Indices` after the vectors and the weights.
"""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import asdict, dataclass, fields
from pathlib import PurePosixPath
from typing import Any

from hermnet.errors import InputError

FORMAT = 5
UNITS = {"length": "A", "energy": "eV", "forces": "eV/A", "stress": "eV/A^3"}
KEY = "hermnet"  # in the package's metadata
_ENTRY = "_metadata.json"  # how the name of the metadata's file ends


@dataclass(frozen=True)
class Description:
    """What it takes to call the compiled function, and where it comes from.

    Attributes:
        elements: atomic numbers, in the order of types.
        cutoff: in A.
        n_layers: how many edges a message may travel.
        scheme: the relation scheme.
        class_names: the classes of elements, in the order of their index.
        class_of_type: the class of each of the elements.
        parts: for each of several sub-networks a new number for each relation, as
            `hermnet.relations.Scheme.expand` takes it; empty where there is one.
        shares_sources: for each sub-network whether an atom is one source for all its relations.
        two_way: for each sub-network whether an edge may stand for its reverse too.
        zbl: whether the loader adds the repulsion of bare nuclei.
        dtype: of vectors and forces.
        device: ``cpu`` or ``cuda``.
        capability: the vector instructions that the code uses, in torch's words.
        recipe: the training's resolved recipe.
        relations: training edges of each relation by its label, None where not known.
        versions: of the packages that wrote it.
        units: of everything that goes in or comes out.
        kernels: the libraries of `hermnet.kernels` that the code calls.
        threads: of a CPU, for which the code was compiled.
        format: version of the format.
    """

    elements: tuple[int, ...]
    cutoff: float
    n_layers: int
    scheme: str
    class_names: tuple[str, ...]
    class_of_type: tuple[int, ...]
    parts: tuple[tuple[int, ...], ...]
    shares_sources: tuple[bool, ...]
    two_way: tuple[bool, ...]
    zbl: bool
    dtype: str
    device: str
    capability: str
    recipe: dict[str, Any]
    relations: dict[str, int | None]
    versions: dict[str, str]
    units: dict[str, str]
    kernels: tuple[str, ...] = ()
    threads: int = 1
    format: int = FORMAT

    def to_json(self) -> str:
        """As one line of JSON."""
        return json.dumps(asdict(self))


def read_description(content: bytes, where: str) -> Description:
    """The description in the bytes of an exported potential.

    Args:
        content: the whole file.
        where: its name, for messages.

    Raises:
        InputError: for bytes that are no such file, or a format that this HermNet does not know.
    """
    about = _entry(content, where)
    found = about.get("format")
    if found != FORMAT:
        writer = about.get("versions", {}).get("hermnet", "an unknown version")
        raise InputError(
            f"{where} has export format {found!r}, this HermNet reads {FORMAT}; it was written "
            f"with hermnet {writer}: install that version, or export the checkpoint again"
        )
    missing = [field.name for field in fields(Description) if field.name not in about]
    if missing:
        raise InputError(f"{where} is an incomplete export: it lacks {', '.join(missing)}")
    try:
        return _typed(about)
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{where} is a damaged export: {error!r}") from error


def _entry(content: bytes, where: str) -> dict[str, Any]:
    foreign = InputError(f"{where} is no exported potential of HermNet; hermnet export makes one")
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as package:
            for name in package.namelist():
                if PurePosixPath(name).name.endswith(_ENTRY):
                    about = json.loads(package.read(name)).get(KEY)
                    if about is not None:
                        return dict(json.loads(about))
    except (zipfile.BadZipFile, ValueError, TypeError, AttributeError, KeyError) as error:
        raise foreign from error
    raise foreign


def _typed(about: dict[str, Any]) -> Description:
    return Description(
        elements=tuple(int(z) for z in about["elements"]),
        cutoff=float(about["cutoff"]),
        n_layers=int(about["n_layers"]),
        scheme=str(about["scheme"]),
        class_names=tuple(str(name) for name in about["class_names"]),
        class_of_type=tuple(int(k) for k in about["class_of_type"]),
        parts=tuple(tuple(int(k) for k in part) for part in about["parts"]),
        shares_sources=tuple(bool(one) for one in about["shares_sources"]),
        two_way=tuple(bool(one) for one in about["two_way"]),
        zbl=bool(about["zbl"]),
        dtype=str(about["dtype"]),
        device=str(about["device"]),
        capability=str(about["capability"]),
        recipe=dict(about["recipe"]),
        relations=dict(about["relations"]),
        versions={str(name): str(number) for name, number in about["versions"].items()},
        units={str(name): str(unit) for name, unit in about["units"].items()},
        kernels=tuple(str(name) for name in about["kernels"]),
        threads=int(about["threads"]),
    )
