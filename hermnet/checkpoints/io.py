"""How Lightning writes and reads checkpoints: whole or not at all, and without running code."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, final

import torch
from lightning_fabric.plugins import CheckpointIO

from hermnet.checkpoints.checkpoint import load_content
from hermnet.host.atomic import write_atomically


@final
class SafeCheckpointIO(CheckpointIO):
    """Files on this machine's disks."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None
    ) -> None:
        """Write a checkpoint; until it is complete the one before stays.

        Raises:
            InputError: if it cannot be written, the disk being full for example.
        """
        # In memory first: torch's own writer does not say why a write has failed.
        buffer = io.BytesIO()
        torch.save(checkpoint, buffer)
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, buffer.getvalue())

    def load_checkpoint(
        self, path: str | Path, map_location: Any | None = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Read a checkpoint with ``weights_only``, whatever Lightning says, in today's format.

        Raises:
            InputError: for a file that is no usable checkpoint.
        """
        return load_content(Path(path))

    def remove_checkpoint(self, path: str | Path) -> None:
        """Remove a checkpoint, if it is there."""
        Path(path).unlink(missing_ok=True)
