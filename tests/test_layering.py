"""The shape of the code: dependencies run one way, files and functions stay small."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import hermnet

ROOT = Path(__file__).parents[1]

# (level, modules), lowest first: a module imports from the rows above its own.
ROWS: list[tuple[int, str]] = [
    (0, "errors host.heap host.interrupts host.later"),
    (0, "arguments"),
    (0, "host.atomic host.caches recipes.class_path elements host.processes registry units"),
    (0, "host.watch"),
    (0, "host.lock"),
    (0, "recipes.convert"),
    (0, "recipes.schema"),
    (1, "kernels.choice kernels.library"),
    (1, "kernels.first_use kernels.recording"),
    (1, "kernels.triton_parts"),
    (1, "kernels.triton_groups kernels.triton_message kernels.triton_segments"),
    (1, "kernels.plain_message kernels.triton_convolution kernels.triton_filters"),
    (1, "kernels.gpu_message"),
    (1, "kernels.closing"),
    (1, "kernels.affine kernels.convolution kernels.coupling kernels.message kernels.perceptron"),
    (1, "kernels.direct"),
    (1, "cell_list classes envelopes expansion graph grouped radial segments"),
    (1, "copies"),
    (1, "unions"),
    (1, "kernels.indexing"),
    (1, "in_use two_way cuda_graphs kernels.equivariant"),
    (2, "neighbors relations relational"),
    (2, "geometry"),
    (2, "messages perceptron"),
    (2, "data.fingerprint data.progress data.loading data.environments data.least_squares"),
    (2, "data.facts"),
    (2, "data.gathering"),
    (2, "subnetwork data.frames data.paths data.splits data.stress data.validity data.sampling"),
    (2, "data.rows data.scalars"),
    (2, "data.labels data.aselmdb data.sqlite data.dump data.npz data.outcar data.slices"),
    (2, "data.shards"),
    (2, "data.continued data.packed data.trajectory data.vasp"),
    (2, "data.graphs"),
    (2, "batched_skin data.checking data.joined skin"),
    (2, "data.cache"),
    (2, "datamodule"),
    (2, "data.files data.qm9 data.sgdml"),
    (2, "data.staging"),
    (2, "data.conversion"),
    (3, "data.inspection_frames data.consistency"),
    (3, "data.consistency_energy_forces data.consistency_pair_model data.inspection_distances"),
    (3, "data.consistency_strain data.inspection_duplicates"),
    (3, "data.consistency_pair_labels data.inspection_facts"),
    (3, "data.inspection_text"),
    (3, "data.inspection"),
    (3, "data.inspection_plots"),
    (3, "readouts.center_of_mass model_options readouts.readout reference repulsion router"),
    (3, "readouts.atom_heads readouts.baseline network"),
    (3, "readouts.dipole readouts.extent readouts.polarizability readouts.scalar"),
    (3, "readouts.names"),
    (4, "compiling derivatives statistics training.targets"),
    (4, "potential property_model"),
    (4, "compiled training.losses training.metrics models"),
    (4, "familiarity memory"),
    (4, "training.objective training.options training.precision training.warmup"),
    (4, "training.property_objective"),
    (5, "training.averages training.averaging checkpoints.formats training.position"),
    (5, "export.description"),
    (5, "checkpoints.checkpoint"),
    (5, "training.inheritance"),
    (5, "training.finetuning training.freezing"),
    (5, "checkpoints.io checkpoints.report training.history checkpoints.provenance training.task"),
    (5, "export.exported"),
    (5, "calculator"),
    (6, "export.core"),
    (6, "export.compiling export.ghosts"),
    (6, "export.mliap"),
    (6, "export.writing"),
    (6, "export.commands"),
    (6, "properties.remembering properties.report properties.settings properties.structures"),
    (6, "properties.elastic_averages properties.relaxation"),
    (6, "properties.elasticity properties.equation_of_state"),
    (6, "properties.dynamics_log properties.dynamics_state properties.integrators"),
    (6, "properties.dynamics_guard properties.dynamics_report"),
    (6, "properties.dynamics properties.trajectories"),
    (6, "properties.displacement properties.phonons properties.radial_distribution"),
    (6, "properties.vibrations"),
    (6, "properties.running"),
    (6, "properties.commands"),
    (6, "engines.ipi engines.lammps engines.lammps_library engines.lammps_script engines.torchsim"),
    (6, "engines.lammps_run"),
    (6, "engines.commands"),
    (6, "checks recipes.source run.folder run.force_errors run.frame_errors run.plots"),
    (6, "run.prediction training.cost training.metrics_log training.pace training.summary"),
    (6, "run.bars run.evaluation training.loggers training.non_finite training.progress"),
    (6, "testing"),
    (6, "recipes.listing recipes.sections"),
    (6, "recipes.config"),
    (6, "run.compilation run.datasets training.saving run.workflows"),
    (6, "run.pictures training.trainer"),
    (6, "analysis.served"),
    (6, "analysis.frames analysis.interventions analysis.restriction analysis.weights"),
    (6, "analysis.findings analysis.heat_map analysis.timing"),
    (6, "analysis.matrices analysis.periodic_table analysis.tables"),
    (6, "analysis.maps"),
    (6, "analysis.report"),
    (6, "analysis.analysis"),
    (6, "analysis.running"),
    (6, "analysis.commands"),
    (6, "run.launch"),
    (6, "run.fitting"),
    (6, "run.commands"),
    (6, "ablation.bootstrap ablation.document ablation.grid ablation.widths ablation.worker"),
    (6, "ablation.plan ablation.trial"),
    (6, "ablation.folder ablation.planning"),
    (6, "ablation.collecting ablation.execution ablation.progress"),
    (6, "ablation.pool ablation.study"),
    (6, "ablation.cluster ablation.figures ablation.findings"),
    (6, "ablation.report"),
    (6, "ablation.running"),
    (6, "ablation.commands"),
    (7, "cli"),
]
ROW = {f"hermnet.{name}": row for row, (_, names) in enumerate(ROWS) for name in names.split()}
PLUGIN_ROW = sum(level <= 2 for level, _ in ROWS)  # sub-networks and data modules see levels 0 to 2
PLUGINS = ("subnets", "datamodules")
MAX_LINES, MAX_FUNCTION_LINES, MAX_PARAMETERS = 300, 40, 8
MAX_KERNEL_LINES = 70  # in Triton: a loop whose tiles stay in registers

FRAMEWORK = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts): path
    for path in sorted((ROOT / "hermnet").glob("**/*.py"))
    if path.stem != "__init__" and path.parent.name not in PLUGINS
}
PLUGGED = {
    f"hermnet.{folder}.{path.stem}": path
    for folder in PLUGINS
    for path in sorted((ROOT / folder).glob("*.py"))
}
SOURCES = {**FRAMEWORK, **PLUGGED, "hermnet": ROOT / "hermnet" / "__init__.py"}
each_source = pytest.mark.parametrize("module", sorted(SOURCES))


def parse(module: str) -> ast.Module:
    return ast.parse(SOURCES[module].read_text(encoding="utf-8"))


def imported(module: str) -> Iterator[str]:
    """The hermnet modules that `module` imports, at its top or anywhere inside."""
    for node in ast.walk(parse(module)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} line {node.lineno}: relative import"
            names = [resolve(str(node.module), alias.name) for alias in node.names]
        else:
            continue
        yield from (name for name in names if name.split(".")[0] == "hermnet")


def resolve(module: str, name: str) -> str:
    """The module that ``from module import name`` needs."""
    if module == "hermnet" and name in hermnet._PUBLIC:
        return hermnet._PUBLIC[name]
    within = f"{module}.{name}"
    return within if within in ROW else module


def test_the_table_of_levels_lists_every_module_once():
    assert sum(len(names.split()) for _, names in ROWS) == len(ROW)
    assert set(FRAMEWORK) == set(ROW), "give each module its place in ROWS, and no other"


def test_every_public_name_points_to_a_module_that_defines_it():
    for name, module in hermnet._PUBLIC.items():
        assert name in {alias for node in parse(module).body for alias in defined(node)}, name


def defined(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.ClassDef | ast.FunctionDef):
        return [node.name]
    targets = node.targets if isinstance(node, ast.Assign) else []
    if isinstance(node, ast.AnnAssign):
        targets = [node.target]
    return [target.id for target in targets if isinstance(target, ast.Name)]


@each_source
def test_a_module_imports_from_lower_levels_only(module: str):
    own = 0 if module == "hermnet" else ROW.get(module, PLUGIN_ROW)
    for other in imported(module):
        if other == "hermnet":
            continue  # for the version
        assert other in ROW, f"{module} imports {other}, which is no module of the framework"
        assert ROW[other] < own, f"{module} imports {other}, which is not below it"


@each_source
def test_a_file_is_short(module: str):
    n_lines = len(SOURCES[module].read_text(encoding="utf-8").splitlines())
    assert n_lines <= MAX_LINES, f"{module}: {n_lines} lines; one concept per file"


@each_source
def test_functions_are_short_and_take_few_parameters(module: str):
    for node in ast.walk(parse(module)):
        if not isinstance(node, ast.FunctionDef):
            continue
        where = f"{module} line {node.lineno}: {node.name}"
        is_kernel = any("triton.jit" in ast.unparse(mark) for mark in node.decorator_list)
        most = MAX_KERNEL_LINES if is_kernel else MAX_FUNCTION_LINES
        assert code_lines(node) <= most, f"{where} has {code_lines(node)} lines"
        if is_kernel:
            continue  # it gets addresses and sizes, each a parameter
        if node.name == "__init__" and module.startswith(
            ("hermnet.datamodules.", "hermnet.data.files")
        ):
            continue  # its keyword arguments are the keys of a recipe's section
        given = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        names = [argument.arg for argument in given if argument.arg not in ("self", "cls")]
        assert len(names) <= MAX_PARAMETERS, f"{where} has {len(names)} parameters"


def code_lines(function: ast.FunctionDef) -> int:
    """Lines of a function without its docstring: prose is welcome."""
    lines = (function.end_lineno or function.lineno) - function.lineno + 1
    if ast.get_docstring(function) is not None:
        prose = function.body[0]
        lines -= (prose.end_lineno or prose.lineno) - prose.lineno + 1
    return lines
