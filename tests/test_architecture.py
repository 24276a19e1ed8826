"""The house's layering as a table: a module imports only from lines above its own. Function-local imports count.

Where this differs from the first plan (shared/design/architecture.md):
- `clock` joins the vocabulary: measuring, sampling and simulating share it.
- `store/duck` is the one file that knows DuckDB; it stands at the bottom because prompts are read through it too.
- `engines/simulated` was to be simulation/engine; it is an engine, so it stands with the engines, above them all.
- pynvml has two homes: power/nvml speaks to the library; simulation/nvml and its nvml_answers stand in for it.
"""

from __future__ import annotations

import ast
import functools
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
HARNESS = ROOT / "harness"

LINES = """
units
plain_text
errors
own_process
reading
redaction
clock
stats
frozen
campaign
serving
simulated_node
specs
served_records
records
imported
store.duck
power.base
power.profiles
power.profile_use
power.recording
power.publications
power.sensor
power.sensor_search
power.sensor_fit
power.trace
power.sampler
power.cuda_visible
power.processes
power.nvml
power.inventory
power.host
simulation.profiles
simulation.costs
simulation.load
simulation.power
simulation.faults
simulation.recorded
simulation.gpu
simulation.nvml_answers
simulation.nvml
measure.served
measure.base
measure.energy
measure.counter
measure.findings
measure.characterize
measure.uncertainty
measure.sensor_evidence
measure.undersampled
measure.sampled_caveats
measure.sampled
measure.window
measure.quality
measure.period
measure.delays
measure.equivalent_time
measure.unseen
measure.budget
measure.guards
measure.stuck
measure.siblings
measure.steady
measure.served_caveats
measure.assembly
measure.served_assembly
measure.served_pooling
measure.warm_up
measure.stopping
measure.consistency
measure.run_caveats
measure.summary
measure.session
measure.regression
measure.alike
measure.phases_design
measure.phases
tasks.base
tasks.composing
tasks.catalog
tasks.builtin
tasks.builtin_reading
tasks.pictures
tasks.columns
tasks.files
tasks.hub
tasks.prompts
engines.base
engines.preset
engines.presets_tiny
engines.presets_public
engines.presets_images
engines.random_weights
engines.forms
engines.random_models
engines.random_pipelines
engines.architectures
engines.loading
engines.part
engines.writing
engines.heads
engines.image_work
engines.transformers
engines.diffusers
engines.square_load
engines.calibration
engines.simulated
engines.replay
engines.saved_preset
engines.endpoint
engines.stream
engines.keeper
engines.guard
engines.server
engines.openai
store.documents
store.files
store.manifest
store.imports
store.upgrade
store.migrate
store.index
store.queries
store.traces
store.invariants
store.validate
run.environment
run.yaml_lines
run.nested
run.combinations
run.config
run.estimate
run.order
run.retries
run.lanes
run.journal
run.sources
run.engine_choice
run.doubts
run.load_pattern
run.characterize
run.worker
run.fork_server
run.executors
run.preflight
run.gpu_lock
run.placement
run.calibration
run.remote
run.cluster
run.ray
run.runner
footprint.factors
footprint.defaults
footprint.propagation
footprint.codecarbon_tables
footprint.hourly
footprint.cloud_regions
footprint.grids
footprint.places
footprint.amounts
footprint.equivalents
footprint.phrases
footprint.conversion
footprint.water
footprint.explain
footprint.trends
footprint.break_even
footprint.outlook
footprint.accountings
importers.codecarbon_table
importers.codecarbon_checks
importers.codecarbon
study.catalog
study.runs
study.tables
study.accounting
study.models
study.general
study.formulas
study.readings
study.claims
study.verdicts
study.press
study.cells
study.compare
study.replay
compare.base
compare.sides
compare.foreign
compare.ratio
compare.verdicts
compare.groups
compare.across
compare.boards
compare.comparison
report.calibrations
report.results
report.uncertainty
report.sweep
report.rating
report.ranking
report.stored
report.study_rows
report.apart
report.quality
report.details
report.payload
report.page
report.text_tables
report.csv_table
report.figures
cli.echo
cli.options
cli.bars
cli.selection
cli.tables
cli.factor_tables
cli.factors
cli.study_tables
cli.replay_tables
cli.served_tables
cli.one_run
cli.progress
cli.plan
cli.doctor
cli.equivalents
cli.imports
cli.run
cli.sensor_simulate
cli.sensor_fit
cli.sensor_integrate
cli.sensor_characterize
cli.sensor
cli.schema
cli.study
cli.sweep
cli.ranking
cli.show
cli.phases
cli.targets
cli.report
cli.compare_tables
cli.compare_names
cli.compare
cli.validate
cli.migrate
cli.claims
cli.explain
cli.outlook
cli.main
__main__
""".split()

# Heavy or peculiar libraries, and the only files that may know them.
HOMES = {
    "pynvml": {"power.nvml", "simulation.nvml", "simulation.nvml_answers"},
    "duckdb": {"store.duck"},
    "codecarbon": {"power.host"},
    "torch": {
        "engines.random_weights",
        "engines.random_models",
        "engines.random_pipelines",
        "engines.loading",
        "engines.writing",
        "engines.transformers",
        "engines.diffusers",
        "engines.square_load",
        "engines.calibration",
    },
    "transformers": {
        "engines.random_weights",
        "engines.forms",
        "engines.random_models",
        "engines.random_pipelines",
        "engines.loading",
        "engines.writing",
        "engines.transformers",
    },
    "tokenizers": {"engines.random_weights"},
    "PIL": {"tasks.pictures", "engines.diffusers"},
    "diffusers": {"engines.random_pipelines", "engines.diffusers"},
    "datasets": {"tasks.hub"},
    "yaml": {"run.yaml_lines", "power.profiles"},
    "plotly": {"report.figures"},
    "ray": {"run.cluster", "run.ray"},
    "zeus": set(),
    "pandas": set(),
}
CLI_ONLY = {"typer", "rich"}


@functools.cache
def modules() -> dict[str, Path]:
    found = {}
    for path in sorted(HARNESS.rglob("*.py")):
        if path.name != "__init__.py":
            found[".".join(path.relative_to(HARNESS).with_suffix("").parts)] = path
    return found


@functools.cache
def imports_of(path: Path) -> set[str]:
    """Full names of everything a file imports, by statement or by importlib.import_module("name")."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", None) == "import_module":
            names |= {arg.value for arg in node.args if isinstance(arg, ast.Constant) and isinstance(arg.value, str)}
    return names


def own_modules_in(names: set[str]) -> set[str]:
    known = modules()
    inside = {name.removeprefix("harness.") for name in names if name.startswith("harness.")}
    return {name for name in inside if name in known}


def test_every_module_has_its_line_and_every_line_its_module() -> None:
    assert sorted(LINES) == sorted(modules())


@pytest.mark.parametrize("module", LINES)
def test_a_module_imports_only_from_lines_above_its_own(module: str) -> None:
    above = set(LINES[: LINES.index(module)])
    assert own_modules_in(imports_of(modules()[module])) <= above


@pytest.mark.parametrize("library", HOMES)
def test_a_heavy_library_is_known_only_in_its_home(library: str) -> None:
    users = {
        name
        for name, path in modules().items()
        if any(imported.split(".")[0] == library for imported in imports_of(path))
    }
    assert users <= HOMES[library]


def test_only_the_command_line_knows_typer_and_rich() -> None:
    for name, path in modules().items():
        if not name.startswith("cli."):
            assert not {imported.split(".")[0] for imported in imports_of(path)} & CLI_ONLY, name


@pytest.mark.parametrize("command", ["import harness", "from harness.cli.main import app"])
def test_importing_the_package_or_its_command_line_loads_nothing_heavy(command: str) -> None:
    heavy = ["torch", "transformers", "diffusers", "pandas", "duckdb", "pynvml", "plotly", "numpy", "pydantic", "yaml"]
    code = f"{command}; import sys; print([name for name in {heavy} if name in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert out.stdout.strip() == "[]"


def test_the_top_level_holds_only_what_the_layout_names() -> None:
    tracked = subprocess.run(["git", "ls-files"], capture_output=True, text=True, check=True, cwd=ROOT)
    top = {line.split("/")[0] for line in tracked.stdout.splitlines()}
    assert {name for name in top if not name.startswith(".")} <= {
        "pyproject.toml",
        "constraints.txt",
        "harness",
        "configs",
        "results",
        "tests",
        "scripts",
        "README.md",
        "CHANGELOG.md",
        "LICENSE",
    }
