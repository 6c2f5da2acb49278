"""ACT-JEPA: action chunks and the latent future from one encoder (Vujinovic and Kovacevic, arXiv 2501.14622).

Beside the chunk, the policy predicts how the states of the next h steps will look to a slow copy of its own encoder, a joint
embedding predictive architecture (Assran et al., CVPR 2023), which teaches the encoder what happens next:

    L = mean | a - pi(c) | + jepa_weight mean | p(c) - f'(s_{t+1} .. s_{t+h}, g) |,   c = f(s_t, images, g)

with encoder f, predictor p, action decoder pi, and the target encoder f', whose weights follow f's:
``f' <- m f' + (1 - m) f`` after every update, m rising on a line from 0.996 to 1. No gradient goes into f'. Both means are over
steps that are no padding.

``stage: joint`` trains everything at once, as published. ``pretrain`` trains f and p alone, for which actions are not needed:
play without actions and failed episodes will do. ``decoder`` trains pi alone on a frozen f: with ``train init_from=CHECKPOINT``
the paper's two-stage ablation. ``jepa_weight: 0`` is its "no JEPA loss".
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from robot_learning.core.arguments import check_arguments
from robot_learning.core.errors import CheckpointError, ConfigError, UnknownName
from robot_learning.core.spec import RobotSpec
from robot_learning.core.types import Stats
from robot_learning.nn.attention import SequencePredictor
from robot_learning.nn.denoiser import masked_mean
from robot_learning.nn.target import SlowCopy, linear_momentum
from robot_learning.policies.act.chunks import ChunkPolicy
from robot_learning.policies.act.networks import ChunkDecoder, SequenceEncoder, sizes_of

Stage = Literal["joint", "pretrain", "decoder"]


class ACTJEPA(ChunkPolicy):
    """Action chunking with a joint embedding predictive architecture.

    Args:
        spec: The robot.
        statistics: Statistics of the training data: ``action`` and every key used.
        observation_keys: Observation keys to condition on; those that are no images are also what is predicted.
        goal_keys: Goal keys to condition on; empty for none.
        horizon: Steps h of the chunk and of the predicted future; 30 in ACT-JEPA.
        stage: ``joint``, ``pretrain`` or ``decoder``.
        jepa_weight: Weight of the error of the predicted future; 1 in ACT-JEPA.
        momentum: Momentum of the target encoder's first update; it rises to 1.
        encoder: Sizes of the encoder, see :class:`robot_learning.nn.attention.Sizes`.
        predictor: Sizes of the predictor, see :class:`robot_learning.nn.attention.SequencePredictor`.
        decoder: Sizes of the decoder; its width is the encoder's.
        vision: Settings of :class:`robot_learning.nn.cameras.Cameras`; what is missing is :data:`.networks.RESNET`.
        interchangeable: Keys that hold several like objects, see :class:`robot_learning.policies.window.WindowEncoder`.
        language: ``_target_`` and settings of what reads instructions; None is the default of
            :class:`robot_learning.policies.window.WindowEncoder`.
    """

    def __init__(
        self,
        spec: RobotSpec,
        statistics: Mapping[str, Stats],
        *,
        observation_keys: Sequence[str],
        goal_keys: Sequence[str] = (),
        horizon: int = 30,
        stage: Stage = "joint",
        jepa_weight: float = 1.0,
        momentum: float = 0.996,
        encoder: Mapping[str, Any],
        predictor: Mapping[str, Any] | None = None,
        decoder: Mapping[str, Any],
        vision: Mapping[str, Any] | None = None,
        interchangeable: Mapping[str, int] | None = None,
        language: Mapping[str, Any] | None = None,
    ) -> None:
        """Build the networks and freeze those that the stage does not train."""
        sizes = sizes_of(encoder)
        width = sizes.width
        super().__init__(
            spec,
            statistics,
            observation_keys=observation_keys,
            goal_keys=goal_keys,
            horizon=horizon,
            width=width,
            vision=vision,
        )
        if stage not in get_args(Stage):
            raise UnknownName("stage", stage, get_args(Stage))
        if jepa_weight < 0 or not 0 <= momentum <= 1 or (stage == "pretrain" and not jepa_weight):
            raise ConfigError(
                "ACTJEPA: expected jepa_weight >= 0 (above 0 to pretrain) and momentum in [0, 1], "
                f"got {jepa_weight} and {momentum}"
            )
        self.stage, self.jepa_weight, self.momentum = stage, jepa_weight, momentum
        self.encoder = SequenceEncoder(self.state_tokens(statistics, width, interchangeable, language), sizes)
        self.target = SlowCopy(self.encoder)
        check_arguments(SequencePredictor, ("inputs", "outputs", "count", *(predictor or {})), what="predictor")
        self.predictor = SequencePredictor(width, width, horizon, **(predictor or {}))
        self.decoder = ChunkDecoder(sizes_of(decoder, width=width), horizon, spec.action.shape[0])
        if stage != "decoder" and jepa_weight > 0:
            self.n_future = horizon
            self.future_keys = self.encoder.tokens.window.observation_keys
        if stage == "pretrain":
            self.decoder.requires_grad_(False)
            self.untrained = ("actions", "decoder")
        if stage == "decoder":
            for part in self._representation():
                part.requires_grad_(False)

    def loss(self, batch: Mapping[str, Any], generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss of the stage (see the module's formula) and its parts."""
        goal = self.goal_of(batch)
        context = self._context(batch["observation"], goal, generator if self.training else None)
        parts: dict[str, Tensor] = {}
        if self.stage != "pretrain":
            parts["l1"] = self.action_error(self.decoder(context), batch)
        if self.n_future:
            parts["jepa"] = self._future_error(context, goal, batch)
        return parts.get("l1", 0.0) + self.jepa_weight * parts.get("jepa", torch.zeros(())), parts

    def after_step(self, step: int, steps: int) -> None:
        """Let the target encoder follow the encoder."""
        if self.stage != "decoder":
            self.target.follow(self.encoder, linear_momentum(self.momentum, step, steps))

    def train(self, mode: bool = True) -> "ACTJEPA":
        """Switch dropout on or off; a frozen encoder has none."""
        super().train(mode)
        if self.stage == "decoder":
            for part in self._representation():
                part.eval()
        return self

    def chunk(self, observation: Mapping[str, Tensor], goal: Mapping[str, Tensor]) -> Float[Tensor, "b h a"]:
        """Return the scaled chunk; raises :class:`CheckpointError` for a policy that was only pretrained."""
        if self.untrained:
            raise CheckpointError(
                "this policy was pretrained without actions and cannot act yet; train its decoder with "
                "`train policy=act_jepa policy.stage=decoder init_from=CHECKPOINT`, or all of it with policy.stage=joint"
            )
        chunk: Tensor = self.decoder(self._context(observation, goal))
        return chunk

    def represent(self, observation: Mapping[str, Tensor], goal: Mapping[str, Tensor]) -> Float[Tensor, "b k w"]:
        """Return the context encoder's tokens."""
        return self._context(observation, goal)

    def _context(
        self, observation: Mapping[str, Tensor], goal: Mapping[str, Tensor], augment: torch.Generator | None = None
    ) -> Float[Tensor, "b k w"]:
        images = None
        if self.images is not None:
            cells, places = self.images(observation, goal, augment)
            images = cells + places
        context: Tensor = self.encoder(observation, goal, images)
        return context

    def _future_error(
        self, context: Float[Tensor, "b k w"], goal: Mapping[str, Tensor], batch: Mapping[str, Any]
    ) -> Float[Tensor, ""]:
        """Return how far the predicted future lies from what the target encoder makes of the real one."""
        mask = batch["future_mask"]
        wanted = self.target(batch["future"], goal, first=1, mask=mask)[:, 1:]
        return masked_mean((self.predictor(context, mask).float() - wanted.float()).abs(), mask)

    def _representation(self) -> list[torch.nn.Module]:
        """Return the parts that pretraining trains."""
        return [self.encoder, self.predictor, *([] if self.images is None else [self.images])]
