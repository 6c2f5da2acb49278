"""ACT: action chunking with transformers (Zhao, Kumar, Levine, Finn, RSS 2023).

A chunk of actions is predicted at once, as the decoder of a conditional variational autoencoder whose latent z takes up what
the observation does not say (the style of the demonstrator):

    L = mean | a - pi(s, g, z) | + kl_weight KL( q(z | s, a) || N(0, 1) ),   z ~ q

and z = 0 when acting. Asked at every step, with what the chunks say about a step averaged (``evaluate execute=1
ensemble=0.01``), this is the paper's temporal ensembling, see :class:`robot_learning.runtime.actors.ChunkedActor`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from robot_learning.core.errors import ConfigError
from robot_learning.core.spec import RobotSpec
from robot_learning.core.types import Stats
from robot_learning.nn.attention import TransformerEncoder
from robot_learning.policies.act.chunks import ChunkPolicy
from robot_learning.policies.act.networks import ChunkDecoder, Posterior, divergence, sizes_of


class ACT(ChunkPolicy):
    """Action chunking with transformers.

    Args:
        spec: The robot.
        statistics: Statistics of the training data: ``action`` and every key used.
        observation_keys: Observation keys to condition on; at least one that is no image.
        goal_keys: Goal keys to condition on; empty for none, as published.
        horizon: Steps h in a chunk; 100 in ACT.
        cvae: Have a latent z.
        latent: Size of z; 32 in ACT.
        kl_weight: Weight of the KL divergence, which is summed over z and averaged over windows; 10 in ACT.
        encoder: Sizes of the encoder and of the posterior, see :class:`robot_learning.nn.attention.Sizes`.
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
        horizon: int = 100,
        cvae: bool = True,
        latent: int = 32,
        kl_weight: float = 10.0,
        encoder: Mapping[str, Any],
        decoder: Mapping[str, Any],
        vision: Mapping[str, Any] | None = None,
        interchangeable: Mapping[str, int] | None = None,
        language: Mapping[str, Any] | None = None,
    ) -> None:
        """Build the networks."""
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
        if latent < 1 or kl_weight < 0:
            raise ConfigError(f"ACT: expected latent >= 1 and kl_weight >= 0, got {latent} and {kl_weight}")
        self.states = self.state_tokens(statistics, width, interchangeable, language)
        action_size = spec.action.shape[0]
        self.posterior: Posterior | None = None
        if cvae:
            self.posterior = Posterior(self.states.window.observation_size, action_size, latent, sizes)
            self.embed_latent = nn.Linear(latent, width)
        self.positions = nn.Parameter(torch.randn(2 + cvae, width))
        self.encoder = TransformerEncoder(sizes)
        self.decoder = ChunkDecoder(sizes_of(decoder, width=width), horizon, action_size, as_positions=True)
        self.latent, self.kl_weight = latent, kl_weight

    def loss(self, batch: Mapping[str, Any], generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the absolute error of the chunk plus the weighted divergence (see the module's formula), and both parts."""
        augment = generator if self.training else None
        parts: dict[str, Tensor] = {}
        z = None
        if self.posterior is not None:
            state = self.states.window.observe(batch["observation"])[:, -1]
            mean, log_variance = self.posterior(state, self.actions(batch["action"].float()), batch["action_mask"])
            noise = torch.randn(mean.shape, generator=generator, device=generator.device).to(mean.device)
            z = mean + (log_variance / 2).exp() * noise
            parts["kl"] = divergence(mean, log_variance).mean()
        memory, positions = self._encoded(batch["observation"], self.goal_of(batch), z, augment)
        parts["l1"] = self.action_error(self.decoder(memory, positions), batch)
        return parts["l1"] + self.kl_weight * parts.get("kl", 0.0), parts

    def chunk(self, observation: Mapping[str, Tensor], goal: Mapping[str, Tensor]) -> Float[Tensor, "b h a"]:
        """Return the scaled chunk at z = 0, the prior's mean."""
        memory, positions = self._encoded(observation, goal)
        chunk: Tensor = self.decoder(memory, positions)
        return chunk

    def represent(self, observation: Mapping[str, Tensor], goal: Mapping[str, Tensor]) -> Float[Tensor, "b k w"]:
        """Return the encoder's tokens at z = 0."""
        return self._encoded(observation, goal)[0]

    def _encoded(
        self,
        observation: Mapping[str, Tensor],
        goal: Mapping[str, Tensor],
        z: Float[Tensor, "b z"] | None = None,
        augment: torch.Generator | None = None,
    ) -> tuple[Float[Tensor, "b k w"], Float[Tensor, "k w"]]:
        """Return the encoded tokens ``[task, s, z, image cells]`` and their positions; no z is z = 0."""
        tokens: list[Tensor] = [self.states(observation, goal)]
        positions: list[Tensor] = [self.positions]
        if self.posterior is not None:
            z = tokens[0].new_zeros(len(tokens[0]), self.latent) if z is None else z
            tokens.append(self.embed_latent(z).unsqueeze(1))
        if self.images is not None:
            cells, places = self.images(observation, goal, augment)
            tokens, positions = [*tokens, cells], [*positions, places]
        joined = torch.cat(positions)
        return self.encoder(torch.cat(tokens, dim=1), joined), joined
