from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest

from ablations import AXES, finish, started
from hermnet.ablation.findings import cautions, headline
from hermnet.ablation.folder import AblationFolder, Status
from hermnet.ablation.grid import Grid
from hermnet.ablation.report import write_report
from hermnet.ablation.study import Study
from hermnet.errors import InputError

ERRORS = {"painn-none": 25.0, "painn-vertex": 20.0, "schnet-none": 50.0, "schnet-vertex": 50.0}


@pytest.fixture(scope="module")
def ablation(tmp_path_factory: pytest.TempPathFactory) -> AblationFolder:
    found = started(tmp_path_factory.mktemp("report"), Grid(AXES, seeds=(0, 1, 2)))
    finish(found, ERRORS)
    return found


@pytest.fixture(scope="module")
def markdown(ablation: AblationFolder) -> str:
    return write_report(ablation)[0].read_text(encoding="utf-8")


def test_the_first_line_is_the_answer(markdown: str):
    title, _, answer = markdown.splitlines()[:3]
    assert title.startswith("# tiny: `model.subnet` and `model.relations`")
    assert re.fullmatch(
        r"\*\*`painn-vertex` lowers the force error by 20 % "
        r"\(95 % interval (19|20) to (20|21) %\) against `painn-none`\.\*\*",
        answer,
    )


def test_each_axis_is_averaged_over_the_other(markdown: str):
    # schnet doubles the error with none and 2.5-folds it with vertex: sqrt(5) - 1
    assert "`schnet` raises the force error by 124 %" in markdown
    # vertex lowers by 20 % and by 0 %: sqrt(0.8) - 1
    assert re.search(
        r"`vertex` lowers the force error by 1[01] % .*averaged over 2 pairs", markdown
    )


def test_the_change_is_shown_with_all_else_alike(markdown: str):
    lines = markdown.splitlines()
    start = lines.index("| F change against none, 95 % interval | vertex |")
    painn, schnet = lines[start + 2 : start + 4]
    assert re.fullmatch(r"\| `painn` \| -(19|20)\.\d % \(-20\.\d to -19\.\d\) \|", painn)
    assert re.fullmatch(r"\| `schnet` \| [+-]0\.\d % \(-\d\.\d to \+\d\.\d\) \|", schnet)


def test_the_table_has_all_numbers(markdown: str):
    lines = [line for line in markdown.splitlines() if line.startswith("| `") and "±" in line]
    rows = {line.split("|")[1].strip(): line for line in lines}
    assert re.search(r"\+(99\.\d|100\.\d) % \(\+9\d\.\d to \+10\d\.\d\)", rows["`schnet-none`"])
    assert "| 3 | 25.00 ± 0.02 |" in rows["`painn-none`"]
    assert "| 2.500 ±" in rows["`painn-none`"]  # energy, meV
    assert "| 400 |" in rows["`painn-vertex`"]


def test_nothing_gained_is_said(tmp_path: Path):
    found = started(tmp_path, Grid({"model.relations": ["none", "vertex"]}))
    finish(found, {"none": 20.0, "vertex": 22.0})
    assert headline(Study(found)).startswith(
        "Nothing lowers the force error of the baseline; `vertex` raises the force error by 10 %"
    )


class Links(HTMLParser):
    """What a page refers to."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = ("href", "src", "xlink:href")
        self.found += [value for name, value in attrs if name in names and value]
        assert tag not in ("script", "link", "img", "iframe")


def test_the_page_needs_no_other_file(ablation: AblationFolder, markdown: str):
    page = (ablation.path / "report.html").read_text(encoding="utf-8")
    links = Links()
    links.feed(page)
    assert all(link.startswith(("#", "data:image/png;base64,")) for link in links.found)
    assert page.count("<svg") == 3
    assert '<p class="answer"><code>painn-vertex</code> lowers the force error by 20 %' in page
    for name in re.findall(r"\]\((\w+\.png)\)", markdown):
        assert (ablation.path / name).stat().st_size < 100_000


def test_the_tables_are_there(ablation: AblationFolder, markdown: str):
    runs = pd.read_csv(ablation.path / "runs.csv")
    assert len(runs) == 12
    assert set(runs["state"]) == {"finished"}
    variants = pd.read_csv(ablation.path / "variants.csv").set_index("variant")
    assert variants.loc["painn-vertex", "test_forces_mae_mean"] == pytest.approx(20.0, rel=1e-3)
    assert variants.loc["painn-none", "ms_per_step_mean"] == pytest.approx(25.0, rel=1e-3)
    elements = pd.read_csv(ablation.path / "elements.csv").set_index(["variant", "label"])
    assert elements.loc[("painn-none", "H"), "forces_mae"] == pytest.approx(22.5, rel=1e-3)


def test_unfinished_runs_are_named(tmp_path: Path):
    found = started(tmp_path, Grid(AXES))
    finish(found, ERRORS, skip=["schnet-none-s0", "schnet-vertex-s0"])
    found.write_status("schnet-none-s0", Status(2, 1.0, "the loss is no number"))
    unfinished, seeds, _ = cautions(Study(found))
    assert unfinished == (
        "2 of 4 runs are not in here: `schnet-none-s0` (failed), `schnet-vertex-s0` (missing)."
    )
    assert seeds.startswith("Some variants have one seed only")
    text = write_report(found)[0].read_text(encoding="utf-8")
    assert unfinished in text
    assert "`painn-vertex` lowers the force error by 20 %" in text


def test_without_its_baseline_a_report_says_so(tmp_path: Path):
    found = started(tmp_path, Grid({"model.relations": ["none", "vertex"]}))
    finish(found, {"none": 20.0, "vertex": 22.0}, skip=["none-s0"])
    assert headline(Study(found)) == (
        "`vertex` has the lowest force error, 22 meV/Å; the baseline is missing."
    )


def test_nothing_to_report_is_an_error(tmp_path: Path):
    found = started(tmp_path, Grid({"model.relations": ["none", "vertex"]}))
    with pytest.raises(InputError, match=r"no run of .* is finished yet; nothing to report"):
        write_report(found)
    assert not (found.path / "report.md").exists()
