"""What speed and memory are aimed at, as ratios of what was measured in one run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

Found = Mapping[tuple[str, str], Mapping[str, Any]]  # results by group and case

STEP, PREDICTION = "training step", "energy+forces"
TWO_THREADS = 1.6  # what a second thread should gain from 512 atoms on


@dataclass(frozen=True)
class Goal:
    """A ratio that is aimed at.

    Attributes:
        text: what for.
        group: of contenders.
        wanted: the ratio.
        on_gpu: the ratio on a GPU; None where there nothing is aimed at.
        ours: who should be fast or small.
        others: whom it is compared with; the fastest of them counts.
        at_most: whether `wanted` is an upper bound of ours/other, instead of a lower one of
            other/ours.
        key: ``rounds`` for time or ``memory``.
        tasks: which of them.
        cases: regular expression; by default all of the group.
    """

    text: str
    group: str
    wanted: float
    ours: str
    others: tuple[str, ...]
    on_gpu: float | None = None
    at_most: bool = False
    key: str = "rounds"
    tasks: tuple[str, ...] = (STEP, PREDICTION)
    cases: Callable[[str], bool] = lambda case: True

    def ratio(self, contenders: Mapping[str, Any], task: str) -> float | None:
        """The measured ratio; None where one side did not run."""
        rows = [contenders[n][task] for n in (self.ours, *self.others) if _ran(contenders, n)]
        if not _ran(contenders, self.ours) or len(rows) < 2:
            return None
        own, others = rows[0], rows[1:]
        if self.key == "memory":
            other = min(row["memory"] for row in others)
            return float(own["memory"] / other if self.at_most else other / own["memory"])
        pairs = [
            median(a / b for a, b in zip(row["rounds"], own["rounds"], strict=True))
            for row in others
        ]
        fastest = min(pairs)
        return 1 / fastest if self.at_most else fastest

    def met(self, ratio: float) -> bool:
        """Whether a ratio is good enough."""
        return ratio <= self.wanted if self.at_most else ratio >= self.wanted


def _ran(contenders: Mapping[str, Any], name: str) -> bool:
    return name in contenders and "refused" not in contenders[name]


_SPK = "SchNetPack PaiNN"
_TEN = "216-atom alloy, 10 elements"


def _is_ten(case: str) -> bool:
    return case == _TEN


def _is_large(case: str) -> bool:
    return case in ("512-atom Si", "4096-atom Si")


GOALS = (
    Goal("`none` PaiNN against SchNetPack's PaiNN", "painn", 3.0, "none compiled", (_SPK,), 3.0),
    Goal("the same, ours run eagerly", "painn", 3.0, "none eager", (_SPK,)),
    Goal(
        "the same with 128 channels",
        "wide",
        3.0,
        "painn 128 compiled",
        ("SchNetPack PaiNN 128",),
        3.0,
    ),
    Goal(
        "`none` SchNet against SchNetPack's SchNet, 128 channels",
        "wide",
        2.0,
        "schnet 128 compiled",
        ("SchNetPack SchNet 128",),
        2.0,
    ),
    Goal(
        "NequIP-like, l=1, against NequIP compiled",
        "nequip",
        1.5,
        "nequip l=1 compiled",
        ("NequIP l=1 compiled",),
        1.5,
    ),
    Goal(
        "NequIP-like, l=2, against NequIP compiled",
        "nequip",
        1.5,
        "nequip l=2 compiled",
        ("NequIP l=2 compiled",),
        1.5,
    ),
    Goal(
        "NequIP-like, l=1, against NequIP run eagerly",
        "nequip",
        1.5,
        "nequip l=1 compiled",
        ("NequIP l=1",),
    ),
    Goal(
        "NequIP-like, l=2, against NequIP run eagerly",
        "nequip",
        1.5,
        "nequip l=2 compiled",
        ("NequIP l=2",),
    ),
    Goal(
        "`vertex` PaiNN against the fastest peer's homogeneous PaiNN",
        "painn",
        2.0,
        "vertex compiled",
        (_SPK, "graph-pes PaiNN"),
        2.0,
    ),
    Goal(
        "the same, ours run eagerly",
        "painn",
        2.0,
        "vertex eager",
        (_SPK, "graph-pes PaiNN"),
    ),
    Goal(
        "`vertex` of 10 elements against `none`, both eager",
        "painn",
        1.2,
        "vertex eager",
        ("none eager",),
        at_most=True,
        cases=_is_ten,
    ),
    Goal(
        "`vertex` of 10 elements against `none`",
        "painn",
        1.2,
        "vertex compiled",
        ("none compiled",),
        1.2,
        at_most=True,
        cases=_is_ten,
    ),
    Goal(
        "`vertex` of 10 elements with `basis:4` against `none`",
        "painn",
        1.1,
        "vertex basis:4 compiled",
        ("none compiled",),
        1.1,
        at_most=True,
        cases=_is_ten,
    ),
    Goal(
        "`vertex` of 10 elements with relations in filters only, against `none`",
        "painn",
        1.1,
        "vertex filters compiled",
        ("none compiled",),
        1.1,
        at_most=True,
        cases=_is_ten,
    ),
    Goal(
        "`vertex` of 89 elements with `basis:8` against `none`",
        "89 elements",
        1.2,
        "vertex basis:8 compiled",
        ("none compiled",),
        1.2,
        at_most=True,
    ),
    Goal(
        "one pass against the loop, 10 elements, compiled",
        "painn",
        2.0,
        "vertex compiled",
        ("vertex loop",),
        5.0,
        cases=_is_ten,
    ),
    Goal(
        "one pass against the loop, 10 elements, both eager",
        "painn",
        2.0,
        "vertex eager",
        ("vertex loop",),
        cases=_is_ten,
    ),
    Goal(
        "one pass against the loop, 55 triadic relations, compiled",
        "triadic",
        5.0,
        "triadic compiled",
        ("triadic loop",),
        20.0,
    ),
    Goal(
        "one pass against the loop, 55 triadic relations, both eager",
        "triadic",
        5.0,
        "triadic eager",
        ("triadic loop",),
    ),
    Goal(
        "memory of a training step against SchNetPack's PaiNN",
        "painn",
        0.5,
        "none compiled",
        (_SPK,),
        0.5,
        at_most=True,
        key="memory",
        tasks=(STEP,),
        cases=_is_large,
    ),
    Goal(
        "the same, ours run eagerly",
        "painn",
        0.5,
        "none eager",
        (_SPK,),
        at_most=True,
        key="memory",
        tasks=(STEP,),
        cases=_is_large,
    ),
)


ON_GPU = tuple(replace(goal, wanted=goal.on_gpu) for goal in GOALS if goal.on_gpu is not None)
