"""The log of losses and errors as CSV, of which nothing is lost when the run is killed."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import cast, final

from lightning_fabric.loggers.logger import rank_zero_experiment
from pytorch_lightning.loggers import CSVLogger
from pytorch_lightning.loggers.csv_logs import ExperimentWriter

from hermnet.host.atomic import write_atomically


@final
class MetricsLog(CSVLogger):
    """Lightning's, but the file is replaced as a whole.

    Lightning empties and rewrites it whenever there is a new column.
    """

    @property
    @rank_zero_experiment
    def experiment(self) -> ExperimentWriter:
        """What writes the file."""
        if self._experiment is None:
            self._experiment = _WholeFile(log_dir=self.log_dir)
        return cast("ExperimentWriter", self._experiment)


@final
class _WholeFile(ExperimentWriter):
    """Keeps all rows, which are few."""

    def __init__(self, log_dir: str) -> None:
        super().__init__(log_dir)
        self._rows: list[dict[str, float]] = []

    def save(self) -> None:
        """Write all rows."""
        if not self.metrics:
            return
        self._rows += self.metrics
        self.metrics = []
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, fieldnames=sorted({key for row in self._rows for key in row}))
        writer.writeheader()
        writer.writerows(self._rows)
        write_atomically(Path(self.metrics_file_path), text.getvalue())
