from __future__ import annotations

import re

import pytest
import torch
from pytorch_lightning import Callback
from pytorch_lightning.callbacks import EarlyStopping
from torch.optim import Optimizer

from hermnet.errors import InputError
from hermnet.recipes.class_path import build, locate


def test_classes_of_torch_and_lightning_are_found():
    assert locate("torch.optim.AdamW", Optimizer) is torch.optim.AdamW
    assert locate("pytorch_lightning.callbacks.EarlyStopping", Callback) is EarlyStopping


@pytest.mark.parametrize(
    ("class_path", "message"),
    [
        ("os.system", "'os.system' is not allowed"),
        ("builtins.eval", "'builtins.eval' is not allowed"),
        ("torch.hub.load", "'torch.hub.load' is not allowed"),
        ("torch.optimizer.Adam", "'torch.optimizer.Adam' is not allowed"),
        ("AdamW", "'AdamW' is not allowed"),
        (None, "'None' is not allowed"),
        ("torch.optim.Admw", "unknown optimizer 'torch.optim.Admw'; did you mean 'AdamW'?"),
        ("torch.optim.Optimizer", "unknown optimizer 'torch.optim.Optimizer'"),
        ("torch.optim.lr_scheduler.StepLR", "unknown optimizer 'torch.optim.lr_scheduler.StepLR'"),
        ("torch.optim.nothing.Adam", "there is no module torch.optim.nothing"),
        ("pytorch_lightning.callbacks.EarlyStopping", "unknown optimizer"),
    ],
)
def test_anything_else_is_refused(class_path: object, message: str):
    with pytest.raises(InputError, match=re.escape(message)):
        locate(class_path, Optimizer)


def test_an_object_is_built_from_its_arguments():
    weight = torch.zeros(1, requires_grad=True)
    spec = {"class_path": "torch.optim.SGD", "lr": 0.5}
    optimizer = build(spec, Optimizer, [weight])
    assert isinstance(optimizer, torch.optim.SGD)
    assert optimizer.defaults["lr"] == 0.5
    assert spec == {"class_path": "torch.optim.SGD", "lr": 0.5}


def test_arguments_that_the_class_refuses_are_an_input_error():
    weight = torch.zeros(1, requires_grad=True)
    with pytest.raises(InputError, match=r"torch\.optim\.SGD: Invalid learning rate: -1"):
        build({"class_path": "torch.optim.SGD", "lr": -1}, Optimizer, [weight])
