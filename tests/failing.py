"""The command, but in process 1 a step raises: ``failing.py InputError fit --config ...``."""

from __future__ import annotations

import sys
from typing import Any

from hermnet.cli import main
from hermnet.errors import InputError
from hermnet.host.processes import rank
from hermnet.training.task import PotentialTask

ERRORS = {"InputError": InputError, "ValueError": ValueError}
whole_step = PotentialTask.training_step


def training_step(task: PotentialTask, graph: Any, batch_idx: int) -> Any:
    if rank() == 1 and task.global_step == 3:
        raise ERRORS[sys.argv[1]]("frame 7 cannot be used")
    return whole_step(task, graph, batch_idx)


if __name__ == "__main__":
    PotentialTask.training_step = training_step  # type: ignore[method-assign]
    raise SystemExit(main(sys.argv[2:]))
