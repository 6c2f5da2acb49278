"""Diffusion Policy (Chi, Feng, Du, Xu, Cousineau, Burchfiel, Song, RSS 2023): a chunk of actions denoised by a DDPM.

    L = E [ || eps - eps_theta(sqrt(abar_k) a + sqrt(1 - abar_k) eps, s, k) ||^2 ],   k ~ U{0 .. K-1},  eps ~ N(0, 1)

with K = 100 steps of the squared-cosine schedule. To act, a chunk of noise passes all K steps (``ddpm``; Ho et al., NeurIPS
2020) or a few of them (``ddim``; Song et al., ICLR 2021). Schedules and steps are those of ``diffusers``.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from diffusers import DDIMScheduler, DDPMScheduler
from torch import Tensor

from robot_learning.core.errors import ConfigError
from robot_learning.core.spec import RobotSpec
from robot_learning.core.types import Stats
from robot_learning.nn.denoiser import masked_mean
from robot_learning.nn.normalizer import MinMax
from robot_learning.nn.parts import build_part
from robot_learning.policies.policy import LearnedPolicy, Tensors
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
        network: ``_target_`` and settings of the noise-prediction network: :class:`.transformer.NoiseTransformer` or
            :class:`.unet.NoiseUNet`.
        train_steps: Diffusion steps K.
        sampler: ``ddpm`` or ``ddim``.
        steps: Steps taken when acting; None takes all K.
        vision: Settings of :class:`robot_learning.nn.cameras.Cameras`; None: a small encoder for each camera.
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
        n_obs: int = 2,
        horizon: int = 9,
        network: Mapping[str, Any],
        train_steps: int = 100,
        sampler: str = "ddpm",
        steps: int | None = None,
        vision: Mapping[str, Any] | None = None,
        interchangeable: Mapping[str, int] | None = None,
        language: Mapping[str, Any] | None = None,
    ) -> None:
        """Build encoder, network and schedule."""
        super().__init__(spec, observation_keys, goal_keys, n_obs, horizon)
        steps = train_steps if steps is None else steps
        if sampler not in SCHEDULERS or not 1 <= steps <= train_steps:
            raise ConfigError(
                f"DiffusionPolicy: expected sampler {' or '.join(SCHEDULERS)} and steps from 1 to train_steps {train_steps}, "
                f"got {sampler!r} and {steps}"
            )
        self.encoder = WindowEncoder(spec, statistics, observation_keys, goal_keys, vision, interchangeable, language=language)
        self.actions = MinMax(fitting(statistics, "action", spec.action))
        sizes = self.encoder.related_sizes
        self.network = build_part(network, n_obs=n_obs, horizon=horizon, **sizes, action_size=spec.action.shape[0])
        self.schedule = SCHEDULERS[sampler](train_steps, beta_schedule="squaredcos_cap_v2", prediction_type="epsilon")
        self.schedule.set_timesteps(steps)
        self.noise_shape, self.repeatable = (n_obs - 1 + horizon, spec.action.shape[0]), sampler == "ddim"

    def loss(self, batch: Mapping[str, Any], generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the error of the predicted noise (see the module's formula), over unpadded actions."""
        clean = self.actions(batch["action"].float())
        states, goal = self.encoder.see(batch["observation"], batch.get("goal"), generator if self.training else None)
        steps = len(self.schedule.alphas_cumprod)
        step = torch.randint(steps, (len(clean),), generator=generator, device=generator.device).to(clean.device)
        noise = torch.randn(clean.shape, generator=generator, device=generator.device).to(clean)
        noisy = self.schedule.add_noise(clean, noise, step)
        predicted = self.network(self.network.context(*self.encoder.relate(states, goal)), noisy, step)
        return masked_mean((predicted.float() - noise) ** 2, batch["action_mask"]), {}

    def forward(self, seen: Tensors, goal: Tensors, noise: Tensor, memory: Tensors) -> tuple[Tensor, Tensors]:
        """Return a chunk ``[b, h, a]`` in raw units; see :class:`robot_learning.policies.policy.LearnedPolicy`.

        ``noise`` is what sampling starts from; what DDPM adds on its way comes from the policy's generator.
        """
        return self.trace(seen, goal, noise)[-1][1], memory

    def trace(self, seen: Tensors, goal: Tensors, noise: Tensor) -> list[tuple[str, Tensor]]:
        """Return the chunk after every step."""
        context = self.network.context(*self.encoder.relate(*self.encoder.see(seen, goal)))
        x, chunks = noise, []
        for step in self.schedule.timesteps.tolist():
            predicted = self.network(context, x, torch.full((len(x),), step, device=x.device))
            x = self.schedule.step(predicted, step, x, generator=self._generator).prev_sample
            chunks.append((f"after step {step}", self.actions.inverse(x[:, self.n_obs - 1 :])))
        return chunks
