"""Equal parameters: the width at which a model has as many as another."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from hermnet.errors import InputError
from hermnet.model_options import ModelOptions

TOLERANCE = 0.02  # of the parameters of the baseline
_LEAST, _MOST = 4, 1024  # channels
_RADIAL = 0.25  # of the radial functions may come or go

Count = Callable[[ModelOptions], int]


def solve_width(options: ModelOptions, count: Count, target: int) -> ModelOptions:
    """The options with another ``n_channels``, so that the model has `target` parameters.

    Where no number of channels comes close enough, the number of radial functions changes too, by
    as few as possible and at most a quarter. Among equally good widths a multiple of 4 is taken,
    with which products are faster.

    Args:
        options: of the model.
        count: how many parameters a model of these options has; more with more channels.
        target: how many it should have.

    Raises:
        InputError: if no width within 4 to 1024 channels is within 2 %.
    """
    given = count(options)
    if _off(given, target) <= TOLERANCE:
        return options
    near = _nearest_channels(options, count, target)
    tried: list[tuple[ModelOptions, int]] = []
    for candidates in (_widths(options, near), _widths_and_radial(options, near)):
        found = [(one, count(one)) for one in candidates]
        tried += found
        fits = [one for one, n in found if _off(n, target) <= TOLERANCE]
        if fits:
            return min(fits, key=lambda one: _cost(one, options))
    best, n = min(tried, key=lambda one: _off(one[1], target))
    raise InputError(
        f"no width gives it {target:,} parameters within {TOLERANCE:.0%}: the nearest, "
        f"n_channels={best.n_channels} with n_radial={best.n_radial}, gives {n:,}; take a "
        "baseline with other model.n_channels, or leave it out"
    )


def _off(n: int, target: int) -> float:
    return abs(n / target - 1)


def _cost(one: ModelOptions, options: ModelOptions) -> tuple[int, int]:
    """What makes a solution worse: other radial functions, then a slow number of channels."""
    return abs(one.n_radial - options.n_radial), one.n_channels % 4


def _nearest_channels(options: ModelOptions, count: Count, target: int) -> int:
    """The largest number of channels with at most `target` parameters, by bisection."""
    low, high = _LEAST, _MOST
    while high - low > 1:
        middle = (low + high) // 2
        if count(replace(options, n_channels=middle)) <= target:
            low = middle
        else:
            high = middle
    return low


def _widths(options: ModelOptions, near: int) -> Iterable[ModelOptions]:
    for n in range(max(_LEAST, near - 1), near + 3):
        yield replace(options, n_channels=n)


def _widths_and_radial(options: ModelOptions, near: int) -> Iterable[ModelOptions]:
    change = int(_RADIAL * options.n_radial)
    for width in _widths(options, near):
        for n in range(max(1, options.n_radial - change), options.n_radial + change + 1):
            yield replace(width, n_radial=n)
