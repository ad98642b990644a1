"""From a recipe's name or path and the overrides to plain data.

In this order: the file is read, the recipe it is based on is merged below it, the overrides are
set, interpolations are resolved. An override thus reaches every value that refers to it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from hermnet.errors import InputError, InputErrors, nearest

Tree = dict[Any, Any]

_DEEPEST = 30  # levels; a recipe needs five
_KEYS = re.compile(r"[^\s=.]+(\.[^\s=.]+)*")
# Where one word stands for a mapping: the key of that mapping which the word is the value of.
_SHORTHANDS = {
    ("model", "subnet"): "name",
    ("training", "optimizer"): "class_path",
    ("training", "scheduler"): "class_path",
}


def shipped() -> dict[str, Path]:
    """The recipes that come with HermNet, by name."""
    folder = Path(str(files("hermnet") / "configs"))
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def studies() -> dict[str, Path]:
    """The recipes with a grid that come with HermNet, by name."""
    folder = Path(str(files("hermnet") / "configs" / "ablations"))
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def read(source: str, overrides: Iterable[str] = ()) -> Tree:
    """The recipe as nested dicts and lists, nothing of it checked against the schema.

    Args:
        source: name of a shipped recipe, or path to a YAML file.
        overrides: such as ``model.cutoff=5``; the value is read as YAML.

    Raises:
        InputError: no such recipe, a file that is not a YAML mapping (with the line).
        InputErrors: all overrides that are no assignments, or all interpolations without a target.
    """
    path = _find(source)
    tree = _with_base(path, seen=())
    tree.setdefault("name", path.stem)
    errors: list[str] = []
    for override in overrides:
        try:
            _assign(tree, override)
        except InputError as error:
            errors.append(str(error))
    if errors:
        raise InputErrors(errors)
    return _resolved(tree)


def _find(source: str, folder: Path = Path()) -> Path:
    known = {**studies(), **shipped()}
    if source in known:
        return known[source]
    path = folder / source
    if path.is_file():
        return path
    if path.suffix in (".yaml", ".yml") or len(path.parts) > 1:
        raise InputError(f"there is no recipe file '{path}'")
    raise InputError(f"unknown recipe '{source}'; {nearest(source, known)}")


def _load(path: Path) -> Tree:
    try:
        tree = OmegaConf.to_container(OmegaConf.load(path), resolve=False)
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise InputError(f"{path}{line}: {error.problem or error.context}") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError, OmegaConfBaseException) as error:
        raise InputError(f"{path}: cannot be read: {_first_line(error)}") from None
    if not isinstance(tree, dict):
        raise InputError(f"{path}: a recipe is a mapping of sections, this is a {_noun(tree)}")
    _expand(tree)
    return tree


def _with_base(path: Path, seen: tuple[Path, ...]) -> Tree:
    if path.resolve() in seen:
        raise InputError(f"{path}: the recipe is based on itself")
    tree = _load(path)
    base = tree.pop("base", None)
    if base is None:
        return tree
    below = _with_base(_find(str(base), path.parent), (*seen, path.resolve()))
    below.pop("name", None)
    return _merge(below, tree)


def _merge(below: Tree, above: Tree) -> Tree:
    merged = dict(below)
    for key, value in above.items():
        old = below.get(key)
        if isinstance(old, dict) and isinstance(value, dict) and _same_object(old, value):
            merged[key] = _merge(old, value)
        else:
            merged[key] = value
    return merged


def _same_object(below: Tree, above: Tree) -> bool:
    """Whether the options of one are options of the other: the same class, by name or path."""
    same = all(above.get(key, below.get(key)) == below.get(key) for key in ("name", "class_path"))
    return same and not ("default" in above and "name" in below)


def _expand(tree: Tree) -> None:
    """Write ``subnet: painn`` as ``subnet: {name: painn}``, and the like, in place."""
    for (section, key), name in _SHORTHANDS.items():
        holder = tree.get(section)
        if not isinstance(holder, dict):
            continue
        value = holder.get(key)
        if isinstance(value, str):
            holder[key] = {name: value}
        elif key == "subnet" and isinstance(value, dict) and "name" not in value:
            named = {k: {name: v} if isinstance(v, str) else v for k, v in value.items()}
            holder[key] = named


def _assign(tree: Tree, override: str) -> None:
    keys, equals, text = override.partition("=")
    if not equals or not _KEYS.fullmatch(keys):
        raise InputError(f"override '{override}': write section.option=value, without spaces")
    *way, last = keys.split(".")
    holder: Any = tree
    for key in way:
        place = _place(holder, key, override)
        if isinstance(holder, dict) and not isinstance(holder.get(key), (dict, list)):
            holder[place] = {}  # an override may begin a section
        holder = holder[place]
    if not isinstance(holder, (dict, list)):
        raise InputError(f"override '{override}': {'.'.join(way)} is {holder!r} and has no options")
    holder[_place(holder, last, override)] = _value_of(override, text)
    _expand(tree)


def _value_of(override: str, text: str) -> Any:
    try:
        value = OmegaConf.to_container(OmegaConf.from_dotlist([f"it={text}"]), resolve=False)
    except (yaml.YAMLError, OmegaConfBaseException) as error:
        problem = getattr(error, "problem", None) or _first_line(error)
        raise InputError(f"override '{override}': the value is not YAML: {problem}") from None
    assert isinstance(value, dict)
    return value["it"]


def _place(holder: Any, key: str, override: str) -> Any:
    """`key`, or the index that it spells where `holder` is a list."""
    if not isinstance(holder, list):
        return key
    if not key.isdigit() or int(key) >= len(holder):
        raise InputError(f"override '{override}': '{key}' is no index of a list of {len(holder)}")
    return int(key)


def _resolved(tree: Tree) -> Tree:
    errors: list[str] = []
    plain = _plain(OmegaConf.create(tree), "", errors)
    if errors:
        raise InputErrors(errors)
    assert isinstance(plain, dict)
    return plain


def _plain(node: Any, path: str, errors: list[str]) -> Any:
    if isinstance(node, DictConfig):
        found = {key: _value(node, key, path, errors) for key in node}
        return {key: value for key, value in found.items() if value is not _ABSENT}
    if isinstance(node, ListConfig):
        return [_value(node, index, path, errors) for index in range(len(node))]
    return node


_ABSENT = object()


def _value(node: DictConfig | ListConfig, key: Any, path: str, errors: list[str]) -> Any:
    here = f"{path}.{key}" if path else str(key)
    if here.count(".") > _DEEPEST:
        raise InputError(f"{here[:40]}...: an interpolation contains itself")
    try:
        if OmegaConf.is_missing(node, key):
            errors.append(f"{here}: must be given (the recipe leaves it open)")
            return _ABSENT
        return _plain(node[key], here, errors)
    except OmegaConfBaseException as error:
        errors.append(f"{here}: {_first_line(error)}")
        return _ABSENT


def _first_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).split("\n", 1)[0]


def _noun(value: object) -> str:
    return "list" if isinstance(value, list) else type(value).__name__
