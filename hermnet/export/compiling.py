"""From a potential to the bytes of its export, and how far these are from the potential."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from hermnet.checkpoints.checkpoint import read_checkpoint, versions
from hermnet.classes import element_classes
from hermnet.errors import InputError
from hermnet.export.core import core_program, example, kernels_of
from hermnet.export.description import KEY, UNITS, Description
from hermnet.export.exported import ExportedPotential
from hermnet.graph import AtomicGraph, collate
from hermnet.potential import Potential

TOLERANCES = {"float32": 1e-5, "float64": 1e-10}  # of atomic energies and forces, relative


def describe_export(path: str | Path, potential: Potential) -> Description:
    """What the export of a checkpoint's potential says of itself."""
    stored = read_checkpoint(path)
    return replace(describe_model(potential), recipe=stored.recipe, relations=stored.relations)


def describe_model(potential: Potential) -> Description:
    """What the export of a potential without a checkpoint says of itself."""
    options, router = potential.options, potential.router
    classes = element_classes(options.classes, potential.elements)
    n_parts = len(router.served) if len(router.served) > 1 else 0
    numbers = [router.get_buffer(f"part_{k}").tolist() for k in range(n_parts)]
    return Description(
        elements=potential.elements,
        cutoff=potential.cutoff,
        n_layers=options.n_layers,
        scheme=options.relations,
        class_names=classes.names,
        class_of_type=classes.of_type,
        parts=tuple(map(tuple, numbers)),
        shares_sources=tuple(router.shares_sources),
        two_way=tuple(router.two_way),
        zbl=options.zbl,
        dtype=options.dtype,
        device=potential.embedding.weight.device.type,
        capability=torch.backends.cpu.get_cpu_capability(),
        recipe={"model": asdict(options)},
        relations=dict.fromkeys(potential.relation_labels),
        versions=versions(),
        units=UNITS,
    )


def compile_potential(
    potential: Potential,
    about: Description,
    threads: int = 1,
    options: Mapping[str, Any] | None = None,
    plain: bool = False,
) -> bytes:
    """Machine code for a potential, with its weights and its description, as a package's bytes.

    Args:
        potential: on the device for which to compile.
        about: its description.
        threads: of a CPU, for which to compile; code for several adds with atomic operations.
        options: further options of torch's compiler.
        plain: whether to use operators of torch only, for machines without a C++ compiler.

    Raises:
        InputError: where there is no C++ compiler.
    """
    from torch._inductor import aoti_compile_and_package  # late: its import takes seconds
    from torch._inductor.exc import InvalidCxxCompiler

    potential = potential.requires_grad_(False)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        # The compiler's own use of what it deprecates is not ours to mend.
        for category in (DeprecationWarning, FutureWarning):
            warnings.simplefilter("ignore", category)
        package = str(Path(folder) / "potential.pt2")
        program = core_program(potential, fused=not plain)
        kernels = kernels_of(program) if about.device == "cpu" else ()
        settings = {
            "cpp.threads": threads,  # else those of this process are written into the code
            "aot_inductor.metadata": {
                KEY: replace(about, kernels=kernels, threads=threads).to_json()
            },
            **(options or {}),
        }
        try:
            aoti_compile_and_package(program, package_path=package, inductor_configs=settings)
        except InvalidCxxCompiler as error:
            raise InputError(
                "to export needs a C++ compiler such as g++; install one, or name it in CXX"
            ) from error
        return Path(package).read_bytes()


def deviation(exported: ExportedPotential, potential: Potential) -> float:
    """The largest relative difference of atomic energies and forces, over several structures.

    They are one, two and four times the same cloud of all elements, so that every relation that can
    be among neighbors is there.
    """
    cloud = example(potential.elements, potential.cutoff).to(exported.device)
    return max(_differences(exported, potential, (collate([cloud] * n) for n in (1, 2, 4))))


def _differences(
    exported: ExportedPotential, potential: Potential, graphs: Iterable[AtomicGraph]
) -> Iterable[float]:
    for graph in graphs:
        with torch.no_grad():
            expected = potential(graph, stress=True)
        found = exported(graph, stress=True)
        for name in ("atomic_energies", "forces"):
            one, other = getattr(found, name), getattr(expected, name)
            yield float((one - other).abs().max() / other.abs().max().clamp(min=1e-12))
