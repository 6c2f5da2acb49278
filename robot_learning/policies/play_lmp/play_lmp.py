"""Play-LMP: latent motor plans from play (Lynch, Khansari, Xiao, Kumar, Tompson, Levine, Sermanet, CoRL 2019).

Play reaches the same scene in many ways. A latent plan z says which one was taken, so that the policy need not average them:

    L = 1/k sum_t -log pi(a_t | s_t, s_g, z) + beta KL( q(z | s_0 .. s_k) || p(z | s_0, s_g) ),   z ~ q

with q the plan recognition, which sees a whole window of play, p the plan proposal, which sees its first state and the goal,
and pi the plan decoder, a recurrent network with a mixture of discretised logistics over actions. Goals are from hindsight:
where the window ended. To act, z is drawn from the proposal once every ``replan`` steps, and the decoder acts at every step.

Without a plan (``plan: null``) the decoder alone is the paper's Play-GCBC. Networks and KL weight follow MCIL as published with
CALVIN (Mees et al., RA-L 2022); balanced KL, discrete plans and the transformer follow HULC (Mees et al., RA-L 2022).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

from robot_learning.core.errors import ConfigError, SpecMismatch
from robot_learning.core.spec import RobotSpec
from robot_learning.core.types import Stats
from robot_learning.nn.denoiser import masked_mean
from robot_learning.nn.latents import Latent
from robot_learning.nn.normalizer import MinMax
from robot_learning.policies.play_lmp.networks import Decoder, Proposal, within
from robot_learning.policies.policy import LearnedPolicy, build_part
from robot_learning.policies.window import WindowEncoder, fitting


class PlayLMP(LearnedPolicy):
    """Goal-conditioned policy with latent plans.

    Args:
        spec: The robot.
        statistics: Statistics of the training data: ``action`` and every key used.
        observation_keys: Observation keys to condition on.
        goal_keys: Goal keys to condition on; empty for a policy without goals.
        window: Longest window k that a plan is recognised from, in steps; where the goal lies nearer, the window ends there.
        plan: ``_target_`` and settings of the latent, see :mod:`robot_learning.nn.latents`; None is Play-GCBC.
        recognition: ``_target_`` and settings of the plan recognition, see :mod:`.networks`.
        proposal: Settings of the plan proposal.
        decoder: Settings of the plan decoder.
        beta: Weight of the KL divergence.
        balance: Part of the KL's gradient that moves the proposal; None splits nothing, as published.
        replan: Steps between two plans when acting.
        temperature: 1 samples actions from the mixture, 0 takes the mean of the likeliest component.
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
        window: int = 32,
        plan: Mapping[str, Any] | None,
        recognition: Mapping[str, Any] | None = None,
        proposal: Mapping[str, Any] | None = None,
        decoder: Mapping[str, Any] | None = None,
        beta: float = 0.001,
        balance: float | None = None,
        replan: int = 30,
        temperature: float = 1.0,
        image_features: int = 64,
        interchangeable: Mapping[str, int] | None = None,
    ) -> None:
        """Build encoder and networks."""
        super().__init__(spec, observation_keys, goal_keys, n_obs=1, horizon=1)
        if window < 2 or replan < 1 or beta < 0 or temperature < 0 or not 0 <= (balance or 0) <= 1:
            raise ConfigError(
                f"PlayLMP: expected window >= 2, replan >= 1, beta >= 0, temperature >= 0 and balance in [0, 1], got "
                f"{window}, {replan}, {beta}, {temperature} and {balance}"
            )
        if plan is not None and recognition is None:
            raise ConfigError("PlayLMP: a plan needs a recognition network, got none; plan=null is Play-GCBC")
        self.n_action = self.n_future = window
        self.future_keys = self.observation_keys
        self.encoder = WindowEncoder(spec, statistics, observation_keys, goal_keys, image_features, interchangeable)
        self.actions = MinMax(fitting(statistics, "action", spec.action))
        sizes = self.encoder.related_sizes
        present = sizes["state_size"] + sizes["goal_size"]
        self.plan: Latent | None = None if plan is None else build_part(plan, Latent)
        plan_size = 0
        if self.plan is not None and recognition is not None:
            plan_size = self.plan.size
            size = self.plan.parameters_size
            self.recognition = build_part(recognition, inputs=present, outputs=size)
            self.proposal = Proposal(present, size, **(proposal or {}))
        self.decoder = Decoder(present + plan_size, spec.action.shape[0], **(decoder or {}))
        self.beta, self.balance, self.replan, self.temperature = beta, balance, replan, temperature
        self.reset()

    def loss(self, batch: Mapping[str, Any], generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the negative evidence bound per step (see the module's formula) and its two parts, over windows of play."""
        augment = generator if self.training else None
        steps, lengths = self._window(batch, augment)
        parts: dict[str, Tensor] = {}
        inputs = steps[:, :-1]
        if self.plan is not None:
            q, p = self.recognition(steps, lengths + 1), self.proposal(steps[:, 0])
            noise = torch.rand(len(q), self.plan.noise_size, generator=generator, device=generator.device)
            z = self.plan.draw(q, noise.to(q.device))
            inputs = torch.cat([z.unsqueeze(1).expand(-1, inputs.shape[1], -1).to(inputs), inputs], dim=-1)
            parts["kl"] = self.plan.balanced(q, p, self.balance).mean()
        mixture, _ = self.decoder(inputs)
        wanted = self.actions(batch["action"].float())
        mask = batch["action_mask"] & within(lengths, wanted.shape[1])
        parts["nll"] = masked_mean(-mixture.log_prob(wanted).unsqueeze(-1), mask)
        return parts["nll"] + self.beta * parts.get("kl", 0.0), parts

    def reset(self, *, seed: int | None = None) -> None:
        """Start an episode: no plan yet; plans and actions are drawn from ``seed``."""
        self._generator = torch.Generator().manual_seed(0 if seed is None else seed)
        self._plan: Tensor | None = None
        self._memory: Any = None
        self._age = 0

    @torch.inference_mode()
    def act(
        self,
        window: Mapping[str, NDArray[Any]],
        goal: Mapping[str, NDArray[Any]] | None = None,
        *,
        noise: Float[Tensor, "b n"] | None = None,
    ) -> NDArray[np.float32]:
        """Return one action ``[b, 1, a]`` in raw units; see :class:`robot_learning.core.protocols.Policy`.

        The policy remembers its plan from call to call until ``reset``, and so wants one call per control step.
        ``noise`` (uniform; the plan's numbers first) replaces the generator's, for tests and exports.
        """
        present = self._present(window, goal)
        if noise is None:
            noise = torch.rand(len(present), self.noise_size, generator=self._generator)
        noise = noise.to(present.device)
        started = self._plan is not None and len(self._plan) == len(present)
        if not started or self._age % self.replan == 0:
            self._plan, self._memory, self._age = self._propose(present, noise), None, 0
        assert self._plan is not None  # noqa: S101 - proposed above
        mixture, self._memory = self.decoder(torch.cat([self._plan, present], dim=-1).unsqueeze(1), self._memory)
        self._age += 1
        uniform = noise[:, self._plan_noise :].view(len(noise), 1, self.spec.action.shape[0], -1)
        action = mixture.sample(uniform, self.temperature)
        chunk: NDArray[np.float32] = self.actions.inverse(action).cpu().numpy()
        return chunk

    @property
    def noise_size(self) -> int:
        """Return how many uniform numbers one call of ``act`` takes."""
        return self._plan_noise + self.spec.action.shape[0] * (self.decoder.head.components + 1)

    @property
    def _plan_noise(self) -> int:
        return 0 if self.plan is None else self.plan.noise_size

    def _propose(self, present: Tensor, noise: Tensor) -> Float[Tensor, "b z"]:
        if self.plan is None:
            return present.new_zeros(len(present), 0)
        return self.plan.draw(self.proposal(present), noise[:, : self._plan_noise])

    def _present(self, window: Mapping[str, NDArray[Any]], goal: Mapping[str, NDArray[Any]] | None) -> Float[Tensor, "b s"]:
        """Return the newest step and the goal as one vector."""
        states = self.encoder.observe(self.encoder.tensors(window, self.observation_keys, self.n_obs))
        if self.goal_keys and goal is None:
            raise SpecMismatch(f"goal: expected {list(self.goal_keys)}, got none")
        aimed = states.new_zeros(len(states), 0)
        if self.goal_keys and goal is not None:
            aimed = self.encoder.aim(self.encoder.tensors(goal, self.goal_keys, None, len(states)))
        return self._join(states, aimed)[:, 0]

    def _join(self, states: Tensor, goal: Tensor) -> Float[Tensor, "b l s"]:
        related, rest = self.encoder.relate(states, goal)
        return torch.cat([related, rest.unsqueeze(1).expand(-1, related.shape[1], -1)], dim=-1)

    def _window(
        self, batch: Mapping[str, Any], augment: torch.Generator | None
    ) -> tuple[Float[Tensor, "b l s"], Int[Tensor, " b"]]:
        """Return the window's steps, each with the goal, and how many actions of it count: those up to the goal."""
        seen = {key: torch.cat([batch["observation"][key], batch["future"][key]], dim=1) for key in self.observation_keys}
        states = self.encoder.observe(seen, augment)
        lengths = batch["future_mask"].sum(dim=1)
        if not self.goal_keys:
            goal = states.new_zeros(len(states), 0)
        elif batch.get("goal") is None:
            raise SpecMismatch(f"batch: expected a goal with {list(self.goal_keys)}; set data.goal to future or final")
        else:
            goal = self.encoder.aim(batch["goal"], augment)
            lengths = torch.minimum(lengths, batch["goal_steps"])
        return self._join(states, goal), lengths.clamp(min=1)
