"""i-PI with a potential: a client of its socket that answers with energy, forces and virial."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, final

import numpy as np
from ase import Atoms
from ase.calculators.socketio import IPIProtocol, SocketClosed, actualunixsocketname
from ase.stress import voigt_6_to_full_3x3_stress
from numpy.typing import NDArray

from hermnet.calculator import HermNetCalculator
from hermnet.errors import InputError

Array = NDArray[np.float64]
_PAUSE = 0.2  # s between two attempts to connect


@dataclass(frozen=True)
class Address:
    """Where i-PI listens.

    Attributes:
        name: of a UNIX socket, i-PI's ``<address>``; None for an Internet socket.
        host: of an Internet socket.
        port: of an Internet socket.
    """

    name: str | None = None
    host: str = "localhost"
    port: int = 31415

    def __str__(self) -> str:
        if self.name is not None:
            return f"the socket {actualunixsocketname(self.name)}"
        return f"port {self.port} of {self.host}"


def connect(address: Address, wait: float) -> socket.socket:
    """A connection to i-PI.

    Args:
        address: where it listens.
        wait: s to wait for it to start.

    Raises:
        InputError: if nobody listens in that time, or the address cannot be one.
    """
    end = time.monotonic() + wait
    while True:
        unix = address.name is not None
        connection = socket.socket(socket.AF_UNIX if unix else socket.AF_INET)
        place: Any = actualunixsocketname(address.name) if unix else (address.host, address.port)
        try:
            connection.connect(place)
        except (OSError, OverflowError) as error:
            connection.close()
            if not isinstance(error, FileNotFoundError | ConnectionRefusedError):
                raise InputError(f"cannot connect to {address}: {error}") from error
            if time.monotonic() >= end:
                raise InputError(
                    f"nobody listens on {address} (waited {wait:g} s); start i-PI first, with this "
                    "address in its <ffsocket>"
                ) from error
        else:
            return connection
        time.sleep(_PAUSE)


def serve(atoms: Atoms, calculator: HermNetCalculator, address: Address, wait: float = 60.0) -> int:
    """Compute whatever i-PI asks for until it ends.

    Args:
        atoms: elements in the order of i-PI's atoms, and which directions are periodic; positions
            and cell come from i-PI.
        calculator: of one potential or a committee.
        address: where i-PI listens.
        wait: s to wait for it to start.

    Returns:
        How many structures were computed.

    Raises:
        InputError: if nobody listens, i-PI has another number of atoms, or it is gone in the middle
            of an answer.
    """
    n_computed = 0
    with connect(address, wait) as connection:
        try:
            for _ in _answers(_Checked(connection, len(atoms)), atoms.copy(), calculator):
                n_computed += 1
        except (BrokenPipeError, ConnectionResetError) as error:
            raise InputError(
                f"i-PI has closed the connection after {n_computed} structures: {error}"
            ) from error
    return n_computed


def _answers(
    protocol: Any, atoms: Atoms, calculator: HermNetCalculator
) -> Iterator[dict[str, Any]]:
    """Answer all messages of i-PI; each structure's results as soon as they are computed."""
    results: dict[str, Any] | None = None
    while (message := protocol.next_message()) != "EXIT":
        if message == "STATUS":
            protocol.sendmsg("READY" if results is None else "HAVEDATA")
        elif message == "INIT":
            protocol.recvinit()  # which bead: all are computed alike
        elif message == "POSDATA":
            atoms.cell[:], _, atoms.positions[:] = protocol.recvposdata()
            calculator.calculate(atoms)
            results = calculator.results
            yield results
        elif message == "GETFORCE" and results is not None:
            virial = -atoms.get_volume() * voigt_6_to_full_3x3_stress(results["stress"])
            protocol.sendforce(results["energy"], results["forces"], virial)
            results = None
        else:
            raise InputError(f"i-PI sends the message '{message}', which is not expected now")


@final
class _Checked(IPIProtocol):
    """The protocol, which refuses structures that are not of the expected kind."""

    def __init__(self, connection: socket.socket, n_atoms: int) -> None:
        super().__init__(connection)  # type: ignore[no-untyped-call]  # ASE has few types
        self._n_atoms = n_atoms

    def next_message(self) -> str:
        """The next message; EXIT where there is none any more."""
        try:
            return str(self.recvmsg())  # type: ignore[no-untyped-call]
        except SocketClosed:
            return "EXIT"

    def recvposdata(self) -> tuple[Any, Any, Array]:
        """Cell, its inverse, and positions.

        Raises:
            InputError: for another number of atoms, or numbers that are not finite.
        """
        try:
            cell, inverse, positions = super().recvposdata()  # type: ignore[no-untyped-call]
        except AssertionError as error:  # how ASE says it
            raise InputError("i-PI sends positions or a cell that are not finite") from error
        if len(positions) != self._n_atoms:
            raise InputError(
                f"i-PI sends {len(positions)} atoms, the structure has {self._n_atoms}; give the "
                "one that i-PI starts from"
            )
        return cell, inverse, positions
