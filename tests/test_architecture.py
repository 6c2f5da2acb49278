"""The rules of docs/architecture.md that a machine can check: who imports whom, sizes, what loads torch."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FOLDERS = {
    "robot_learning": ROOT / "robot_learning",
    "robot_learning.sim": ROOT / "sim",
    "robot_learning.hardware": ROOT / "hardware",
    "robot_learning.datasets": ROOT / "datasets",
}
ROBOT_SIDE = {"runtime", "sim", "hardware", "datasets"}
MAY_IMPORT = {
    "core": set(),
    "nn": {"core"},
    "runtime": {"core"},
    "sim": {"core"},
    "hardware": {"core"},
    "datasets": {"core"},
    "policies": {"nn", "core"},
    "rewards": {"nn", "core"},
    "learning": {"policies", "nn", "rewards", "datasets", "core"},
}
TORCH_FREE = {"core", *ROBOT_SIDE}
MAY_LOAD_TORCH = {"robot_learning.datasets.loader"}


def _modules():
    for package, folder in FOLDERS.items():
        for path in sorted(folder.rglob("*.py")):
            parts = path.relative_to(folder).with_suffix("").parts
            name = ".".join((package, *(part for part in parts if part != "__init__")))
            yield name, path


MODULES = dict(_modules())


def _imports(path):
    """Every module that a file imports, at whatever depth, as absolute names."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module or ""


def _package(module):
    parts = module.split(".")
    return parts[1] if parts[0] == "robot_learning" and len(parts) > 1 else None


@pytest.mark.parametrize("module", MODULES)
def test_imports_respect_the_layers(module):
    package = _package(module)
    allowed = MAY_IMPORT.get(package)
    for imported in _imports(MODULES[module]):
        target = _package(imported)
        assert imported.split(".")[0] not in {"tests", "sim", "hardware", "datasets", "configs"}, imported
        if package != "cli":
            assert imported.split(".")[0] not in {"hydra", "omegaconf"}, f"{module} imports hydra outside cli"
            assert target != "cli", f"{module} imports {imported}"
        if allowed is not None and target is not None:
            assert target in allowed | {package}, f"{module} imports {imported}; may import {sorted(allowed)}"
        if package in TORCH_FREE and module not in MAY_LOAD_TORCH:
            assert imported.split(".")[0] != "torch", f"{module} imports torch"


@pytest.mark.parametrize("module", [name for name in MODULES if _package(name) == "policies"])
def test_a_policy_imports_no_other_policy(module):
    family = module.split(".")[2] if module.count(".") >= 2 else None
    shared = {"policy", "window", family}
    for imported in _imports(MODULES[module]):
        if imported.startswith("robot_learning.policies."):
            assert imported.split(".")[2] in shared, f"{module} imports {imported}"


@pytest.mark.parametrize("module", MODULES)
def test_files_and_functions_stay_small(module):
    text = MODULES[module].read_text(encoding="utf-8")
    assert text.count("\n") <= 400, f"{MODULES[module]} has {text.count(chr(10))} lines, at most 400"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            size = node.end_lineno - node.lineno + 1
            assert size <= 60, f"{MODULES[module]}:{node.lineno} {node.name} has {size} lines, at most 60"


def test_every_folder_of_the_package_is_shipped():
    declared = set(__import__("tomllib").loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"])
    found = {name for name, path in MODULES.items() if path.name == "__init__.py"} | {"robot_learning.configs"}
    assert declared == found


def test_the_robot_side_loads_no_torch():
    code = (
        "import sys, robot_learning.runtime.episode, robot_learning.runtime.actors, robot_learning.sim.robot, "
        "robot_learning.hardware, robot_learning.datasets.store, robot_learning.datasets.windows; "
        "assert not {'torch', 'hydra', 'diffusers'} & set(sys.modules), sorted(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
