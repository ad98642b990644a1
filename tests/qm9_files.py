"""Small archives in the layout of QM9's."""

from __future__ import annotations

import bz2
import io
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path

# Methane, the first molecule of QM9 (CC0, figshare 978904), with one exponent as others have it.
METHANE = """5
gdb 1\t157.7118\t157.70997\t157.70699\t0.\t13.21\t-0.3877\t0.1171\t0.5048\t35.3641\t0.044749\t\
-40.47893\t-40.476062\t-40.475117\t-40.498597\t6.469\t
C\t-0.0126981359\t 1.0858041578\t 0.0080009958\t-0.535689
H\t 0.002150416\t-0.0060313176\t 0.0019761204\t 0.133921
H\t 1.0117308433\t 1.4637511618\t 2.765748*^-4\t 0.133922
H\t-0.540815069\t 1.4475266138\t-0.8766437152\t 0.133923
H\t-0.5238136345\t 1.4379326443\t 0.9063972942\t 0.133923
1341.307\t1341.3284\t1341.365\t1562.6731\t1562.7453\t3038.3205\t3151.6034\t3151.6788\t3151.7078
C\tC\t
InChI=1S/CH4/h1H4\tInChI=1S/CH4/h1H4
"""
LIST = """
 Molecules whose geometry failed the consistency check
 Index   GDB-9     B3LYP

      3  C         C
      5  CC        [CH2][CH2]
"""


def molecule(index: int) -> str:
    """A stretched methane whose gap is index/1000 and whose u0 is -40.47893 - index/1000 Ha."""
    text = METHANE.replace("gdb 1\t", f"gdb {index}\t").replace(
        "1.4637511618", f"{1.3 + 0.03 * index:.2f}"
    )
    return text.replace("0.5048", f"{index / 1000}").replace(
        "-40.47893", f"{-40.47893 - index / 1000:.6f}"
    )


def write_archive(
    folder: Path, indices: Iterable[int], files: Mapping[str, str] | None = None
) -> Path:
    """An archive of molecules, or of these files, with the list of those to leave out."""
    texts = files or {f"dsgdb9nsd_{index:06d}.xyz": molecule(index) for index in indices}
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, text in texts.items():
            member = tarfile.TarInfo(name)
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text.encode("ascii")))
    path = folder / "dsgdb9nsd.xyz.tar.bz2"
    path.write_bytes(bz2.compress(stream.getvalue()))
    (folder / "uncharacterized.txt").write_text(LIST, encoding="utf-8")
    return path
