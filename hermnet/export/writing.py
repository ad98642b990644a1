"""From a checkpoint to a file, step by step, and what the user sees meanwhile."""

from __future__ import annotations

import time
from pathlib import Path

from hermnet.checkpoints.checkpoint import load_potential
from hermnet.elements import symbol
from hermnet.export.compiling import TOLERANCES, compile_potential, describe_export, deviation
from hermnet.export.exported import ExportedPotential
from hermnet.export.mliap import mliap_file
from hermnet.host.atomic import write_atomically


def write_export(
    checkpoint: Path,
    output: Path,
    form: str,
    dtype: str | None = None,
    device: str = "cpu",
    threads: int = 1,
    plain: bool = False,
) -> None:
    """Compile a checkpoint's potential, compare it with the checkpoint, and write it.

    Args:
        checkpoint: of a potential.
        output: the file to write.
        form: ``pt2`` or ``mliap``.
        dtype: ``float32`` or ``float64``; by default as trained.
        device: for which to compile.
        threads: of the CPU, for which to compile.
        plain: whether to use operators of torch only.

    Raises:
        InputError: for a file that is no usable checkpoint of a potential, or no C++ compiler.
        RuntimeError: if the compiled potential is another than the checkpoint's.
    """
    potential = load_potential(checkpoint, device, dtype)
    about = describe_export(checkpoint, potential)
    names = " ".join(symbol(z) for z in about.elements)
    print(f"{checkpoint}: {names}, cutoff {about.cutoff:g} A, {about.dtype}, {about.device}")
    print("compiling, which takes about a minute ...", flush=True)
    start = time.perf_counter()
    content = compile_potential(potential, about, threads, plain=plain)
    print(f"compiled in {time.perf_counter() - start:.0f} s", flush=True)
    found = deviation(ExportedPotential(content, str(output)), potential)
    if not found < TOLERANCES[about.dtype]:
        raise RuntimeError(f"the compiled potential differs from the checkpoint's by {found:.1e}")
    print(f"largest relative difference from the checkpoint: {found:.1e}")
    if form == "mliap":
        content = mliap_file(content, str(output))
    write_atomically(output, content)
    print(f"written: {output} ({len(content) / 1e6:.1f} MB)")
