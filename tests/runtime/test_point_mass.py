from tests.contracts.robot import RobotContract
from tests.runtime.point_mass import PointMass


class TestPointMass(RobotContract):
    def make_robot(self):
        return PointMass()
