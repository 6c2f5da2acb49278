"""What each robosuite task is about: its instruction, and the bodies, joints and sites that make up its ``object_state``.

Everything is read from MuJoCo itself: quaternions are w x y z there, x y z w in robosuite's own observations.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import mujoco
import numpy as np
from numpy.typing import NDArray

from robot_learning.core.errors import UnknownName
from robot_learning.core.spec import ArraySpec

POSE = ("x [m]", "y [m]", "z [m]", "qw", "qx", "qy", "qz")


@dataclass(frozen=True)
class Task:
    """One environment of robosuite.

    Attributes:
        instruction: What is asked, in words.
        bodies: Movable things, by the name of their MuJoCo body: their poses in the world.
        joints: Hinges, by the name of their MuJoCo joint: their angles.
        sites: Points to act on, by the name of their MuJoCo site: their positions in the world.
    """

    instruction: str
    bodies: Mapping[str, str]
    joints: Mapping[str, str] = field(default_factory=dict)
    sites: Mapping[str, str] = field(default_factory=dict)


TASKS: Mapping[str, Task] = {
    "Lift": Task("lift the cube", {"cube": "cube_main"}),
    "Stack": Task("put the red cube onto the green cube", {"red cube": "cubeA_main", "green cube": "cubeB_main"}),
    "Door": Task(
        "open the door",
        {"door": "Door_main"},
        {"hinge": "Door_hinge", "latch": "Door_latch_joint"},
        {"handle": "Door_handle"},
    ),
    "PickPlaceCan": Task("put the can into its bin", {"can": "Can_main"}),
    "NutAssemblySquare": Task("put the square nut onto its peg", {"nut": "SquareNut_main"}),
}


def task_of(name: str) -> Task:
    """Return a task by its name in robosuite."""
    if name not in TASKS:
        raise UnknownName("robosuite task", name, TASKS)
    return TASKS[name]


def state_spec(task: Task) -> ArraySpec:
    """Return the spec of ``object_state``: poses, angles, sites, then bodies and sites as seen from the tool."""
    points = (*task.bodies, *task.sites)
    names = (
        *(f"{body} {axis}" for body in task.bodies for axis in POSE),
        *(f"{joint} [rad]" for joint in task.joints),
        *(f"{site} {axis} [m]" for site in task.sites for axis in "xyz"),
        *(f"{point} from tool {axis} [m]" for point in points for axis in "xyz"),
    )
    return ArraySpec((len(names),), unit="mixed", names=names)


def object_state(task: Task, data: Any, tool: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return the values that :func:`state_spec` names; ``tool`` is the tool's position [m]."""
    bodies = [data.body(name) for name in task.bodies.values()]
    sites = [data.site(name).xpos for name in task.sites.values()]
    points = [body.xpos for body in bodies] + sites
    parts = [np.concatenate((body.xpos, body.xquat)) for body in bodies]
    parts += [data.joint(name).qpos for name in task.joints.values()]
    parts += [*sites, *(point - tool for point in points)]
    return np.concatenate(parts, dtype=np.float32)


def restore(task: Task, model: Any, data: Any, state: NDArray[Any]) -> None:
    """Put the bodies and joints where an ``object_state`` has them, at rest."""
    poses = np.asarray(state, np.float64)[: 7 * len(task.bodies)].reshape(-1, 7)
    for name, pose in zip(task.bodies.values(), poses, strict=True):
        body = model.body(name)
        if body.jntnum[0]:
            joint = model.jnt(body.jntadr[0]).name
            data.joint(joint).qpos[:], data.joint(joint).qvel[:] = pose, 0.0
        else:  # the door's frame is fixed to the world
            body.pos[:], body.quat[:] = pose[:3], pose[3:]
    for name, angle in zip(task.joints.values(), np.asarray(state)[poses.size :], strict=False):
        data.joint(name).qpos[:], data.joint(name).qvel[:] = angle, 0.0
    mujoco.mj_forward(model, data)
