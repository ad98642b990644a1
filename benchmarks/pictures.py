"""Pictures for documentation, which are kept small."""

from __future__ import annotations

from pathlib import Path

from PIL import Image


def keep_picture(source: Path, target: Path) -> None:
    """Copy a picture with 64 colours, which is a third of its size."""
    Image.open(source).convert("RGB").quantize(64).save(target, optimize=True)
