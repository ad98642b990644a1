"""The part of a path that chooses frames: ``md.xyz::0:1000``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from hermnet.data.frames import Frame, FrameList
from hermnet.errors import InputError


def frame_slice(path: Path, part: str) -> slice:
    """The slice that a part means, in Python's sense; an empty part means all frames.

    Raises:
        InputError: if it is no slice.
    """
    if not re.fullmatch(r"(-?\d*:){1,2}-?\d*", part or ":"):
        raise InputError(f"{path}::{part}: '{part}' is no slice of frames, such as 0:1000")
    limits = [int(number) if number else None for number in (part or ":").split(":")]
    if limits[2:] == [0]:
        raise InputError(f"{path}::{part}: a slice cannot have steps of 0")
    return slice(*limits)


def sliced(frames: Sequence[Frame], path: Path, part: str) -> FrameList:
    """The frames that a part means.

    Raises:
        InputError: if it is no slice, or none of the frames is in it.
    """
    chosen = frames[frame_slice(path, part)]
    if not chosen:
        raise InputError(f"{path} holds no frames in {part}: it has {len(frames)}")
    return FrameList(chosen)
