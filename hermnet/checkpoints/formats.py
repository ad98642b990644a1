"""The versions of the format of checkpoints, and how each becomes the next one.

A change of what stands in a checkpoint that an older HermNet would misread, or a newer one miss,
makes a new version: raise `FORMAT`, add a function that upgrades from the one before, and keep a
small checkpoint of it among the tests.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from hermnet.errors import InputError

FORMAT = 3


def upgrade(content: dict[str, Any], about: Mapping[str, Any], path: str) -> dict[str, Any]:
    """A checkpoint's content in today's format.

    Args:
        content: everything in the file; it is not changed.
        about: what it says about itself.
        path: of the file, for messages.

    Raises:
        InputError: for a version that is newer or that never was; it says what to do.
    """
    found = about.get("format")
    if not isinstance(found, int) or isinstance(found, bool) or found < 1:
        raise InputError(
            f"{path} has checkpoint format {found!r}, which no HermNet has written (known: 1 to "
            f"{FORMAT}); it is damaged, or of another program. It was written with {_writer(about)}"
        )
    if found > FORMAT:
        raise InputError(
            f"{path} has checkpoint format {found}, this HermNet reads 1 to {FORMAT}; it was "
            f"written with {_writer(about)}: install that version or a later one"
        )
    for version in range(found, FORMAT):
        try:
            content = _UPGRADES[version](content)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(f"{path} is an incomplete checkpoint: {error!r}") from error
    return content


def _from_1(content: dict[str, Any]) -> dict[str, Any]:
    """Format 1 was saved after epochs only, and knew neither relations nor data nor errors."""
    about = content["hermnet"]
    added = {
        "units": about.get("units", {}),
        "relations": {},
        "position": {"epoch": content["epoch"] + 1, "batch": 0, "n_batches": 0},
        "metrics": {},
        "fingerprints": {},
    }
    callbacks = content.get("callbacks", {})
    keepers = [state for key, state in callbacks.items() if key.startswith("ModelCheckpoint")]
    scores = [state["best_model_score"] for state in keepers if state["monitor"] is not None]
    best = next((float(score) for score in scores if score is not None), None)
    saving: dict[str, Any] = {"best": best, "metrics": {}, "random": None}
    others = {key: state for key, state in callbacks.items() if "ModelCheckpoint" not in key}
    return {
        "global_step": 0,
        **content,
        "callbacks": {**others, "Saving": saving},
        "hermnet": {**about, **added},
    }


def _from_2(content: dict[str, Any]) -> dict[str, Any]:
    """Up to format 2 the norms of `painn` and `rmconv` were sharp where a recipe said nothing."""
    about = content["hermnet"]
    recipe = about["recipe"]
    if not isinstance(recipe.get("model"), Mapping):
        return content  # which reading the model refuses
    model = {**recipe["model"], "subnet": _sharp(recipe["model"].get("subnet", "painn"))}
    return {**content, "hermnet": {**about, "recipe": {**recipe, "model": model}}}


def _sharp(subnet: Any) -> Any:
    """A ``model.subnet`` with the epsilon that it had without saying so."""
    if isinstance(subnet, str):
        subnet = {"name": subnet}
    if "name" not in subnet:  # one for each relation
        return {relation: _sharp(one) for relation, one in subnet.items()}
    return {"epsilon": 1e-8, **subnet} if subnet["name"] in ("painn", "rmconv") else subnet


_UPGRADES: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {1: _from_1, 2: _from_2}


def _writer(about: Mapping[str, Any]) -> str:
    versions = about.get("versions")
    known = versions.get("hermnet") if isinstance(versions, Mapping) else None
    return f"hermnet {known}" if known else "an unknown version of it"
