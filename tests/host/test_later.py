from __future__ import annotations

import torch

from hermnet.host.later import Later


def test_what_was_asked_for_is_there_later():
    weight = torch.tensor([1.0, 2.0], requires_grad=True)
    seen = Later((2 * weight).sum() > torch.tensor([3.0, 7.0])).look()
    assert seen.tolist() == [True, False]
    assert not Later(weight).look().requires_grad
