"""Whether compiling pays, told from sizes alone: every start of a run decides alike.

The constants are what PaiNN with kernels gained and cost on one core of an AMD EPYC, and half of
what it gained on an H200, where all cores were busy (docs/results/performance.md). Nothing is timed
here, because compiled numbers differ in the last digits, and a run that is repeated or resumed has
to come to the same ones.
"""

from __future__ import annotations

import shutil

from hermnet.model_options import ModelOptions

_SECONDS_TO_COMPILE = {"training": 120.0, "inference": 60.0}  # nothing of it in torch's own cache
_GAINS = {  # seconds a step and layer, of calls into torch; and for each edge and channel
    ("cpu", "training"): (3e-3, 1e-8),
    ("cpu", "inference"): (1e-3, 3e-9),
    ("cuda", "training"): (8e-3, 0.0),
    ("cuda", "inference"): (3e-3, 0.0),
}
_TIMES = 4.0  # what is saved over what compiling takes
_COMPILERS = ("g++", "clang++", "c++")  # what torch.compile looks for on a CPU


def compiling_pays(
    options: ModelOptions, n_steps: int, n_edges: float, task: str, device: str = "cpu"
) -> bool:
    """Whether compiling saves several times the time that it takes.

    Args:
        options: the recipe's ``model`` section.
        n_steps: how often the model will be evaluated.
        n_edges: directed edges of one evaluation.
        task: ``training`` or ``inference``.
        device: ``cpu`` or ``cuda``.
    """
    if not any(map(shutil.which, _COMPILERS)):
        return False
    per_layer, per_value = _GAINS[device, task]
    gain = per_layer + per_value * n_edges * options.n_channels
    return n_steps * options.n_layers * gain > _TIMES * _SECONDS_TO_COMPILE[task]
