"""The ways in which the scripted operator does each task; it draws one for each attempt.

People do not always do a thing in the same way, and methods that learn from play differ in what they make of that. So
a button is pressed with the closed hand, turned or not, or with a finger of the open one; a handle is pushed or
gripped, a block pushed or dragged. Nothing in the scene tells which it will be, and that is the point.
"""

import numpy as np

from robot_learning.sim.operator import blocks, furniture
from robot_learning.sim.operator.motion import Factory


def _press(index: int) -> tuple[Factory, ...]:
    return furniture.press(index, 0.0), furniture.press(index, np.pi / 2), furniture.press(index, 0.0, finger=True)


WAYS: dict[str, tuple[Factory, ...]] = {
    "grasp_lift": (blocks.fetch,),
    "grasp_upright": (blocks.lift,),
    "grasp_flat": (blocks.lift,),
    "open_sliding": (furniture.push_door(True), furniture.grip_door(True)),
    "close_sliding": (furniture.push_door(False), furniture.grip_door(False)),
    "open_drawer": (furniture.hook_drawer(True), furniture.grip_drawer(True)),
    "close_drawer": (furniture.hook_drawer(False), furniture.grip_drawer(False)),
    "sweep_object": (blocks.push_into_drawer, blocks.carry_into_drawer),
    "knock_object": (blocks.topple,),
    "push_red_button": _press(0),
    "push_green_button": _press(1),
    "push_blue_button": _press(2),
    "rotate_left": (blocks.turn(1),),
    "rotate_right": (blocks.turn(-1),),
    "sweep_left": (blocks.push(1), blocks.drag(1)),
    "sweep_right": (blocks.push(-1), blocks.drag(-1)),
    "put_into_shelf": (blocks.put_into_shelf,),
    "pull_out_of_shelf": (blocks.fetch,),
}
"""The ways of doing each task, by the task's name; each is as likely."""
