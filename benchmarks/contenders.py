"""Who is measured against whom, and how a contender's process is asked.

A contender is a model in a process of its own, in the Python environment of its package, that
answers `peers/serve.py`'s requests. HermNet is one like the others.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_SERVER = Path(__file__).parent / "peers" / "serve.py"
_SIZE = {"n_layers": 3, "n_radial": 20, "cutoff": 5.0}
_RADIAL = {"radial_hidden": 64, "radial_layers": 2}  # the network behind NequIP's filters


@dataclass(frozen=True)
class Contender:
    """A model of a package.

    Attributes:
        name: in tables.
        package: which of the environments, and which ``peers/of_<package>.py`` builds it.
        model: what that one is given.
    """

    name: str
    package: str
    model: Mapping[str, Any] = field(default_factory=dict)


def ours(name: str, subnet: Any, relations: str, form: str, **more: Any) -> Contender:
    """A potential of this project."""
    options = {**_SIZE, "subnet": subnet, "relations": relations, "form": form, **more}
    return Contender(name, "hermnet", options)


def _theirs(name: str, package: str, **more: Any) -> Contender:
    return Contender(name, package, {**_SIZE, **more})


def _vertex(form: str, **more: Any) -> Contender:
    name = " ".join(["vertex", *map(str, more.values()), form])
    return ours(name, "painn", "vertex", form, n_channels=64, **more)


def _nequip(lmax: int, form: str) -> Contender:
    subnet = {"name": "nequip", **_RADIAL}
    return ours(f"nequip l={lmax} {form}", subnet, "none", form, n_channels=32, lmax=lmax)


def _their_nequip(lmax: int, compiled: bool) -> Contender:
    name = f"NequIP l={lmax}" + (" compiled" if compiled else "")
    more = {"n_channels": 32, "lmax": lmax, "compiled": compiled, **_RADIAL}
    return _theirs(name, "nequip", **more)


def _none(form: str, n_channels: int = 64, subnet: str = "painn") -> Contender:
    name = f"none {form}" if n_channels == 64 else f"{subnet} {n_channels} {form}"
    return ours(name, subnet, "none", form, n_channels=n_channels)


GROUPS: dict[str, list[Contender]] = {
    "painn": [
        _none("compiled"),
        _none("eager"),
        _vertex("compiled"),
        _vertex("eager"),
        _vertex("loop"),
        _vertex("compiled", sharing="basis:4"),
        _vertex("compiled", heterogeneity="filters"),
        _theirs("SchNetPack PaiNN", "schnetpack", kind="PaiNN", n_channels=64),
        _theirs("graph-pes PaiNN", "graphpes", kind="PaiNN", n_channels=64),
    ],
    "wide": [
        _none("compiled", 128),
        _none("compiled", 128, "schnet"),
        _theirs("SchNetPack PaiNN 128", "schnetpack", kind="PaiNN", n_channels=128),
        _theirs("SchNetPack SchNet 128", "schnetpack", kind="SchNet", n_channels=128),
    ],
    "nequip": [
        _nequip(1, "compiled"),
        _nequip(1, "eager"),
        _nequip(2, "compiled"),
        _nequip(2, "eager"),
        _their_nequip(1, True),
        _their_nequip(1, False),
        _their_nequip(2, True),
        _their_nequip(2, False),
        _theirs("graph-pes NequIP l=1", "graphpes", kind="NequIP", n_channels=32, lmax=1),
    ],
    "others": [
        _none("compiled"),
        _theirs("graph-pes TensorNet", "graphpes", kind="TensorNet", n_channels=64),
        _theirs("TorchMD-Net TensorNet", "torchmdnet", n_channels=64),
        Contender("MACE 64x0e", "mace", {**_SIZE, "n_layers": 2, "irreps": "64x0e"}),
        Contender("MACE 64x0e+64x1o", "mace", {**_SIZE, "n_layers": 2, "irreps": "64x0e+64x1o"}),
    ],
    "triadic": [
        ours(f"triadic {form}", "painn", "triadic", form, n_channels=64)
        for form in ("compiled", "eager", "loop")
    ],
    "89 elements": [
        ours("none compiled", "painn", "none", "compiled", n_channels=64, n_elements=89),
        ours(
            "vertex basis:8 compiled",
            "painn",
            "vertex",
            "compiled",
            n_channels=64,
            n_elements=89,
            sharing="basis:8",
        ),
    ],
}


class Refused(Exception):
    """A contender cannot do what it is asked."""


class Process:
    """A contender's process.

    Args:
        package: of the contender.
        python: the interpreter of its environment.
        server: the program that answers.
    """

    def __init__(self, package: str, python: str, server: Path = _SERVER) -> None:
        environment = {**os.environ, "PYTHONWARNINGS": "ignore"}
        if package == "hermnet":
            known = os.environ.get("PYTHONPATH", "").split(os.pathsep)
            environment["PYTHONPATH"] = os.pathsep.join([str(_SERVER.parents[2]), *known])
        try:
            self._process = subprocess.Popen(
                [python, str(server), package],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                env=environment,
            )
        except OSError as error:
            raise Refused(f"{python}: {error.strerror}") from error

    def ask(self, do: str, **request: Any) -> dict[str, Any]:
        """The answer to a request.

        Raises:
            Refused: with the reason.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps({"do": do, **request}) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise Refused(f"its process ended with code {self._process.wait()}")
        found: dict[str, Any] = json.loads(line)
        if "error" in found:
            raise Refused(found["error"])
        return found

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.communicate()


def environments(given: list[str]) -> dict[str, str]:
    """Which interpreter each package has: ``schnetpack=/path/to/python``, or HERMNET_PEERS.

    The variable names a folder of virtual environments that are called like the packages.
    """
    found = {"hermnet": sys.executable}
    folder = os.environ.get("HERMNET_PEERS")
    if folder:
        for python in sorted(Path(folder).glob("*/bin/python")):
            found[python.parents[1].name] = str(python)
    return found | dict(item.split("=", 1) for item in given)
