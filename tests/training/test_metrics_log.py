from __future__ import annotations

import csv
import os
from pathlib import Path

import pytest
from pytorch_lightning.loggers import CSVLogger

from hermnet.errors import InputError
from hermnet.training.metrics_log import MetricsLog

ROWS = [{"loss": 1.5, "epoch": 0}, {"loss": 0.1, "epoch": 1}, {"error": 1e-9, "epoch": 1}]


def rows(logger: CSVLogger) -> list[dict[str, str]]:
    with (Path(logger.log_dir) / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_file_is_that_of_lightning(tmp_path: Path):
    loggers = [MetricsLog(tmp_path, "ours", ""), CSVLogger(tmp_path, "theirs", "")]
    for logger in loggers:
        for step, row in enumerate(ROWS):
            logger.log_metrics(row, step)
            logger.save()
            logger.save()
    assert rows(loggers[0]) == rows(loggers[1])
    assert len(rows(loggers[0])) == 3


def test_a_new_column_does_not_risk_the_rows_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    logger = MetricsLog(tmp_path, "ours", "")
    for step, row in enumerate(ROWS[:2]):
        logger.log_metrics(row, step)
    logger.save()
    before = rows(logger)

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    logger.log_metrics(ROWS[2], 2)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        with pytest.raises(InputError, match=r"metrics.csv: No space left on device; free some"):
            logger.save()
    assert rows(logger) == before
