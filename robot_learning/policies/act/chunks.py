"""What ACT and ACT-JEPA share: keys, normalisers, images, and how windows and batches become tensors."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from jaxtyping import Float
from torch import Tensor

from robot_learning.core.arguments import check_arguments
from robot_learning.core.errors import SpecMismatch
from robot_learning.core.language import goal_spec
from robot_learning.core.spec import RobotSpec
from robot_learning.core.types import Stats
from robot_learning.nn.cameras import Cameras
from robot_learning.nn.denoiser import masked_mean
from robot_learning.nn.normalizer import SteadyStandardize
from robot_learning.policies.act.networks import ImageTokens, StateTokens
from robot_learning.policies.policy import LearnedPolicy, Tensors
from robot_learning.policies.window import fitting


class ChunkPolicy(LearnedPolicy):
    """A policy that sees one step and a goal, and answers with a chunk of standardised actions.

    Args:
        spec: The robot.
        statistics: Statistics of the training data: ``action`` and every key used.
        observation_keys: Observation keys to condition on; at least one that is no image.
        goal_keys: Goal keys to condition on; empty for none.
        horizon: Steps h in a chunk.
        width: Size of a token.
        vision: Settings of :class:`robot_learning.nn.cameras.Cameras`; what is missing is :data:`.networks.RESNET`.
    """

    def __init__(
        self,
        spec: RobotSpec,
        statistics: Mapping[str, Stats],
        *,
        observation_keys: Sequence[str],
        goal_keys: Sequence[str],
        horizon: int,
        width: int,
        vision: Mapping[str, Any] | None,
    ) -> None:
        """Build the normaliser of actions and, where there are cameras, the encoder of images."""
        super().__init__(spec, observation_keys, goal_keys, n_obs=1, horizon=horizon)
        self.actions = SteadyStandardize(fitting(statistics, "action", spec.action))
        seen, aimed = self._keys(images=True)
        check_arguments(Cameras, ("specs", "observation_keys", "goal_keys", *(vision or {})), what="vision")
        self.images = ImageTokens(spec.observation, seen, aimed, width, vision or {}) if seen or aimed else None

    def state_tokens(
        self,
        statistics: Mapping[str, Stats],
        width: int,
        interchangeable: Mapping[str, int] | None,
        language: Mapping[str, Any] | None,
    ) -> StateTokens:
        """Return a new embedding of the keys that are no images."""
        seen, aimed = self._keys(images=False)
        return StateTokens(self.spec, statistics, seen, aimed, width, interchangeable, language)

    @abstractmethod
    def chunk(self, observation: Mapping[str, Tensor], goal: Mapping[str, Tensor]) -> Float[Tensor, "b h a"]:
        """Return the scaled chunk."""

    @abstractmethod
    def represent(self, observation: Mapping[str, Tensor], goal: Mapping[str, Tensor]) -> Float[Tensor, "b k w"]:
        """Return what the encoder knows of a window, as tokens: what ``robot-learning probe`` looks into."""

    def forward(self, seen: Tensors, goal: Tensors, noise: Tensor, memory: Tensors) -> tuple[Tensor, Tensors]:  # noqa: ARG002
        """Return a chunk ``[b, h, a]`` in raw units; nothing is drawn and nothing remembered."""
        return self.actions.inverse(self.chunk(seen, goal)), memory

    def goal_of(self, batch: Mapping[str, Any]) -> Mapping[str, Tensor]:
        """Return the goals of a batch, empty for a policy without; raises :class:`SpecMismatch` where they are missing."""
        if not self.goal_keys:
            return {}
        if batch.get("goal") is None:
            raise SpecMismatch(f"goal: expected {list(self.goal_keys)}, got none; in training set data.goal to future or final")
        goal: Mapping[str, Tensor] = batch["goal"]
        return goal

    def action_error(self, chunk: Float[Tensor, "b h a"], batch: Mapping[str, Any]) -> Float[Tensor, ""]:
        """Return the mean absolute error of a scaled chunk over unpadded actions."""
        return masked_mean((chunk - self.actions(batch["action"].float())).abs(), batch["action_mask"])

    def _keys(self, *, images: bool) -> tuple[list[str], list[str]]:
        """Return the keys of observation and goal that are images, or those that are not."""
        both = (self.observation_keys, self.goal_keys)
        seen, aimed = ([key for key in keys if goal_spec(self.spec, key).is_image == images] for keys in both)
        return seen, aimed
