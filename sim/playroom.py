"""The play table's furniture as MJCF, after the playroom of Lynch et al., "Learning Latent Plans from Play", CoRL 2019.

World frame: origin at the arm's base, x away from the arm, y to its left, z up; the desk's surface is z = 0. On the
desk: a row of three buttons at the left, three blocks in the middle; at the back a cabinet whose left half is a shelf,
covered by a door that slides to the right; under the front edge a drawer that opens toward the arm. Everything is
within reach of a gripper that points down. Geometry is our own; all lengths in metres.
"""

from robot_learning.sim import panda

DESK_FRONT = 0.44
DESK_HALF_WIDTH = 0.42
DESK_BACK = 0.82

DRAWER_Y = -0.10
DRAWER_TRAVEL = 0.155
DRAWER_HALF_WIDTH = 0.125
DRAWER_DEPTH = 0.165
DRAWER_FLOOR = -0.055
DRAWER_HANDLE_X = DESK_FRONT - 0.050
"""Centre of the handle bar when the drawer is closed."""
DRAWER_HANDLE_GAP = 0.023
"""From the bar's centre to the middle of the gap behind it."""

SHELF_X = 0.70
SHELF_Y = 0.115
SHELF_HALF = (0.072, 0.098)
SHELF_FLOOR = 0.006
SHELF_WALL = 0.036
DOOR_TRAVEL = 0.215
DOOR_HANDLE_X = 0.665
DOOR_HANDLE_Z = 0.075

BUTTON_X = (0.46, 0.55, 0.64)
BUTTON_Y = 0.32
BUTTON_TOP = 0.034
BUTTON_TRAVEL = 0.014
BUTTON_ON = 0.009
"""Depression beyond which a press counts [m]."""
BUTTON_OFF = 0.004
"""Depression below which a button is armed again [m]."""
BUTTON_NAMES = ("red", "green", "blue")

RENDER_WIDTH, RENDER_HEIGHT = 1280, 960
"""Largest image that can be rendered [pixels]."""

BLOCK_HALF = (0.05, 0.02, 0.02)
"""Half lengths of a block; its long axis is its x axis."""
BLOCK_NAMES = ("orange", "purple", "teal")

_BUTTON_RGBA = ("0.85 0.16 0.16 1", "0.15 0.66 0.25 1", "0.15 0.35 0.85 1")
LIGHT_OFF = ((0.30, 0.12, 0.12, 1.0), (0.10, 0.24, 0.13, 1.0), (0.10, 0.15, 0.30, 1.0))
LIGHT_ON = ((1.0, 0.30, 0.25, 1.0), (0.35, 1.0, 0.45, 1.0), (0.40, 0.62, 1.0, 1.0))
_BLOCK_RGBA = ("0.96 0.52 0.13 1", "0.55 0.27 0.75 1", "0.10 0.62 0.62 1")


def model_xml() -> str:
    """Return the whole play table: arm, desk, drawer, cabinet with its door, buttons, lights, blocks, cameras."""
    return f"""
<mujoco model="play_table">
  <compiler angle="radian" autolimits="true"/>
  <option timestep="0.002" integrator="implicitfast" impratio="2" cone="elliptic" iterations="50" ls_iterations="40"/>
  <size memory="8M"/>
  <visual>
    <quality shadowsize="0" offsamples="0" numslices="16" numstacks="8" numquads="2"/>
    <global offwidth="{RENDER_WIDTH}" offheight="{RENDER_HEIGHT}"/>
    <headlight ambient="0.42 0.42 0.44" diffuse="0.45 0.45 0.45" specular="0.1 0.1 0.1"/>
    <map znear="0.02" zfar="20"/>
  </visual>
  <default>
    <default class="furniture">
      <geom contype="2" conaffinity="0" condim="3" friction="0.7 0.005 0.0001" type="box"/>
    </default>
    <default class="decor"><geom contype="0" conaffinity="0" group="1" mass="0"/></default>
    <default class="block">
      <geom type="box" contype="4" conaffinity="6" condim="4" friction="0.7 0.005 0.0001" mass="0.08" solref="0.008 1"/>
    </default>
    {panda.DEFAULTS_XML}
  </default>
  <asset>
    {panda.ASSETS_XML}
    <texture name="sky" type="skybox" builtin="gradient" rgb1="0.78 0.84 0.90" rgb2="0.95 0.96 0.98" width="64"
             height="64"/>
    <texture name="floor" type="2d" builtin="checker" rgb1="0.66 0.68 0.71" rgb2="0.72 0.74 0.77" width="128"
             height="128"/>
    <material name="floor" texture="floor" texrepeat="8 8" specular="0"/>
    <material name="wood" rgba="0.83 0.70 0.53 1" specular="0.15" shininess="0.3"/>
    <material name="dark_wood" rgba="0.55 0.41 0.28 1" specular="0.15" shininess="0.3"/>
    <material name="inlay" rgba="0.93 0.90 0.84 1" specular="0.1"/>
    <material name="metal" rgba="0.35 0.37 0.40 1" specular="0.7" shininess="0.7"/>
    <material name="glass" rgba="0.55 0.75 0.85 0.55" specular="0.6" shininess="0.8"/>
  </asset>
  <worldbody>
    {panda.body_xml()}
    <light pos="0.2 -0.6 1.8" dir="0.15 0.35 -1" directional="true" diffuse="0.45 0.45 0.43" specular="0.2 0.2 0.2"/>
    <geom class="furniture" type="plane" size="3 3 0.1" pos="0 0 -0.62" material="floor"/>
    <geom class="decor" type="cylinder" size="0.11 0.31" pos="0 0 -0.31" material="metal"/>
    {_cameras_xml()}
    {_desk_xml()}
    {_drawer_xml()}
    {_cabinet_xml()}
    {_buttons_xml()}
    {_blocks_xml()}
  </worldbody>
  {panda.actuator_xml()}
</mujoco>"""


def _cameras_xml() -> str:
    return """
    <camera name="static" pos="1.36 0 0.78" xyaxes="0 1 0 -0.70 0 0.714" fovy="44"/>
    <camera name="front" pos="1.05 -0.85 0.80" xyaxes="0.82 0.57 0 -0.34 0.49 0.80" fovy="46"/>"""


def _desk_xml() -> str:
    depth = (DESK_BACK - DESK_FRONT) / 2
    centre = (DESK_BACK + DESK_FRONT) / 2
    legs = "".join(
        f'<geom class="decor" type="box" size="0.02 0.02 0.30" pos="{x} {y} -0.315" material="dark_wood"/>'
        for x in (DESK_FRONT + 0.03, DESK_BACK - 0.03)
        for y in (-DESK_HALF_WIDTH + 0.03, DESK_HALF_WIDTH - 0.03)
    )
    return f"""
    <geom name="desk" class="furniture" size="{depth} {DESK_HALF_WIDTH} 0.005" pos="{centre} 0 -0.005" material="wood"/>
    <geom class="decor" type="box" size="{depth - 0.02} {DESK_HALF_WIDTH - 0.02} 0.03" pos="{centre + 0.02} 0 -0.105"
          material="dark_wood"/>
    {legs}"""


def _drawer_xml() -> str:
    d, w, floor = DRAWER_DEPTH / 2, DRAWER_HALF_WIDTH, DRAWER_FLOOR
    wall = (-0.014 - floor) / 2
    middle = floor + wall
    handle = DRAWER_HANDLE_X - DESK_FRONT - d
    return f"""
    <body name="drawer" pos="{DESK_FRONT + d} {DRAWER_Y} 0">
      <inertial mass="0.8" pos="0 0 {middle}" diaginertia="0.004 0.004 0.004"/>
      <joint name="drawer" type="slide" axis="-1 0 0" range="0 {DRAWER_TRAVEL}" damping="8" frictionloss="1.5"/>
      <geom class="furniture" size="{d} {w} 0.004" pos="0 0 {floor - 0.004}" material="inlay"/>
      <geom class="furniture" size="0.005 {w + 0.006} {wall + 0.004}" pos="{-d - 0.005} 0 {middle - 0.004}"
            material="wood"/>
      <geom class="furniture" size="0.004 {w} {wall}" pos="{d + 0.004} 0 {middle}" material="inlay"/>
      <geom class="furniture" size="{d} 0.004 {wall}" pos="0 {w + 0.002} {middle}" material="inlay"/>
      <geom class="furniture" size="{d} 0.004 {wall}" pos="0 {-w - 0.002} {middle}" material="inlay"/>
      <geom class="furniture" size="0.006 0.075 0.020" pos="{handle} 0 -0.030" material="metal"/>
      <geom class="decor" type="box" size="0.022 0.006 0.006" pos="{handle + 0.022} 0.066 -0.040" material="metal"/>
      <geom class="decor" type="box" size="0.022 0.006 0.006" pos="{handle + 0.022} -0.066 -0.040" material="metal"/>
    </body>"""


def _cabinet_xml() -> str:
    (hx, hy), wall = SHELF_HALF, SHELF_WALL / 2
    right = SHELF_Y - hy - 0.008
    lights = "".join(
        f'<geom name="light_{name}" class="decor" type="sphere" size="0.016" pos="{SHELF_X + hx + 0.03} {y} 0.085" '
        f'rgba="{" ".join(map(str, LIGHT_OFF[index]))}"/>'
        for index, (name, y) in enumerate(zip(BUTTON_NAMES, (0.08, 0.0, -0.08), strict=True))
    )
    return f"""
    <geom class="furniture" size="{hx} {hy} {SHELF_FLOOR / 2}" pos="{SHELF_X} {SHELF_Y} {SHELF_FLOOR / 2}"
          material="inlay"/>
    <geom class="furniture" size="0.004 {hy + 0.008} {wall}" pos="{SHELF_X - hx - 0.004} {SHELF_Y} {wall}"
          material="dark_wood"/>
    <geom class="furniture" size="0.004 {hy + 0.008} {wall}" pos="{SHELF_X + hx + 0.004} {SHELF_Y} {wall}"
          material="dark_wood"/>
    <geom class="furniture" size="{hx} 0.004 {wall}" pos="{SHELF_X} {SHELF_Y + hy + 0.004} {wall}"
          material="dark_wood"/>
    <geom class="furniture" size="{hx + 0.008} {DOOR_TRAVEL / 2} {wall}"
          pos="{SHELF_X} {right - DOOR_TRAVEL / 2} {wall}" material="dark_wood"/>
    <geom class="decor" type="box" size="0.012 0.24 0.036" pos="{SHELF_X + hx + 0.03} 0 0.036" material="dark_wood"/>
    {lights}
    <body name="door" pos="{SHELF_X} {SHELF_Y} {SHELF_WALL + 0.005}">
      <inertial mass="0.4" pos="0 0 0" diaginertia="0.002 0.002 0.002"/>
      <joint name="door" type="slide" axis="0 -1 0" range="0 {DOOR_TRAVEL}" damping="6" frictionloss="1.0"/>
      <geom class="furniture" size="{hx + 0.004} {hy + 0.006} 0.004" material="glass"/>
      <geom class="furniture" size="0.045 0.008 0.024" pos="{DOOR_HANDLE_X - SHELF_X} 0 0.028" material="metal"/>
    </body>"""


def _buttons_xml() -> str:
    return "".join(
        f"""
    <geom class="furniture" type="cylinder" size="0.036 0.008" pos="{x} {BUTTON_Y} 0.008" material="metal"/>
    <body name="button_{name}" pos="{x} {BUTTON_Y} {BUTTON_TOP - 0.010}" gravcomp="1">
      <joint name="button_{name}" type="slide" axis="0 0 -1" range="0 {BUTTON_TRAVEL}" stiffness="150" damping="3"
             armature="0.02"/>
      <geom class="furniture" type="cylinder" size="0.027 0.010" rgba="{rgba}" mass="0.03"/>
    </body>"""
        for name, x, rgba in zip(BUTTON_NAMES, BUTTON_X, _BUTTON_RGBA, strict=True)
    )


def _blocks_xml() -> str:
    size = " ".join(str(half) for half in BLOCK_HALF)
    return "".join(
        f"""
    <body name="block_{name}" pos="0.5 {0.15 * index - 0.15} 0.02">
      <freejoint name="block_{name}"/>
      <geom class="block" size="{size}" rgba="{rgba}"/>
    </body>"""
        for index, (name, rgba) in enumerate(zip(BLOCK_NAMES, _BLOCK_RGBA, strict=True))
    )
