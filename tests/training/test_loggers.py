from __future__ import annotations

from pathlib import Path

import pytest

from hermnet.errors import InputError
from hermnet.run.folder import RunFolder
from hermnet.training import loggers
from hermnet.training.loggers import Place, check_installed, check_name, make_loggers
from hermnet.training.metrics_log import MetricsLog


def test_an_unknown_name():
    with pytest.raises(InputError, match=r"unknown logger 'wandbb'; did you mean 'wandb'\?"):
        check_name("wandbb")


@pytest.mark.parametrize("given", ["wandb", ["csv", "wandb"]])
def test_a_missing_package(given: object, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(loggers, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"wandb needs a package .*; pip install wandb"):
        check_installed(given)


def test_one_by_name_and_none(tmp_path: Path):
    place = Place(RunFolder(tmp_path), "a", 0)
    (made,) = make_loggers("csv", place)
    assert isinstance(made, MetricsLog)
    assert make_loggers(False, place) is False
    assert len(make_loggers(None, place)) == 2
