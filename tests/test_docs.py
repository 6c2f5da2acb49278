"""The documentation builds without warnings, and the commands that README and docs show exist."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from robot_learning.cli.main import COMMANDS

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def test_the_site_builds_with_no_warning(tmp_path):
    build = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(build, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "site/index.html").is_file()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_commands_and_scripts_that_a_page_names_exist(page):
    text = page.read_text(encoding="utf-8")
    for command in re.findall(r"^\s*(?:\$ )?robot-learning ([a-z]\w*)", text, flags=re.MULTILINE):
        assert command in COMMANDS, f"{page.name}: robot-learning {command}"
    for script in re.findall(r"python (benchmarks/\w+\.py)", text):
        assert (ROOT / script).is_file(), f"{page.name}: {script}"
    targets = (ROOT / "Makefile").read_text()
    for target in re.findall(r"`make ([a-z-]+)`", text):
        assert re.search(rf"^{target}:", targets, flags=re.MULTILINE), f"{page.name}: make {target}"
