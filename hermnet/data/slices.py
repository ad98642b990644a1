"""The part of a path that chooses frames: ``md.xyz::0:1000``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from hermnet.data.fingerprint import FileStamp
from hermnet.data.frames import ChosenFrames, Frame, FrameList, Frames
from hermnet.errors import InputError

_SLICE = re.compile(r"(-?\d*:){1,2}-?\d*")


def is_slice(part: str) -> bool:
    """Whether a part is a slice, or empty, and not something else that a format knows."""
    return not part or _SLICE.fullmatch(part) is not None


def frame_slice(path: Path, part: str) -> slice:
    """The slice that a part means, in Python's sense; an empty part means all frames.

    Raises:
        InputError: if it is no slice.
    """
    if not is_slice(part):
        raise InputError(f"{path}::{part}: '{part}' is no slice of frames, such as 0:1000")
    limits = [int(number) if number else None for number in (part or ":").split(":")]
    if limits[2:] == [0]:
        raise InputError(f"{path}::{part}: a slice cannot have steps of 0")
    return slice(*limits)


def sliced(frames: Sequence[Frame], stamp: FileStamp, part: str, *how: str) -> FrameList:
    """The frames that a part means.

    Args:
        frames: all frames of a file or folder.
        stamp: of this file or folder.
        part: which of them.
        how: they have been read; see `FileStamp.fingerprint`.

    Raises:
        InputError: if it is no slice, or none of the frames is in it.
    """
    chosen = [frames[index] for index in _chosen(len(frames), stamp.path, part)]
    return FrameList(chosen, stamp, (*how, part))


def sliced_lazily(frames: Frames, path: Path, part: str) -> Frames:
    """The same of frames that are read when they are asked for.

    Raises:
        InputError: see `sliced`.
    """
    return ChosenFrames(frames, _chosen(len(frames), path, part)) if part else frames


def _chosen(n_frames: int, path: Path, part: str) -> range:
    chosen = range(n_frames)[frame_slice(path, part)]
    if not chosen:
        raise InputError(f"{path} holds no frames in {part}: it has {n_frames}")
    return chosen
