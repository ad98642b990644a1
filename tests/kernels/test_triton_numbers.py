"""Kernels in Triton against operators of torch: values and two derivatives.

On a GPU where there is one. Elsewhere `test_in_triton_s_interpreter` runs this file once more in a
process of its own, in which Triton interprets the kernels on the CPU.
"""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from importlib.metadata import version
from importlib.util import find_spec

import pytest
import torch
from operators import derivatives
from test_message import N_ROWS, edges, inputs, plain
from torch import Tensor

import hermnet.grouped  # noqa: F401  (defines operators)
from hermnet.kernels import convolution, first_use, message, plain_message
from hermnet.kernels.message import Edges, filtered_message

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
DEVICE = "cpu" if INTERPRETED else "cuda"
HAS_TRITON = find_spec("triton") is not None
OPS = torch.ops.hermnet
LACKS = {  # of older versions
    "only 0-dimensional arrays can be converted": "Triton's interpreter is too old for this NumPy",
    "Unsupported lhs dtype fp64": "this Triton multiplies no float64",
}
here = pytest.mark.skipif(
    not HAS_TRITON or not (INTERPRETED or torch.cuda.is_available()), reason="needs CUDA and Triton"
)


@pytest.mark.slow
@pytest.mark.skipif(not HAS_TRITON, reason="there is no Triton")
@pytest.mark.skipif(INTERPRETED, reason="this is it")
def test_in_triton_s_interpreter():
    environment = {**os.environ, "TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", __file__]
    command += ["-W", "ignore:Conversion of an array with ndim"]  # of older interpreters
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    for text, reason in LACKS.items():
        if text in done.stdout:
            pytest.skip(reason)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    assert " passed" in done.stdout


if INTERPRETED:  # Triton's functions take the place of C++ and of loops
    from hermnet.kernels import gpu_message, triton_convolution, triton_segments

    _OVERRIDES = torch.library.Library("hermnet", "IMPL")
    for _module, _names in (
        (gpu_message, ("message", "message_first", "message_second")),
        (triton_convolution, ("product_sum", "edge_product")),
        (triton_segments, ("segment_matmul", "segment_outer")),
    ):
        for _name in _names:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # torch says that they take another's place
                _OVERRIDES.impl(_name, getattr(_module, _name), "CPU", allow_override=True)


def moved(tensors):
    return [t.detach().to(DEVICE).requires_grad_(t.requires_grad) for t in tensors]


def compare(found: list[Tensor], expected: list[Tensor], tolerance: float) -> None:
    for one, other in zip(found, expected, strict=True):
        assert one.shape == other.shape
        scale = other.abs().max() if other.numel() else torch.tensor(0.0)
        assert (one.cpu().double() - other.double()).abs().le(tolerance * scale).all()


def compare_messages(e: Edges, x: list[Tensor], tolerance: float) -> None:
    def fused(phi: Tensor, features: Tensor, *rest: Tensor) -> Tensor:
        there = Edges(*moved(e))
        if e.neighbors is e.atoms:
            there = there._replace(neighbors=there.atoms)
        return filtered_message(phi, features[:, 1:4], *rest, there, N_ROWS)

    exact = [t.detach().double().requires_grad_() for t in x]
    expected = derivatives(lambda p, v, *rest: plain(p, v[:, 1:4], *rest, e), exact)
    there = moved(x)
    found = derivatives(fused, there)
    compare(found, expected, tolerance)


@pytest.fixture(autouse=True)
def _none_is_refused():
    """On a GPU: it was Triton that gave these numbers. Triton 3.3 multiplies no float64."""
    yield
    has_float64 = HAS_TRITON and tuple(map(int, version("triton").split(".")[:2])) >= (3, 5)
    refused = {dtype for maker, _, dtype in first_use._refused if maker == "Triton"}
    assert refused <= (set() if has_float64 else {torch.float64})


@here
@pytest.mark.parametrize(
    ("n_edges", "n_channels", "n_matrices", "dtype"),
    [
        (24, 3, 3, torch.float64),
        (24, 3, 1, torch.float64),
        (1, 3, 3, torch.float64),
        (24, 35, 3, torch.float32),
    ],
    ids=["three slots", "one matrix", "one edge", "blocks of channels"],
)
def test_messages(n_edges: int, n_channels: int, n_matrices: int, dtype: torch.dtype):
    x = inputs(n_edges, n_channels, dtype, n_matrices)
    compare_messages(edges(n_edges), x, 1e-10 if dtype == torch.float64 else 1e-5)


@here
def test_messages_of_sources_that_are_the_atoms():
    e, x = edges(24), inputs(24, 4)
    x[1] = torch.randn(9, 5, 4, dtype=torch.float64, requires_grad=True)
    compare_messages(e._replace(atoms=e.neighbors), x, 1e-10)


@here
def test_messages_without_edges():
    x = moved(inputs(0, 4))
    out = filtered_message(x[0], x[1][:, 1:4], *x[2:], Edges(*moved(edges(0))), N_ROWS)
    assert out.shape == (N_ROWS, 4, 4)
    assert (out == 0).all()
    assert all((g == 0).all() for g in torch.autograd.grad(out.sum(), x))


@here
def test_weights_of_more_edges_than_a_piece_holds():
    e, x = edges(600), [t.detach() for t in inputs(600, 4)]
    x[1] = x[1][:, 1:4]
    grad = torch.randn(N_ROWS, 4, 4, dtype=torch.float64)
    expected = plain_message.message_first(grad, *x, *e, 0b10000)
    found = OPS.message_first(grad.to(DEVICE), *moved(x), *moved(e), 0b10000)
    compare(list(found), list(expected), 1e-10)


@here
def test_few_senders_of_many_edges():
    e, x = edges(400), [t.detach() for t in inputs(400, 4)]
    e, x[0], x[1] = e._replace(neighbors=torch.randint(0, 2, (400,))), x[0][:3], x[1][:, 1:4]
    grad = torch.randn(N_ROWS, 4, 4, dtype=torch.float64)
    expected = plain_message.message_first(grad, *x, *e, 0b00001)
    found = OPS.message_first(grad.to(DEVICE), *moved(x), *moved(e), 0b00001)
    compare(list(found), list(expected), 1e-10)


@here
def test_products_of_few_senders_of_many_edges():
    rows, senders = torch.sort(torch.randint(0, 7, (600,)))[0], torch.randint(1, 3, (600,))
    values, weights, grad = torch.randn(4, 5), torch.randn(600, 5), torch.randn(7, 5)
    expected = convolution._plain_sum(grad, weights, senders, rows, 4, False)
    found = OPS.product_sum(*moved((grad, weights, senders, rows)), 4, False)
    compare([found], [expected.double()], 1e-5)
    expected = convolution._plain_sum(values, weights, rows, senders, 7, True)
    found = OPS.product_sum(*moved((values, weights, rows, senders)), 7, True)
    compare([found], [expected.double()], 1e-5)


@here
@pytest.mark.parametrize("n_edges", [50, 1])
def test_products_of_gathered_rows(n_edges: int):
    rows = torch.sort(torch.randint(0, 7, (n_edges,)))[0]
    senders = torch.randint(0, 9, (n_edges,))
    shapes = (9, 5), (n_edges, 5)
    x = [torch.randn(s, dtype=torch.float64, requires_grad=True) for s in shapes]
    expected = derivatives(
        lambda a, b: a.new_zeros(7, 5).index_add(0, rows, a.index_select(0, senders) * b), x
    )
    there = moved((rows, senders))
    found = derivatives(lambda a, b: convolution.product_sum(a, b, *there, 7), moved(x))
    compare(found, expected, 1e-10)


@here
@pytest.mark.parametrize("counts", [(1,), (0, 0), (0, 70, 1, 0), (515, 0, 20)], ids=str)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
def test_products_by_segment(counts: tuple[int, ...], dtype: torch.dtype):
    tolerance = {torch.float64: 1e-12, torch.float32: 1e-5, torch.bfloat16: 1e-2}[dtype]
    n_rows, n_in, n_out = sum(counts), 18, 33
    rows, others = (torch.randn(n_rows, n, dtype=dtype) for n in (n_in, n_out))
    turned = torch.randn(len(counts), n_out, n_in, dtype=dtype)
    ends = torch.tensor(counts).cumsum(0).int()
    parts = [t.double().split(counts) for t in (rows, others)]
    products = [a @ b.double().T for a, b in zip(parts[0], turned, strict=True)]
    outers = [a.T @ b for a, b in zip(*parts, strict=True)]
    rows, others, turned, ends = moved((rows, others, turned, ends))
    product = OPS.segment_matmul(rows, turned.transpose(1, 2), ends)
    assert product.dtype == dtype
    compare([product], [torch.cat(products)], tolerance)
    compare([OPS.segment_outer(rows, others, ends)], [torch.stack(outers)], tolerance)


@pytest.mark.skipif(not torch.cuda.is_available() or INTERPRETED, reason="needs CUDA")
def test_a_gpu_takes_them():
    phi, features, basis, *_ = moved(inputs(3, 4))
    assert message.takes(phi, features[:, 1:4], basis)
    assert convolution.takes(phi, phi)
