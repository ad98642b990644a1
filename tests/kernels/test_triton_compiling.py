"""Kernels in Triton, compiled for GPUs that need not be there: they compile, and spill little."""

from __future__ import annotations

import importlib
import re
import shutil
import subprocess
import sys
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch

pytestmark = [
    pytest.mark.skipif(find_spec("triton") is None, reason="there is no Triton"),
    pytest.mark.slow,
]
INDICES = {"ends", "slots", "order", "begins", "stops"}  # int32; rows and senders are int64
SENDERS = {"rows", "neighbors", "atoms", "to", "from_"}
EXACT = "tf32x3"  # products of float32 with its digits
SHORT = {"float32": "fp32", "float64": "fp64", "bfloat16": "bf16"}


def compiled(module: str, name: str, dtype: str, capability: int, options: dict[str, Any]) -> Any:
    """The code of one kernel, with addresses and strides aligned as those of torch are."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    kernel = getattr(importlib.import_module(f"hermnet.kernels.{module}"), name)
    launch = {k: options[k] for k in ("num_warps", "num_stages") if k in options}
    constants = {k: x for k, x in options.items() if k in kernel.arg_names}
    in_segments = module in ("triton_segments", "triton_parts")
    exact = "fp64" if dtype == "float64" else "fp32"
    signature, aligned = {}, {}
    for at, argument in enumerate(kernel.arg_names):
        kind = "i32"
        if argument in constants:
            kind = "constexpr"
        elif argument in INDICES:
            kind = "*i32"
        elif argument in SENDERS and not (argument == "rows" and in_segments):
            kind = "*i64"
        elif argument == "parts":
            kind = f"*{exact}"
        elif not argument.startswith(("n_", "size")) and not argument.endswith("stride"):
            kind = f"*{SHORT[dtype]}"
        signature[argument] = kind
        if kind.startswith("*") or argument.endswith("stride"):
            aligned[(at,)] = [["tt.divisibility", 16]]
    source = ASTSource(kernel, signature=signature, constexprs=constants, attrs=aligned)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Triton, about its own defaults
        return triton.compile(source, target=GPUTarget("cuda", capability, 32), options=launch)


def usage(code: Any, folder: Path) -> dict[str, int]:
    """Registers and bytes of stack, that is of spilled registers, of a thread."""
    import triton

    tool = Path(triton.__file__).parent / "backends/nvidia/bin/cuobjdump"
    file = folder / "kernel.cubin"
    file.write_bytes(code.asm["cubin"])
    command = [str(tool) if tool.is_file() else shutil.which("cuobjdump"), "-res-usage", str(file)]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = dict(re.findall(r"(REG|STACK|LOCAL):(\d+)", text))
    return {"registers": int(found["REG"]), "spilled": int(found["STACK"]) + int(found["LOCAL"])}


def cases(dtype: str, n_channels: int, switches: list[tuple[bool, bool]]) -> list[Any]:
    """Every kernel, those of messages with each pair of switches for tangents."""
    from hermnet.kernels.gpu_message import _TILES, CHUNK, tile

    found = []
    for tangent, weight in switches:
        for name in _TILES:
            if name == "by_piece" and weight:
                continue
            module = "triton_message" if name in ("by_row", "by_sender") else "triton_filters"
            options = {**tile(name, getattr(torch, dtype), tangent, 21), "C": n_channels}
            if "PRECISION" in options:
                options["PRECISION"] = "ieee" if dtype == "float64" else EXACT
            options |= {"CHUNK": CHUNK} if name == "by_piece" else {"WEIGHT": weight}
            options |= {"PHI": True, "V": True} if name == "by_sender" else {}
            found.append((module, name, dtype, {**options, "TANGENT": tangent}))
    product = {"C": n_channels, "E": 32, "B": 32, "num_warps": 4}
    found += [("triton_convolution", name, dtype, product) for name in ("sums", "products")]
    return found + segment_cases(dtype)


def segment_cases(dtype: str) -> list[Any]:
    import triton.language as tl

    from hermnet.kernels.triton_parts import CHUNK

    acc = tl.float64 if dtype == "float64" else tl.float32
    exact = {"bfloat16": "tf32", "float64": "ieee"}.get(dtype, EXACT)
    launch = {"ACC": acc, "PRECISION": exact, "num_warps": 4, "num_stages": 1}
    outer = {"M": 64, "N": 32, "K": 64, "CHUNK": CHUNK}
    return [
        ("triton_segments", "_matmul", dtype, {**launch, "M": 64, "N": 32, "K": 32}),
        ("triton_segments", "_outer", dtype, {**launch, **outer}),
        ("triton_parts", "_sum_pieces", dtype, {"CHUNK": CHUNK, "T": 16, "N": 128, "num_warps": 4}),
    ]


@pytest.mark.parametrize(("capability", "n_channels"), [(80, 128), (90, 64)])
def test_what_a_step_in_float32_uses_compiles_and_spills_little(
    capability: int, n_channels: int, tmp_path: Path
):
    from hermnet.kernels.gpu_message import _PRODUCTS

    for module, name, dtype, options in cases(
        "float32", n_channels, [(False, False), (True, False)]
    ):
        code = compiled(module, name, dtype, capability, options)
        # tiles of products were fastest where they just do not fit
        allowed = 512 if name in _PRODUCTS else 0
        assert usage(code, tmp_path)["spilled"] <= allowed, (name, options)


def test_bfloat16_compiles(tmp_path: Path):
    for module, name, dtype, options in segment_cases("bfloat16"):
        assert usage(compiled(module, name, dtype, 90, options), tmp_path)["spilled"] == 0, name


def main(capabilities: list[int]) -> None:
    """Print what every kernel uses, in all combinations of switches."""
    import tempfile

    switches = [(False, False), (True, False), (True, True)]
    kinds = [("float32", 64), ("float32", 128), ("float64", 64)]
    every = [case for dtype, n in kinds for case in cases(dtype, n, switches)]
    for module, name, dtype, options in every + segment_cases("bfloat16"):
        for capability in capabilities:
            with tempfile.TemporaryDirectory() as work:
                code = compiled(module, name, dtype, capability, options)
                used = usage(code, Path(work))
            on = [switch for switch, x in options.items() if x is True]
            told = [f"{n} {what}" for what, n in used.items()] + [f"{code.metadata.shared} shared"]
            print(f"sm_{capability}", name, dtype, options.get("C", ""), *on, *told, flush=True)


if __name__ == "__main__":  # python tests/kernels/test_triton_compiling.py 80 90
    main([int(capability) for capability in sys.argv[1:]])
