from __future__ import annotations

from pathlib import Path

import pytest
import torch

import tiny
from hermnet.run.commands import fit
from hermnet.training.precision import matrix_products

pytestmark = pytest.mark.filterwarnings("ignore:relations with few training edges")


def test_matrix_products_are_as_before_afterwards():
    before = torch.get_float32_matmul_precision()
    with matrix_products("medium"):
        assert torch.get_float32_matmul_precision() == "medium"
    assert torch.get_float32_matmul_precision() == before


def test_mixed_precision_trains_and_clips_with_the_fused_optimizer(tmp_path: Path):
    data = tiny.data(tmp_path / "data")
    errors = {}
    for precision in ("32-true", "bf16-mixed"):
        given = [
            f"trainer.precision={precision}",
            "trainer.gradient_clip_val=0.1",
            "training.optimizer.fused=true",
            f"trainer.default_root_dir={tmp_path / precision}",
        ]
        run = fit(tiny.recipe(tmp_path, data, *given))
        errors[precision] = run.results["val"].errors["forces_mae"]
    assert errors["bf16-mixed"] != errors["32-true"]
    assert errors["bf16-mixed"] == pytest.approx(errors["32-true"], rel=0.05)
