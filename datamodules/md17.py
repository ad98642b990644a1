"""MD17: MD of small molecules at DFT, in the layout of the sGDML project.

Chmiela et al., Sci. Adv. 3, e1603015 (2017), arXiv:1611.04678.
"""

from __future__ import annotations

from typing import final

from hermnet.data.sgdml import SGDMLDataModule


@final
class MD17(SGDMLDataModule):
    """MD17 trajectories of small molecules, split at random.

    Files are called ``md17_<molecule>.npz``, or ``<molecule>_dft.npz`` as they once were. The
    energies of some have been found to be noisy, which is why ``rmd17`` exists.
    """

    file_names = ("md17_{}.npz", "{}_dft.npz")
