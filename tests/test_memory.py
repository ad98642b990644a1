"""What a structure takes is told before it is taken."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import structures
from hermnet.checks import random_potential
from hermnet.memory import bytes_needed, free_bytes
from hermnet.model_options import ModelOptions
from hermnet.neighbors import graph_from_atoms

# The peak of this program alone: getrusage starts from that of the process which started it.
PROGRAM = """
import sys
sys.path.insert(0, {tests!r})
import structures, torch
from hermnet.checks import random_potential
from hermnet.memory import bytes_needed
from hermnet.model_options import ModelOptions
from hermnet.neighbors import graph_from_atoms
potential = random_potential(ModelOptions(subnet="{subnet}", dtype="float32"), (8, 22, 56))
graph = graph_from_atoms(structures.crystal() * (5, 5, 5), potential.cutoff)
needed = bytes_needed(potential, graph)
def peak():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if "VmHWM" in line)
before = peak()
with torch.no_grad():
    potential(graph)
print(needed, 1024 * (peak() - before))
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak is read from /proc")
@pytest.mark.parametrize("subnet", ["painn", "nequip", "schnet"])
def test_the_estimate_is_what_a_process_takes(subnet: str):
    program = PROGRAM.format(tests=str(Path(__file__).parent), subnet=subnet)
    found = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)
    needed, taken = map(float, found.stdout.split())
    assert 0.7 * taken < needed < 1.6 * taken


def test_it_grows_with_the_structure():
    options = ModelOptions(n_channels=4, n_layers=1, cutoff=3.0, dtype="float64")
    potential = random_potential(options, (8, 22, 56))
    small, large = (
        bytes_needed(potential, graph_from_atoms(structures.crystal() * repeats, 3.0))
        for repeats in ((4, 4, 4), (8, 8, 4))
    )
    assert large == pytest.approx(4 * small, rel=0.1)


def test_what_is_free():
    free = free_bytes(torch.device("cpu"))
    assert free is None or free > resource.getpagesize()
