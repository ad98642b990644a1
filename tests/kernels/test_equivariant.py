"""cuEquivariance against the sub-network's own products: values and two derivatives.

On a GPU its kernel, where `cuequivariance_ops_torch` is. On a CPU its plain method stands in for
it, and everything else is what runs on a GPU, the comparison at the first use included.
"""

from __future__ import annotations

from importlib.util import find_spec

import pytest
import torch
from ase import Atoms
from operators import assert_equal_derivatives, assert_float32_is_close, play_a_gpu
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

import structures
from hermnet.checks import predict, random_potential, weight_gradients
from hermnet.grouped import tracing
from hermnet.kernels import equivariant, first_use
from hermnet.kernels.choice import plain_operators
from hermnet.kernels.equivariant import Form, takes
from hermnet.model_options import ModelOptions
from hermnet.segments import segment_sum
from hermnet.subnets.nequip import TensorProduct

HAS_OPS = find_spec("cuequivariance_ops_torch") is not None
KINDS = ("AUTO", "BATCHED", "INDEXED", "SHARED")
HAS_CUE = find_spec("cuequivariance_torch") is not None
pytestmark = pytest.mark.skipif(not HAS_CUE, reason="needs the extra cuequivariance")
needs_gpu = pytest.mark.skipif(
    not (HAS_OPS and torch.cuda.is_available()), reason="needs CUDA and cuequivariance_ops_torch"
)
ROWS = torch.tensor([0, 0, 2, 2, 2, 3, 5, 5])  # none for 1, 4 and 6
N_ROWS, N_SENDERS = 7, 4
SENDERS = torch.tensor([0, 1, 3, 0, 1, 1, 3, 3])  # never 2


def example(
    lmax: int, n_channels: int = 3, device: str = "cpu"
) -> tuple[TensorProduct, list[Tensor]]:
    """A product, and features, harmonics and weights in float64."""
    product = TensorProduct(lmax).double()
    n, n_paths = (lmax + 1) ** 2, len(product.paths)
    shapes = (N_SENDERS, n, n_channels), (len(ROWS), n), (len(ROWS), n_paths, n_channels)
    inputs = [torch.randn(s, dtype=torch.float64, device=device) for s in shapes]
    return product.to(device), [t.requires_grad_() for t in inputs]


def summed(product: TensorProduct, x: Tensor, y: Tensor, w: Tensor) -> Tensor:
    ends = ROWS.to(x.device), SENDERS.to(x.device)
    return product.form(w.shape[1]).summed(x, y, w, ends, N_ROWS)


def own(product: TensorProduct, x: Tensor, y: Tensor, w: Tensor) -> Tensor:
    moved = x.index_select(0, SENDERS.to(x.device))
    return segment_sum(product(moved, y, w), ROWS.to(x.device), N_ROWS)


@pytest.fixture
def _gpu(monkeypatch: pytest.MonkeyPatch):
    play_a_gpu(monkeypatch)
    monkeypatch.setattr(equivariant, "takes", lambda *tensors: True)
    monkeypatch.setattr(equivariant._checked, "_known", set())


@pytest.mark.usefixtures("_gpu")
@pytest.mark.parametrize("lmax", [0, 1, 2, pytest.param(3, marks=pytest.mark.slow)])
def test_equals_gather_product_and_sum(lmax: int, caplog: pytest.LogCaptureFixture):
    product, inputs = example(lmax)
    for _ in range(2):  # compared once, then believed
        assert_equal_derivatives(
            lambda *a: summed(product, *a), lambda *a: own(product, *a), inputs
        )
        assert len(equivariant._checked._known) == 4
    assert not caplog.records


@needs_gpu
@pytest.mark.parametrize("n_channels", [1, 32, 64])
@pytest.mark.parametrize("lmax", [0, 1, 2, 3])
def test_on_a_gpu(
    lmax: int, n_channels: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr(equivariant, "_LEAST", 1)
    product, inputs = example(lmax, n_channels, "cuda")
    assert takes(*inputs)
    assert_equal_derivatives(lambda *a: summed(product, *a), lambda *a: own(product, *a), inputs)
    short = [t.detach().float().requires_grad_() for t in inputs]
    assert takes(*short)
    product.float()
    assert_float32_is_close(lambda *a: summed(product, *a), short)
    assert not caplog.records, "it was cuEquivariance that gave these numbers"


@pytest.mark.slow
@pytest.mark.usefixtures("_gpu")
def test_the_whole_network_gives_the_same(monkeypatch: pytest.MonkeyPatch):
    subnet = {"name": "nequip", "radial_hidden": 8}
    sizes = {"lmax": 2, "n_channels": 4, "n_layers": 2, "cutoff": 3.0}
    options = ModelOptions(subnet=subnet, relations="vertex", dtype="float64", **sizes)
    potential = random_potential(options, (1, 6, 8))
    atoms = structures.molecule()
    alone = atoms + Atoms("H", [[50.0, 0.0, 0.0]])  # which has no neighbors

    def results() -> list[Tensor]:
        told = predict(potential, alone, atoms)
        return [told.energy, told.forces, *weight_gradients(potential, alone, atoms)]

    found = results()
    assert len(equivariant._checked._known) == 8, "four derivatives of each layer's products"
    monkeypatch.setattr(equivariant, "takes", lambda *tensors: False)
    for one, other in zip(found, results(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)
    assert sum(bool(gradient.any()) for gradient in found[2:]) > 15, "of weights of all kinds"


@pytest.mark.usefixtures("_gpu")
def test_scalars_alone_go_the_first_paths():
    product, (x, y, w) = example(2)
    inputs = [t.detach().requires_grad_() for t in (x[:, :1], y, w[:, :3])]
    assert_equal_derivatives(lambda *a: summed(product, *a), lambda *a: own(product, *a), inputs)
    assert len(equivariant._checked._known) == 4


@pytest.mark.usefixtures("_gpu")
def test_what_is_wrong_is_said_once_and_not_used(caplog: pytest.LogCaptureFixture):
    product, inputs = example(1)
    tensors = [1.01 * tensor for _, tensor in product.form(len(product.paths))._paths]
    wrong = Form(product.paths, tensors, product)
    for _ in range(2):
        assert_equal_derivatives(
            lambda *a: wrong.summed(*a, (ROWS, SENDERS), N_ROWS),
            lambda *a: own(product, *a),
            inputs,
        )
    (record,) = caplog.records
    assert record.message.startswith("no kernels of cuEquivariance for torch.float64 on cpu")
    assert {maker for maker, *_ in first_use._refused} == {"cuEquivariance"}


def test_what_it_takes(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(first_use, "_has", lambda maker: True)
    with FakeTensorMode():  # it needs no GPU
        x, y, w = (torch.empty(s, device="cuda") for s in ((4, 4, 2), (3, 4), (3, 4, 2)))
        assert not takes(x, y, w), "a few edges are not worth a call"
        monkeypatch.setattr(equivariant, "_LEAST", 1)
        assert takes(x, y, w)
        assert takes(x.double(), y.double(), w.double())
        assert not takes(x.bfloat16(), y.bfloat16(), w.bfloat16())
        assert not takes(x, y, w.bfloat16()), "one dtype for all"
        assert not takes(x, y, torch.empty(0, 4, 2, device="cuda")), "no edges"
        assert not takes(x.cpu(), y.cpu(), w.cpu())
        with plain_operators():
            assert not takes(x, y, w)
        with tracing():
            assert not takes(x, y, w)
        monkeypatch.setattr(first_use, "_has", lambda maker: maker == "Triton")
        assert not takes(x, y, w)


@pytest.mark.skipif(HAS_OPS, reason="its kernels are there")
def test_without_its_kernels_the_reason_is_said():
    product, _ = example(1)
    with (
        pytest.warns(UserWarning, match="cuequivariance_ops_torch is not available"),
        pytest.raises(RuntimeError, match="does not work: no method uniform_1d"),
    ):
        product.form(len(product.paths)).derivative(0, 3, "uniform_1d")


@pytest.mark.parametrize("which", range(4))
@pytest.mark.parametrize("lmax", [0, 2])
def test_its_kernel_accepts_the_polynomial(lmax: int, which: int, monkeypatch: pytest.MonkeyPatch):
    """What its constructor checks on the host: scalar coefficients, one size for all segments."""
    from cuequivariance_torch.primitives import (
        segmented_polynomial,
        segmented_polynomial_uniform_1d,
    )

    monkeypatch.setattr(segmented_polynomial, "HAS_CUE_OPS", True)
    for name in ("uniform_1d", *(f"BATCH_DIM_{kind}" for kind in KINDS)):
        monkeypatch.setattr(segmented_polynomial_uniform_1d, name, name, raising=False)
    product, _ = example(lmax)
    kernel = product.form(len(product.paths)).derivative(which, 32, "uniform_1d").m
    n, n_paths = (lmax + 1) ** 2, len(product.paths)
    sizes, scalar = [n, n, n_paths, n], [1, 0, 1, 1]
    order = [*(k for k in range(4) if k != which), which]
    assert kernel.buffer_num_segments == [sizes[k] for k in order]
    assert kernel.buffer_dim == [scalar[k] for k in order]
    assert kernel.operand_extent == 32
    assert len(kernel.path_coefficients) == int(product.coupling.count_nonzero())
