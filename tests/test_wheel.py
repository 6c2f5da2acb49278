"""The wheel, installed in an empty environment, brings one top-level name and its package data."""

import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"  # a copy, so that an old build/ neither leaks into the wheel nor is left behind
    ignored = shutil.ignore_patterns(".*", "build", "runs", "tests", "*.egg-info", "__pycache__")
    shutil.copytree(ROOT, source, ignore=ignored)
    build = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--quiet", "--wheel-dir", str(folder), str(source)]
    subprocess.run(build, check=True, capture_output=True, text=True)
    return next(folder.glob("*.whl"))


def test_the_only_top_level_name_is_robot_learning(wheel):
    names = {name.split("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert {name for name in names if not name.endswith(".dist-info")} == {"robot_learning"}


def test_it_carries_every_config_and_template(wheel):
    shipped = set(zipfile.ZipFile(wheel).namelist())
    for source in [*ROOT.glob("configs/**/*.yaml"), *ROOT.glob("robot_learning/**/*.j2")]:
        relative = source.relative_to(ROOT).as_posix()
        expected = relative if relative.startswith("robot_learning/") else f"robot_learning/{relative}"
        assert expected in shipped


def test_installed_in_an_empty_environment_it_imports(wheel, tmp_path):
    venv.create(tmp_path / "env", with_pip=True)
    python = tmp_path / "env/bin/python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", "--no-deps", str(wheel)], check=True)
    code = (
        "import importlib.metadata as m, robot_learning; from pathlib import Path; "
        "files = m.files('robot-learning'); "
        "tops = {f.parts[0] for f in files if '.dist-info' not in f.parts[0] and f.parts[0] != '..'}; "
        "assert tops == {'robot_learning'}, tops; print(robot_learning.__version__)"
    )
    subprocess.run([python, "-c", code], check=True, cwd=tmp_path)
