"""From the arguments of ``hermnet analyze`` to files: read, compute, print, write."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from hermnet.analysis.analysis import AnalysisSettings, analyze
from hermnet.analysis.report import Analysis
from hermnet.calculator import usable_device
from hermnet.errors import InputError
from hermnet.model_options import ModelOptions
from hermnet.properties.report import check_output
from hermnet.recipes.config import Recipe, resolve
from hermnet.training.options import TrainingOptions


def analyze_as_told(arguments: argparse.Namespace) -> None:
    """Analyze, print, write.

    Raises:
        InputError: for whatever a user can mend; then nothing is written.
    """
    output = Path(arguments.output)
    check_output(output, Analysis.files, arguments.overwrite)
    settings = AnalysisSettings(
        arguments.split, arguments.frames, arguments.relations, arguments.exchange
    )
    torch.set_num_threads(arguments.threads)
    found = analyze(
        arguments.checkpoint, _recipe(arguments), settings, str(usable_device(arguments.device))
    )
    found.save(output, arguments.overwrite)
    print("\n".join([*found.lines(), f"written: {output}"]), flush=True)


def _recipe(arguments: argparse.Namespace) -> Recipe | None:
    if arguments.config is not None:
        return resolve(arguments.config, arguments.overrides)
    if arguments.data is None:
        return None
    if not Path(arguments.data).is_file():
        raise InputError(f"--data: there is no file {arguments.data}")
    data = {"name": "extxyz", "train": arguments.data, "missing": "mask"}
    return Recipe("data", data, ModelOptions(), TrainingOptions(), {})
