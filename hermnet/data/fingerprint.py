"""Fingerprints: short words that change whenever what they stand for does."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

_WHOLE = 64 * 2**20  # bytes up to which the content of a file counts, beyond that only its ends
_END = 2**20  # bytes


def digest(*parts: str | bytes) -> str:
    """A fingerprint of all parts in their order."""
    found = hashlib.sha256()
    for part in parts:
        content = part.encode() if isinstance(part, str) else part
        found.update(len(content).to_bytes(8, "little"))
        found.update(content)
    return found.hexdigest()


@dataclass(frozen=True)
class FileStamp:
    """A file, or a folder with all that is in it, at one moment.

    Attributes:
        path: the file or folder.
        files: path, size and time of the last change (ns) of each file, by name.
    """

    path: Path
    files: tuple[tuple[str, int, int], ...]

    @classmethod
    def of(cls, path: Path) -> FileStamp:
        """Take it, before the file is opened.

        Raises:
            OSError: if a file cannot be looked at.
        """
        whole = path.resolve()
        inside = sorted(p for p in whole.rglob("*") if p.is_file()) if whole.is_dir() else [whole]
        stats = [(str(file), file.stat()) for file in inside]
        return cls(path, tuple((name, stat.st_size, stat.st_mtime_ns) for name, stat in stats))

    def fingerprint(self, *how: str) -> str | None:
        """What the files hold; None if they have changed since, or cannot be read any more.

        Path, size and time count, and the content of files up to 64 MB; of larger ones the first
        and the last MB.

        Args:
            how: how they are read, such as the format and the part that is meant.
        """
        try:
            contents = [_content(name, size) for name, size, _ in self.files]
            if FileStamp.of(self.path) != self:
                return None
        except OSError:
            return None
        return digest(*how, repr(self.files), *contents)


def _content(name: str, size: int) -> bytes:
    """Hash of a file's content, or of its ends."""
    found = hashlib.sha256()
    with open(name, "rb") as stream:
        if size <= _WHOLE:
            while block := stream.read(_END):
                found.update(block)
        else:
            found.update(stream.read(_END))
            stream.seek(-_END, 2)
            found.update(stream.read(_END))
    return found.digest()
