"""Integrators of ASE, with an inner state to restart from and a temperature that changes."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, final

import numpy as np
from ase import Atoms, units
from ase.md.langevin import Langevin
from ase.md.nose_hoover_chain import MTKNPT, IsotropicMTKNPT, NoseHooverChainNVT
from ase.md.verlet import VelocityVerlet
from numpy.typing import NDArray

from hermnet.errors import InputError
from hermnet.properties.settings import DynamicsSettings
from hermnet.properties.structures import GPA, check_crystal

Array = NDArray[Any]


class Integrator(ABC):
    """One step after the other."""

    @abstractmethod
    def step(self) -> None:
        """Move the atoms by one time step."""

    @abstractmethod
    def set_temperature(self, kelvin: float) -> None:
        """Change the temperature of the thermostat."""

    @abstractmethod
    def conserved(self) -> float | None:
        """The quantity in eV that stays constant at constant temperature, None without one."""

    @abstractmethod
    def state(self) -> dict[str, Array]:
        """Everything besides positions, momenta and cell that decides the next step."""

    @abstractmethod
    def restore(self, state: Mapping[str, Array]) -> None:
        """Take up a state."""


def make_integrator(atoms: Atoms, settings: DynamicsSettings) -> Integrator:
    """The integrator that settings ask for.

    Args:
        atoms: moved in place; they have momenta and a calculator.
        settings: of the simulation.

    Raises:
        InputError: for a barostat without a cell, or constraints beside a thermostat that cannot
            count them.
    """
    if settings.ensemble == "nve":
        return _Verlet(atoms, settings)
    if settings.ensemble == "langevin":
        return _Langevin(atoms, settings)
    if atoms.constraints:
        raise InputError(
            f"{settings.ensemble} does not know how constraints count: take the constraints out "
            "of the structure or choose langevin"
        )
    if settings.has_barostat:
        check_crystal(atoms, settings.ensemble)
    return _Chains(atoms, settings)


@final
class _Verlet(Integrator):
    """Velocity Verlet at constant energy."""

    def __init__(self, atoms: Atoms, settings: DynamicsSettings) -> None:
        self._atoms = atoms
        self._dynamics = VelocityVerlet(atoms, settings.timestep * units.fs)

    def step(self) -> None:
        self._dynamics.step()

    def set_temperature(self, kelvin: float) -> None:
        pass  # there is no thermostat

    def conserved(self) -> float:
        return float(self._atoms.get_total_energy())

    def state(self) -> dict[str, Array]:
        return {}

    def restore(self, state: Mapping[str, Array]) -> None:
        pass


@final
class _Langevin(Integrator):
    """Friction and noise, with a random generator of its own."""

    def __init__(self, atoms: Atoms, settings: DynamicsSettings) -> None:
        self._generator = np.random.default_rng([settings.seed, 1])
        self._dynamics = Langevin(
            atoms,
            settings.timestep * units.fs,
            temperature_K=settings.temperature,
            friction=settings.friction / (1e3 * units.fs),
            rng=self._generator,
            fixcm=False,  # with it, ASE does not sample exactly
        )

    def step(self) -> None:
        self._dynamics.step()

    def set_temperature(self, kelvin: float) -> None:
        self._dynamics.set_temperature(temperature_K=kelvin)

    def conserved(self) -> None:
        return None

    def state(self) -> dict[str, Array]:
        return {"generator": np.array(json.dumps(self._generator.bit_generator.state))}

    def restore(self, state: Mapping[str, Array]) -> None:
        self._generator.bit_generator.state = json.loads(str(state["generator"]))


@final
class _Chains(Integrator):
    """Nose-Hoover chains, and the barostat of Martyna, Tobias and Klein."""

    def __init__(self, atoms: Atoms, settings: DynamicsSettings) -> None:
        times: dict[str, Any] = {
            "timestep": settings.timestep * units.fs,
            "temperature_K": settings.temperature,
            "tdamp": settings.thermostat_time * units.fs,
        }
        self._dynamics: Any
        self._cell_momenta: str | None = None
        if not settings.has_barostat:
            self._dynamics = NoseHooverChainNVT(atoms, **times)
            return
        times |= {
            "pressure_au": settings.pressure / GPA,
            "pdamp": settings.barostat_time * units.fs,
        }
        isotropic = settings.ensemble == "npt"
        self._dynamics = (IsotropicMTKNPT if isotropic else MTKNPT)(atoms, **times)
        self._cell_momenta = "_p_eps" if isotropic else "_p_g"

    def step(self) -> None:
        self._dynamics.step()

    def set_temperature(self, kelvin: float) -> None:
        # The masses of thermostats are free to choose and stay what they were at the start.
        self._dynamics._thermostat._kT = units.kB * kelvin
        if self._cell_momenta is not None:
            self._dynamics._barostat._kT = units.kB * kelvin

    def conserved(self) -> float:
        return float(self._dynamics.get_conserved_energy())

    def state(self) -> dict[str, Array]:
        inner = self._dynamics
        state = {"eta": inner._thermostat._eta, "p_eta": inner._thermostat._p_eta}
        if self._cell_momenta is not None:
            state |= {"xi": inner._barostat._xi, "p_xi": inner._barostat._p_xi}
            state["cell_momenta"] = getattr(inner, self._cell_momenta)
        return {name: np.array(value) for name, value in state.items()}

    def restore(self, state: Mapping[str, Array]) -> None:
        inner = self._dynamics
        inner._thermostat._eta, inner._thermostat._p_eta = state["eta"], state["p_eta"]
        if self._cell_momenta is not None:
            inner._barostat._xi, inner._barostat._p_xi = state["xi"], state["p_xi"]
            momenta = state["cell_momenta"]
            setattr(inner, self._cell_momenta, momenta if momenta.ndim else float(momenta))
