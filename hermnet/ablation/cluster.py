"""Runs as an array of jobs on a cluster, by submitit."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from hermnet.ablation.execution import RunTask
from hermnet.ablation.pool import Tell
from hermnet.errors import InputError, nearest

CLUSTERS = ("slurm", "local", "debug")
_POLL = 2.0  # seconds


def run_there(
    path: str,
    names: Sequence[str],
    jobs: int,
    cluster: str,
    options: Mapping[str, Any],
    tell: Tell,
) -> None:
    """Submit runs as one array and wait for them; they go on when this process ends.

    Args:
        path: the ablation's folder, which all machines see.
        names: of the runs.
        jobs: how many at a time.
        cluster: ``slurm``, or for a trial ``local``, which runs the jobs on this machine.
        options: of submitit's `update_parameters`, such as ``slurm_partition`` or ``timeout_min``.
        tell: is told of each run that has ended.

    Raises:
        InputError: if submitit is missing, or refuses the cluster or the options.
    """
    threads = int(options.get("cpus_per_task", 1))
    executor = _executor(path, cluster, {"slurm_array_parallelism": jobs, **options})
    task = RunTask(path, threads)
    waiting = dict(zip(names, executor.map_array(task, list(names)), strict=True))
    print(f"submitted {len(waiting)} jobs to {cluster}: {', '.join(_ids(waiting))}", flush=True)
    try:
        while waiting:
            for name in [name for name, job in waiting.items() if job.done()]:
                tell(name, _result(name, waiting.pop(name)))
            time.sleep(_POLL if waiting else 0.0)
    except KeyboardInterrupt:
        print("the jobs stay in the queue; give the same command again to wait for them")
        raise


def _ids(jobs: Mapping[str, Any]) -> list[str]:
    return sorted({str(job.job_id).split("_")[0] for job in jobs.values()})


def _result(name: str, job: Any) -> Any:
    from hermnet.ablation.folder import Status

    error = job.exception()
    if error is None:
        return job.result()
    return Status(1, 0.0, " ".join(str(error).split())[-300:] or f"job {job.job_id} is gone")


def _executor(path: str, cluster: str, options: Mapping[str, Any]) -> Any:
    if cluster not in CLUSTERS:
        raise InputError(f"--cluster: unknown '{cluster}'; {nearest(cluster, CLUSTERS)}")
    try:
        import submitit
    except ImportError as error:
        raise InputError('--cluster needs submitit: pip install "hermnet[slurm]"') from error
    try:
        executor = submitit.AutoExecutor(folder=f"{path}/submitit/%j", cluster=cluster)
        executor.update_parameters(name="hermnet-ablate", **options)
    except (RuntimeError, TypeError, NameError, ValueError, AssertionError) as error:
        raise InputError(f"--cluster {cluster}: {' '.join(str(error).split())}") from error
    return executor
