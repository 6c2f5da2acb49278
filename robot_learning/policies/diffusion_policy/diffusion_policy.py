"""Diffusion Policy (Chi, Feng, Du, Xu, Cousineau, Burchfiel, Song, RSS 2023): a chunk of actions denoised by a DDPM.

    L = E [ || eps - eps_theta(sqrt(abar_k) a + sqrt(1 - abar_k) eps, s, k) ||^2 ],   k ~ U{0 .. K-1},  eps ~ N(0, 1)

with K = 100 steps of the squared-cosine schedule. To act, a chunk of noise passes all K steps (``ddpm``; Ho et al., NeurIPS
2020) or a few of them (``ddim``; Song et al., ICLR 2021). Schedules and steps are those of ``diffusers``.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from diffusers import DDIMScheduler, DDPMScheduler
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from robot_learning.core.errors import ConfigError, SpecMismatch
from robot_learning.core.spec import RobotSpec
from robot_learning.core.types import Stats
from robot_learning.nn.denoiser import masked_mean
from robot_learning.nn.normalizer import MinMax
from robot_learning.policies.diffusion_policy.network import NoiseTransformer
from robot_learning.policies.policy import LearnedPolicy
from robot_learning.policies.window import WindowEncoder, fitting

SCHEDULERS = {"ddpm": DDPMScheduler, "ddim": DDIMScheduler}


class DiffusionPolicy(LearnedPolicy):
    """Denoising diffusion over chunks of actions, with a goal where there is one.

    Args:
        spec: The robot.
        statistics: Statistics of the training data: ``action`` and every key used.
        observation_keys: Observation keys to condition on.
        goal_keys: Goal keys to condition on; empty, as in the paper, for a policy without goals.
        n_obs: Observed steps.
        horizon: Actions from the newest observed step on; the paper's T counts the ``n_obs - 1`` before it, too.
        network: Settings of the noise-prediction network, see :class:`.network.NoiseTransformer`.
        train_steps: Diffusion steps K.
        sampler: ``ddpm`` or ``ddim``.
        steps: Steps taken when acting; None takes all K.
        image_features: Size of an encoded image.
        interchangeable: Keys that hold several like objects, see :class:`robot_learning.policies.window.WindowEncoder`.
    """

    def __init__(
        self,
        spec: RobotSpec,
        statistics: Mapping[str, Stats],
        *,
        observation_keys: Sequence[str],
        goal_keys: Sequence[str] = (),
        n_obs: int = 2,
        horizon: int = 9,
        network: Mapping[str, Any] | None = None,
        train_steps: int = 100,
        sampler: str = "ddpm",
        steps: int | None = None,
        image_features: int = 64,
        interchangeable: Mapping[str, int] | None = None,
    ) -> None:
        """Build encoder, network and schedule."""
        super().__init__(spec, observation_keys, goal_keys, n_obs, horizon)
        steps = train_steps if steps is None else steps
        if sampler not in SCHEDULERS or not 1 <= steps <= train_steps:
            raise ConfigError(
                f"DiffusionPolicy: expected sampler {' or '.join(SCHEDULERS)} and steps from 1 to train_steps {train_steps}, "
                f"got {sampler!r} and {steps}"
            )
        self.encoder = WindowEncoder(spec, statistics, observation_keys, goal_keys, image_features, interchangeable)
        self.actions = MinMax(fitting(statistics, "action", spec.action))
        sizes = self.encoder.related_sizes
        self.network = NoiseTransformer(n_obs, horizon, **sizes, action_size=spec.action.shape[0], **(network or {}))
        self.schedule = SCHEDULERS[sampler](train_steps, beta_schedule="squaredcos_cap_v2", prediction_type="epsilon")
        self.schedule.set_timesteps(steps)
        self.reset()

    def loss(self, batch: Mapping[str, Any], generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the error of the predicted noise (see the module's formula), over unpadded actions."""
        augment = generator if self.training else None
        clean = self.actions(batch["action"].float())
        states = self.encoder.observe(batch["observation"], augment)
        goal = self._aimed(batch.get("goal"), states, augment)
        steps = len(self.schedule.alphas_cumprod)
        step = torch.randint(steps, (len(clean),), generator=generator, device=generator.device).to(clean.device)
        noise = torch.randn(clean.shape, generator=generator, device=generator.device).to(clean)
        noisy = self.schedule.add_noise(clean, noise, step)
        predicted = self.network(self.network.context(*self.encoder.relate(states, goal)), noisy, step)
        return masked_mean((predicted.float() - noise) ** 2, batch["action_mask"]), {}

    def reset(self, *, seed: int | None = None) -> None:
        """Start an episode: the noise of its chunks is drawn from ``seed``."""
        self._generator = torch.Generator().manual_seed(0 if seed is None else seed)

    @torch.inference_mode()
    def act(
        self,
        window: Mapping[str, NDArray[Any]],
        goal: Mapping[str, NDArray[Any]] | None = None,
        *,
        noise: Float[Tensor, "b n a"] | None = None,
    ) -> NDArray[np.float32]:
        """Return a chunk ``[b, h, a]`` in raw units; see :class:`robot_learning.core.protocols.Policy`.

        ``noise`` (standard normal, ``n_obs - 1 + horizon`` slots) replaces the generator's as what sampling starts from; what
        DDPM adds on its way still comes from the generator.
        """
        states = self.encoder.observe(self.encoder.tensors(window, self.observation_keys, self.n_obs))
        aimed = None
        if goal is not None and self.goal_keys:
            aimed = self.encoder.tensors(goal, self.goal_keys, None, len(states))
        context = self.network.context(*self.encoder.relate(states, self._aimed(aimed, states, None)))
        if noise is None:
            noise = torch.randn(len(states), self.n_obs - 1 + self.horizon, *self.spec.action.shape, generator=self._generator)
        x = noise.to(states)
        for step in self.schedule.timesteps:
            predicted = self.network(context, x, step.to(x.device).expand(len(x)))
            x = self.schedule.step(predicted, step, x, generator=self._generator).prev_sample
        chunk: NDArray[np.float32] = self.actions.inverse(x[:, self.n_obs - 1 :]).cpu().numpy()
        return chunk

    def _aimed(
        self, goal: Mapping[str, Tensor] | None, states: Tensor, augment: torch.Generator | None
    ) -> Float[Tensor, "b g"]:
        if not self.goal_keys:
            return states.new_zeros(len(states), 0)
        if goal is None:
            raise SpecMismatch(f"goal: expected {list(self.goal_keys)}, got none; in training set data.goal to future or final")
        return self.encoder.aim(goal, augment)
