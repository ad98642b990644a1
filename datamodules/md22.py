"""MD22: MD of biomolecules and supramolecules of 42 to 370 atoms, at PBE+MBD.

Chmiela et al., Sci. Adv. 9, eadf0873 (2023), arXiv:2209.14865.
"""

from __future__ import annotations

from typing import final

from hermnet.data.sgdml import SGDMLDataModule


@final
class MD22(SGDMLDataModule):
    """MD22 trajectories of molecules of 42 to 370 atoms, split at random.

    Files are called ``md22_<molecule>.npz``: Ac-Ala3-NHMe, DHA, stachyose, AT-AT, AT-AT-CG-CG,
    buckyball-catcher and double-walled_nanotube.
    """

    file_names = ("md22_{}.npz",)
