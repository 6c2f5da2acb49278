"""What this machine has: interpreter, packages, accelerator, rendering, disk, cores, memory, priority, devices."""

import grp
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

import psutil

Status = Literal["ok", "warn", "fail"]

PYTHON = (3, 11)
REQUIRED = ("numpy", "torch", "mujoco", "zarr", "hydra-core", "gymnasium", "diffusers", "av", "opencv-python")
OPTIONAL = {"gym-pusht": "pusht", "pyarrow": "lerobot", "zarrs": "fast", "accelerate": "distributed"}
"""Packages of the extras, with the extra that brings each."""

LATE_MS = 20.0
"""Later than this a wake-up eats most of a control period at 20 to 50 Hz."""
BACKENDS = ("egl", "osmesa", "glfw")
RENDER_LIMIT_S = 60.0
RENDERING_ADVICE = (
    "for cameras and videos: sudo apt-get install libegl1 libgl1 libgles2 (any GPU or Mesa's software renderer), "
    "or libosmesa6 and MUJOCO_GL=osmesa"
)
_RENDER = """
import json, time, mujoco
model = mujoco.MjModel.from_xml_string(
    "<mujoco><visual><quality shadowsize='0' offsamples='0'/></visual>"
    "<worldbody><light pos='0 0 2'/><geom type='plane' size='1 1 .1'/>"
    "<geom type='box' size='.1 .1 .1' pos='0 0 .1' rgba='1 0 0 1'/></worldbody></mujoco>")
data = mujoco.MjData(model)
mujoco.mj_forward(model, data)
with mujoco.Renderer(model, 96, 96) as renderer:
    renderer.update_scene(data)
    image = renderer.render()
    start = time.perf_counter()
    for _ in range(50):
        renderer.update_scene(data)
        renderer.render()
    print(json.dumps({"ms": (time.perf_counter() - start) / 50 * 1e3, "contrast": int(image.max()) - int(image.min())}))
"""


@dataclass(frozen=True)
class Check:
    """One row of the table.

    Attributes:
        name: What was looked at.
        status: ``ok``, ``warn`` (something will not work or be slow) or ``fail`` (nothing will work).
        found: What there is.
        advice: What to do about it.
    """

    name: str
    status: Status
    found: str
    advice: str = ""


def checks(folder: Path, dev: Path = Path("/dev")) -> list[Check]:
    """Return all checks; ``folder`` is where runs will be written."""
    rendered = rendering()
    return [
        python(),
        packages(),
        extras(),
        torch_device(),
        rendered,
        disk(folder),
        cores(),
        memory(),
        priority(),
        cameras(dev),
        serial_ports(dev),
    ]


def python(version: Sequence[int] = sys.version_info[:3]) -> Check:
    """Check the interpreter."""
    found = f"{'.'.join(map(str, version))} on {platform.system()} {platform.machine()}"
    if tuple(version[:2]) < PYTHON:
        return Check("python", "fail", found, f"install Python {PYTHON[0]}.{PYTHON[1]} or newer")
    return Check("python", "ok", found)


def packages(names: Sequence[str] = REQUIRED) -> Check:
    """Check what every command needs."""
    versions = {name: _version(name) for name in names}
    missing = [name for name, version in versions.items() if version is None]
    found = ", ".join(f"{name} {version}" for name, version in versions.items() if version is not None)
    if missing:
        return Check("packages", "fail", f"{found}; missing: {', '.join(missing)}", "pip install robot-learning")
    return Check("packages", "ok", found)


def extras() -> Check:
    """List the optional packages."""
    versions = {name: _version(name) for name in OPTIONAL}
    found = ", ".join(f"{name} {version}" for name, version in versions.items() if version is not None)
    missing = [f"{name} (robot-learning[{OPTIONAL[name]}])" for name, version in versions.items() if version is None]
    without = f"without {', '.join(missing)}" if missing else ""
    return Check("extras", "ok", "; ".join(filter(None, [found, without])))


def torch_device() -> Check:
    """Check that torch computes, and where."""
    try:
        import torch
    except ImportError as error:
        return Check("torch device", "fail", str(error), "pip install torch")
    try:
        if torch.cuda.is_available():
            name, total = torch.cuda.get_device_name(0), torch.cuda.mem_get_info(0)[1]
            torch.ones(8, 8, device="cuda").sum().item()
            return Check("torch device", "ok", f"cuda: {torch.cuda.device_count()} x {name}, {total / 2**30:.0f} GiB")
        if torch.backends.mps.is_available():
            return Check("torch device", "ok", "mps")
    except RuntimeError as error:
        return Check("torch device", "warn", f"a GPU that does not compute: {error}", "use device=cpu, or fix the driver")
    return Check("torch device", "ok", f"cpu, {torch.get_num_threads()} threads")


def rendering(backends: Sequence[str] = BACKENDS) -> Check:
    """Render frames with every backend, each in its own process, as a broken driver may take the process down."""
    with ThreadPoolExecutor(len(backends)) as pool:
        results = dict(zip(backends, pool.map(_render, backends), strict=True))
    works = [name for name, result in results.items() if result.endswith("ms")]
    found = "96x96 frame: " + ", ".join(f"{name} {result}" for name, result in results.items())
    chosen = os.environ.get("MUJOCO_GL", "").lower()
    if not works:
        return Check("rendering", "warn", found, RENDERING_ADVICE)
    if chosen in BACKENDS and chosen not in works:
        return Check("rendering", "warn", f"{found} (MUJOCO_GL={chosen})", f"export MUJOCO_GL={works[0]}")
    if not chosen and "egl" not in works:
        return Check("rendering", "warn", found, f"export MUJOCO_GL={works[0]}")
    return Check("rendering", "ok", found + (f" (MUJOCO_GL={chosen})" if chosen else ""))


def disk(folder: Path, *, least_gb: float = 2.0, good_gb: float = 10.0) -> Check:
    """Check the free space where runs go."""
    existing = next(path for path in (folder.resolve(), *folder.resolve().parents) if path.exists())
    free = shutil.disk_usage(existing).free / 1e9
    found = f"{free:.1f} GB free in {existing}"
    if free < least_gb:
        return Check("disk", "fail", found, f"free {least_gb:g} GB, or run elsewhere")
    if free < good_gb:
        return Check("disk", "warn", found, "enough for state observations; images need more")
    return Check("disk", "ok", found)


def cores() -> Check:
    """Count the cores this process may use."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
    if count < 2:
        return Check("cores", "warn", str(count), "two or more: deployment thinks beside the control loop")
    return Check("cores", "ok", str(count))


def memory(*, good_gb: float = 4.0) -> Check:
    """Check the memory that is free."""
    state = psutil.virtual_memory()
    found = f"{state.available / 1e9:.1f} of {state.total / 1e9:.1f} GB free"
    if state.available < good_gb * 1e9:
        return Check("memory", "warn", found, f"{good_gb:g} GB for the quickstart; close something")
    return Check("memory", "ok", found)


def priority(periods: int = 200) -> Check:
    """Tell whether deployment may ask for real-time priority, and how late this machine wakes a waiting loop."""
    if not hasattr(os, "sched_setscheduler"):
        found, late = "normal priority (no real-time scheduling on this system)", _lateness_ms(periods)
    else:
        before = os.sched_getscheduler(0), os.sched_getparam(0)
        try:
            os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
            found, late = "real-time priority allowed", _lateness_ms(periods)
        except OSError:
            advice = "for steady control rates: `$USER - rtprio 10` in /etc/security/limits.d/robot.conf, log in again"
            found, late = f"normal priority ({advice})", _lateness_ms(periods)
        finally:
            os.sched_setscheduler(0, *before)
    found += f"; woken at most {late:.1f} ms late of {periods} waits"
    if late > LATE_MS:
        return Check(
            "real time", "warn", found, "control periods will be missed: stop other work, or leave the virtual machine"
        )
    return Check("real time", "ok", found)


def _lateness_ms(periods: int, wait_s: float = 0.005) -> float:
    """Return by how much the latest of some waits was late [ms]."""
    worst = 0.0
    for _ in range(periods):
        due = time.monotonic() + wait_s
        time.sleep(wait_s)
        worst = max(worst, time.monotonic() - due)
    return worst * 1e3


def cameras(dev: Path = Path("/dev"), names: Path = Path("/sys/class/video4linux")) -> Check:
    """List video devices."""
    return _devices("cameras", sorted(dev.glob("video*")), "video", names)


def serial_ports(dev: Path = Path("/dev")) -> Check:
    """List serial ports: arms, grippers and leader arms."""
    return _devices("serial ports", sorted([*dev.glob("ttyUSB*"), *dev.glob("ttyACM*")]), "dialout")


def _devices(name: str, paths: Sequence[Path], usual_group: str, labels: Path | None = None) -> Check:
    if not paths:
        return Check(name, "ok", "none")
    found = ", ".join(f"{path}{_label(labels, path)}" for path in paths)
    closed = [path for path in paths if not os.access(path, os.R_OK | os.W_OK)]
    if closed:
        group = _group(closed[0]) or usual_group
        refused = ", ".join(str(path) for path in closed)
        return Check(name, "warn", f"{found}; no permission: {refused}", f"sudo usermod -aG {group} $USER, log in again")
    return Check(name, "ok", found)


def _label(labels: Path | None, path: Path) -> str:
    file = labels / path.name / "name" if labels else None
    return f" ({file.read_text(encoding='utf-8').strip()})" if file and file.is_file() else ""


def _group(path: Path) -> str:
    try:
        return grp.getgrgid(path.stat().st_gid).gr_name
    except (KeyError, OSError):
        return ""


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _render(backend: str) -> str:
    """Return ``1.2 ms``, or why it does not work."""
    environment = {**os.environ, "MUJOCO_GL": backend, "PYTHONWARNINGS": "ignore"}
    try:
        done = subprocess.run(
            [sys.executable, "-c", _RENDER],
            env=environment,
            capture_output=True,
            text=True,
            timeout=RENDER_LIMIT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"no frame within {RENDER_LIMIT_S:g} s"
    if done.returncode != 0:
        return "does not work" if done.returncode > 0 else f"crashed (signal {-done.returncode})"
    result = json.loads(done.stdout.splitlines()[-1])
    return f"{result['ms']:.1f} ms" if result["contrast"] > 0 else "renders black"
