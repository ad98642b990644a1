"""Recipes: what a run is made of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from hermnet.errors import InputErrors, nearest
from hermnet.model_options import ModelOptions
from hermnet.recipes import sections
from hermnet.recipes.source import read
from hermnet.training.inheritance import contradictions, inherited
from hermnet.training.options import TrainingOptions

SECTIONS = ("data", "model", "training", "trainer")


@dataclass(frozen=True)
class Recipe:
    """Everything that is chosen about a run; what data can tell is not in it.

    Attributes:
        name: the run's name, by default that of its file.
        data: ``name`` of a data module, and all of its options.
        model: the potential; its sub-networks are mappings with ``name`` and all of their options.
        training: loss, optimizer and what else the task needs.
        trainer: the arguments of Lightning's Trainer that differ from its defaults.
    """

    name: str
    data: dict[str, Any]
    model: ModelOptions
    training: TrainingOptions
    trainer: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """Nested dicts and lists of text, numbers, truth values and None; defaults written out."""
        plain: dict[str, Any] = _plain(asdict(self))
        return plain

    def to_yaml(self) -> str:
        """The recipe as a file that `resolve` reads back as the same recipe."""
        return OmegaConf.to_yaml(OmegaConf.create(self.to_dict()))

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Recipe:
        """The recipe that `to_dict` wrote, as a checkpoint holds it.

        Data and trainer are taken as they are: using a potential needs neither of their packages.

        Raises:
            InputErrors: sections are missing, or model and training hold what this version of
                HermNet does not know.
        """
        names = [field.name for field in fields(cls)]
        errors = [f"{name}: missing in the stored recipe" for name in names if name not in stored]
        if errors:
            raise InputErrors(errors)
        model = sections.check_model(sections.mapping(stored["model"], "model", errors), errors)
        training = sections.check_training(
            sections.mapping(stored["training"], "training", errors), errors
        )
        data = sections.mapping(stored["data"], "data", errors)
        trainer = sections.mapping(stored["trainer"], "trainer", errors)
        if errors or model is None or training is None:
            raise InputErrors(errors)
        return cls(str(stored["name"]), data, model, training, trainer)


def resolve(source: str, overrides: Iterable[str] = ()) -> Recipe:
    """Read a recipe, apply the overrides and check everything.

    Args:
        source: name of a shipped recipe, or path to a YAML file.
        overrides: such as ``model.subnet=schnet``.

    Raises:
        InputError: there is no such recipe, or its file is not a mapping in YAML.
        InputErrors: everything that is wrong with it, one line each with the dotted path.
    """
    return checked(read(source, overrides))


def checked(tree: Mapping[Any, Any]) -> Recipe:
    """The recipe of nested dicts and lists, as `hermnet.recipes.source.read` gives them.

    Raises:
        InputErrors: everything that is wrong with it, one line each with the dotted path.
    """
    known = ("base", "name", *SECTIONS)
    errors = [_unknown(key, known) for key in tree if key not in known]
    given = {section: sections.mapping(tree.get(section), section, errors) for section in SECTIONS}
    below = inherited(given["model"])
    given["model"] = {**below, **given["model"]}
    data = sections.check_data(given["data"], errors)
    model = sections.check_model(given["model"], errors)
    training = sections.check_training(given["training"], errors)
    trainer = sections.check_trainer(given["trainer"], errors)
    if model is not None and training is not None and not errors:
        sections.check_together(model, training, errors)
        before = sections.check_model(below, errors) if below else None
        errors += [] if before is None else contradictions(model, before)
    if errors or model is None or training is None:
        raise InputErrors(errors)
    return Recipe(str(tree["name"]), data, model, training, trainer)


def _unknown(section: str, known: Iterable[str]) -> str:
    if section == "grid":
        return "grid: this recipe is a study of several runs; give it to hermnet ablate"
    return f"{section}: unknown section; {nearest(section, known)}"


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(entry) for entry in value]
    return str(value) if isinstance(value, Path) else value
