"""The Franka Panda arm as MJCF: published kinematics, limits and inertias, geometry of our own.

Sources: link transforms, joint limits and torque limits from Franka's URDF (``franka_description``) and the FCI
documentation ("Robot limits for the Panda"); link inertias as identified by Gaz et al., "Dynamic Identification of the
Franka Emika Panda Robot With Retrieval of Feasible Parameters Using Penalty-Based Optimization", RA-L 2019, in the form
the URDF carries them. The shapes are capsules, cylinders and boxes, so that no mesh has to be shipped or rendered.
"""

from dataclasses import dataclass

import numpy as np

JOINT_NAMES = tuple(f"joint{index}" for index in range(1, 8))
FINGER_NAMES = ("finger_left", "finger_right")
JOINT_LOW = np.array([-2.8973, -1.7628, -2.8973, -3.0718, -2.8973, -0.0175, -2.8973])
"""Lower joint limits [rad]."""
JOINT_HIGH = np.array([2.8973, 1.7628, 2.8973, -0.0698, 2.8973, 3.7525, 2.8973])
"""Upper joint limits [rad]."""
JOINT_VELOCITY = np.array([2.1750, 2.1750, 2.1750, 2.1750, 2.6100, 2.6100, 2.6100])
"""Joint velocity limits [rad/s]."""
JOINT_TORQUE = np.array([87.0, 87.0, 87.0, 87.0, 12.0, 12.0, 12.0])
"""Joint torque limits [N m]."""
GRIPPER_MAX_WIDTH = 0.08
"""Opening between the fingers [m]."""
GRIPPER_SPEED = 0.2
"""Rate at which the opening is commanded to change [m/s]; the Franka Hand closes at up to 0.1 m/s a finger."""
HOME = np.array([0.0, -0.30, 0.0, -2.35, 0.0, 2.05, 0.785])
"""A pose with the gripper pointing down over the desk [rad]."""

FLANGE_TO_TIP = 0.1034
"""From the flange to between the fingertips [m]."""


@dataclass(frozen=True)
class _Link:
    """One link: where its frame sits in its parent's, its joint's limits, inertia and looks."""

    pos: str
    quat: str
    mass: float
    com: str
    inertia: str
    geoms: str
    servo: tuple[float, float]


_SHELL = 'class="shell"'
_JOINT = 'class="housing"'
_LINKS = (
    _Link(
        "0 0 0.333", "1 0 0 0", 4.970684, "0.003875 0.002081 -0.04762",
        "0.70337 0.70661 0.0091170 -0.00013900 0.0067720 0.019169",
        f'<geom {_SHELL} type="capsule" size="0.062" fromto="0 0 -0.185 0 0 -0.02"/>'
        f'<geom {_JOINT} type="cylinder" size="0.064 0.012" pos="0 0 -0.195"/>',
        (4500, 300),
    ),
    _Link(
        "0 0 0", "1 -1 0 0", 0.646926, "-0.003141 -0.02872 0.003495",
        "0.0079620 2.8110e-2 2.5995e-2 -3.925e-3 1.0254e-2 7.04e-4",
        f'<geom {_JOINT} type="cylinder" size="0.062 0.072"/>'
        f'<geom {_SHELL} type="capsule" size="0.060" fromto="0 -0.02 0 0 -0.16 0"/>',
        (4500, 300),
    ),
    _Link(
        "0 -0.316 0", "1 1 0 0", 3.228604, "2.7518e-2 3.9252e-2 -6.6502e-2",
        "3.7242e-2 3.6155e-2 1.083e-2 -4.761e-3 -1.1396e-2 -1.2805e-2",
        f'<geom {_SHELL} type="capsule" size="0.058" fromto="0 0 -0.13 0 0 -0.06"/>'
        f'<geom {_SHELL} type="capsule" size="0.052" fromto="0.01 0 -0.05 0.0825 0 0"/>',
        (3500, 230),
    ),
    _Link(
        "0.0825 0 0", "1 1 0 0", 3.587895, "-5.317e-2 1.04419e-1 2.7454e-2",
        "2.5853e-2 1.9552e-2 2.8323e-2 7.796e-3 -1.332e-3 8.641e-3",
        f'<geom {_JOINT} type="cylinder" size="0.056 0.066"/>'
        f'<geom {_SHELL} type="capsule" size="0.052" fromto="-0.01 0.01 0 -0.0825 0.09 0"/>'
        f'<geom {_SHELL} type="capsule" size="0.054" fromto="-0.0825 0.10 0 -0.0825 0.13 0"/>',
        (3500, 230),
    ),
    _Link(
        "-0.0825 0.384 0", "1 -1 0 0", 1.225946, "-1.1953e-2 4.1065e-2 -3.8437e-2",
        "3.5549e-2 2.9474e-2 8.627e-3 -2.117e-3 -4.037e-3 2.29e-4",
        f'<geom {_SHELL} type="capsule" size="0.054" fromto="0 0 -0.25 0 0.02 -0.20"/>'
        f'<geom {_SHELL} type="capsule" size="0.042" fromto="0 0.05 -0.18 0 0.06 -0.05"/>'
        f'<geom {_JOINT} type="capsule" size="0.046" fromto="0 0.02 -0.04 0 0 0.0"/>',
        (2000, 120),
    ),
    _Link(
        "0 0 0", "1 1 0 0", 1.666555, "6.0149e-2 -1.4117e-2 -1.0517e-2",
        "1.964e-3 4.354e-3 5.433e-3 1.09e-4 -1.158e-3 3.41e-4",
        f'<geom {_SHELL} type="cylinder" size="0.048 0.058"/>'
        f'<geom {_SHELL} type="capsule" size="0.046" fromto="0.02 0 0 0.088 0 0.0"/>',
        (2000, 120),
    ),
    _Link(
        "0.088 0 0", "1 1 0 0", 7.35522e-01, "1.0517e-2 -4.252e-3 6.1597e-2",
        "1.2516e-2 1.0027e-2 4.815e-3 -4.28e-4 -1.196e-3 -7.41e-4",
        f'<geom {_SHELL} type="cylinder" size="0.045 0.045" pos="0 0 0.03"/>'
        f'<geom {_JOINT} type="cylinder" size="0.040 0.014" pos="0 0 0.09"/>',
        (2000, 120),
    ),
)  # fmt: skip

DEFAULTS_XML = """
    <default class="shell"><geom contype="0" conaffinity="0" group="1" material="shell" mass="0"/></default>
    <default class="housing"><geom contype="0" conaffinity="0" group="1" material="housing" mass="0"/></default>
    <default class="finger">
      <geom contype="1" conaffinity="6" condim="4" friction="1.6 0.02 0.0001" solimp="0.95 0.99 0.001" solref="0.006 1"
            mass="0" priority="1"/>
    </default>
"""

ASSETS_XML = """
    <material name="shell" rgba="0.93 0.94 0.95 1" specular="0.4" shininess="0.6"/>
    <material name="housing" rgba="0.20 0.22 0.25 1" specular="0.3" shininess="0.4"/>
    <material name="pad" rgba="0.12 0.13 0.15 1" specular="0.1"/>
"""

_GRIPPER_XML = """
    <body name="hand" pos="0 0 0.107" quat="0.9238795 0 0 -0.3826834" gravcomp="1">
      <inertial mass="0.73" pos="-0.01 0 0.03" diaginertia="0.001 0.0025 0.0017"/>
      <geom class="shell" type="box" size="0.030 0.098 0.026" pos="0 0 0.028"/>
      <geom class="housing" type="box" size="0.022 0.085 0.006" pos="0 0 0.056"/>
      <geom name="palm" type="box" size="0.022 0.085 0.028" pos="0 0 0.03" contype="0" conaffinity="4" group="3"
            mass="0"/>
      <site name="tool" pos="0 0 {tip}" size="0.005" group="4"/>
      <camera name="wrist" pos="0.075 0 0.02" quat="0.062 0.704 0.704 0.062" fovy="75"/>
      <body name="finger_left" pos="0 0 0.0584" gravcomp="1">
        <inertial mass="0.015" pos="0 0 0.02" diaginertia="2.375e-6 2.375e-6 7.5e-7"/>
        <joint name="finger_left" type="slide" axis="0 1 0" range="0 0.04" damping="6" armature="0.05"/>
        <geom class="finger" type="box" size="0.011 0.006 0.0225" pos="0 0.006 0.0225" material="pad"/>
      </body>
      <body name="finger_right" pos="0 0 0.0584" gravcomp="1">
        <inertial mass="0.015" pos="0 0 0.02" diaginertia="2.375e-6 2.375e-6 7.5e-7"/>
        <joint name="finger_right" type="slide" axis="0 -1 0" range="0 0.04" damping="6" armature="0.05"/>
        <geom class="finger" type="box" size="0.011 0.006 0.0225" pos="0 -0.006 0.0225" material="pad"/>
      </body>
    </body>
"""


def body_xml(*, gripper: bool = True) -> str:
    """Return the arm's MJCF body, base at the origin; without the gripper only the tool site is kept."""
    inner = _GRIPPER_XML.format(tip=FLANGE_TO_TIP) if gripper else _bare_hand()
    for index in range(6, -1, -1):
        link = _LINKS[index]
        inner = (
            f'<body name="link{index + 1}" pos="{link.pos}" quat="{link.quat}" gravcomp="1">'
            f'<inertial mass="{link.mass}" pos="{link.com}" fullinertia="{link.inertia}"/>'
            f'<joint name="{JOINT_NAMES[index]}" axis="0 0 1" range="{JOINT_LOW[index]} {JOINT_HIGH[index]}" '
            f'damping="1" armature="0.1"/>{link.geoms}{inner}</body>'
        )
    base = (
        '<geom class="shell" type="capsule" size="0.075" fromto="-0.06 0 0.05 0 0 0.06"/>'
        '<geom class="housing" type="cylinder" size="0.085 0.02" pos="-0.01 0 0.02"/>'
        '<geom class="shell" type="cylinder" size="0.066 0.06" pos="0 0 0.075"/>'
    )
    return f'<body name="link0">{base}{inner}</body>'


def actuator_xml() -> str:
    """Return stiff joint position servos with the published torque limits, and one servo per finger."""
    joints = "".join(
        f'<position name="{name}" joint="{name}" kp="{link.servo[0]}" kv="{link.servo[1]}" '
        f'ctrlrange="{low} {high}" forcerange="-{torque} {torque}"/>'
        for name, link, low, high, torque in zip(JOINT_NAMES, _LINKS, JOINT_LOW, JOINT_HIGH, JOINT_TORQUE, strict=True)
    )
    fingers = "".join(
        f'<position name="{name}" joint="{name}" kp="900" kv="20" ctrlrange="0 0.04" forcerange="-35 35"/>'
        for name in FINGER_NAMES
    )
    return f"<actuator>{joints}{fingers}</actuator>"


def arm_only_xml() -> str:
    """Return a model of the bare arm with its tool site, for inverse kinematics."""
    return (
        f'<mujoco model="panda_kinematics"><compiler angle="radian"/><default>{DEFAULTS_XML}</default>'
        f"<asset>{ASSETS_XML}</asset><worldbody>{body_xml(gripper=False)}</worldbody></mujoco>"
    )


def _bare_hand() -> str:
    return (
        '<body name="hand" pos="0 0 0.107" quat="0.9238795 0 0 -0.3826834"><inertial mass="0.73" pos="0 0 0.03" '
        f'diaginertia="0.001 0.0025 0.0017"/><site name="tool" pos="0 0 {FLANGE_TO_TIP}"/></body>'
    )
