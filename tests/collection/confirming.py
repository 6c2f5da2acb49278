"""Collect one-second episodes of play for ever and say when each is safe; the kill -9 test's victim."""

import sys

from robot_learning.cli.collect import Recipe, collect
from robot_learning.datasets.store import DemoStore
from robot_learning.sim.operator.operators import PlayOperator
from robot_learning.sim.suites.play_table import PlayTableSuite

if __name__ == "__main__":
    recipe = Recipe(PlayTableSuite, PlayOperator, max_steps=20, operator="play")
    spec = PlayTableSuite().make_robot().spec
    with DemoStore.create(sys.argv[1], spec) as store:
        for number, _ in enumerate(collect(store, recipe, range(10_000), workers=0)):
            print(f"finished {number}", flush=True)
