import json
import os
import sys

import numpy as np
import pytest

from robot_learning.cli import doctor, machine
from robot_learning.cli.machine import Check


def test_the_table_and_the_exit_status(capsys, monkeypatch, tmp_path):
    rows = [Check("python", "ok", "3.11"), Check("rendering", "warn", "no backend", "install EGL")]
    monkeypatch.setattr(doctor, "checks", lambda folder: rows)
    assert doctor.main([]) == 0
    text = capsys.readouterr().out
    assert text.splitlines()[0] == "ok    python        3.11"
    assert "-> install EGL" in text
    assert "ready, with 1 warning" in text
    rows.append(Check("packages", "fail", "missing: torch", "pip install robot-learning"))
    assert doctor.main([]) == 1
    assert "1 required check(s) failed" in capsys.readouterr().err


def test_json(capsys, monkeypatch):
    monkeypatch.setattr(doctor, "checks", lambda folder: [Check("disk", "fail", "0.1 GB", "free some")])
    assert doctor.main(["--json"]) == 1
    printed = json.loads(capsys.readouterr().out)
    assert printed == {
        "ok": False,
        "checks": [{"name": "disk", "status": "fail", "found": "0.1 GB", "advice": "free some"}],
    }


def test_long_findings_are_wrapped():
    text = doctor.table([Check("packages", "ok", "word " * 40)], width=80)
    assert max(map(len, text.splitlines())) <= 80
    assert len(text.splitlines()) > 2


def test_all_checks_run_on_this_machine(tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "rendering", lambda: Check("rendering", "ok", "not tried here"))
    found = machine.checks(tmp_path / "not" / "there", dev=tmp_path)
    assert [check.name for check in found] == [
        *("python", "packages", "extras", "torch device", "rendering", "disk", "cores", "memory", "real time"),
        *("cameras", "serial ports"),
    ]
    assert all(check.found for check in found)
    assert [check.name for check in found if check.status == "fail"] == []


def test_an_old_python():
    check = machine.python((3, 10, 2))
    assert check.status == "fail"
    assert "3.11 or newer" in check.advice


def test_a_missing_package():
    check = machine.packages(("numpy", "no-such-package"))
    assert check.status == "fail"
    assert "missing: no-such-package" in check.found


def test_a_full_disk(tmp_path):
    assert machine.disk(tmp_path, least_gb=1e9).status == "fail"
    assert machine.disk(tmp_path, least_gb=0, good_gb=1e9).status == "warn"


def test_rendering_advice(monkeypatch):
    results = {"egl": "does not work", "osmesa": "2.0 ms"}
    monkeypatch.setattr(machine, "_render", lambda backend: results[backend])
    monkeypatch.delenv("MUJOCO_GL", raising=False)
    check = machine.rendering(tuple(results))
    assert (check.status, check.advice) == ("warn", "export MUJOCO_GL=osmesa")
    monkeypatch.setenv("MUJOCO_GL", "egl")
    assert machine.rendering(tuple(results)).advice == "export MUJOCO_GL=osmesa"
    monkeypatch.setenv("MUJOCO_GL", "osmesa")
    assert machine.rendering(tuple(results)).status == "ok"
    results["osmesa"] = "does not work"
    check = machine.rendering(tuple(results))
    assert check.status == "warn"
    assert "apt-get install libegl1" in check.advice
    assert check.found == "96x96 frame: egl does not work, osmesa does not work"


def test_a_backend_is_tried_in_its_own_process(monkeypatch):
    assert machine._render("no-such-backend") == "does not work"
    monkeypatch.setattr(machine, "_RENDER", "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)")
    assert machine._render("egl") == "crashed (signal 11)"
    monkeypatch.setattr(machine, "_RENDER", 'print(\'{"ms": 1.25, "contrast": 0}\')')
    assert machine._render("egl") == "renders black"
    monkeypatch.setattr(machine, "_RENDER", 'print(\'{"ms": 1.25, "contrast": 9}\')')
    assert machine._render("egl") == "1.2 ms"


def test_devices(tmp_path, monkeypatch):
    for name in ("ttyUSB0", "ttyACM1", "ttyS0", "video0"):
        (tmp_path / name).touch()
    labels = tmp_path / "sys" / "video0"
    labels.mkdir(parents=True)
    (labels / "name").write_text("Wrist camera\n")
    check = machine.serial_ports(tmp_path)
    assert (check.status, check.found) == ("ok", f"{tmp_path}/ttyACM1, {tmp_path}/ttyUSB0")
    assert machine.cameras(tmp_path, tmp_path / "sys").found == f"{tmp_path}/video0 (Wrist camera)"
    monkeypatch.setattr(os, "access", lambda path, mode: "USB" not in str(path))
    check = machine.serial_ports(tmp_path)
    assert check.status == "warn"
    assert f"no permission: {tmp_path}/ttyUSB0" in check.found
    assert "sudo usermod -aG" in check.advice
    assert machine.serial_ports(tmp_path / "sys").found == "none"


def test_help_gives_examples(capsys):
    with pytest.raises(SystemExit) as exit_:
        doctor.main(["--help"])
    assert exit_.value.code == 0
    assert "robot-learning doctor --json" in capsys.readouterr().out


def test_doctor_needs_no_hydra():
    import subprocess

    code = "import sys, robot_learning.cli.doctor; sys.exit('hydra' in sys.modules or 'torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_loop_that_is_woken_late_is_told(monkeypatch):
    monkeypatch.setattr(machine.time, "sleep", lambda seconds: None)
    clock = iter(np.cumsum([0.0, 0.006, 0.1, 0.045]))
    monkeypatch.setattr(machine.time, "monotonic", lambda: next(clock))
    check = machine.priority(periods=2)
    assert check.status == "warn"
    assert "woken at most 40.0 ms late of 2 waits" in check.found
    monkeypatch.undo()
    assert "late of 3 waits" in machine.priority(periods=3).found
