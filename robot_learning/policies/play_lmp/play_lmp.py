"""Play-LMP: latent motor plans from play (Lynch, Khansari, Xiao, Kumar, Tompson, Levine, Sermanet, CoRL 2019).

Play reaches the same scene in many ways. A latent plan z says which one was taken, so that the policy need not average them:

    L = 1/k sum_t -log pi(a_t | s_t, s_g, z) + beta KL( q(z | s_0 .. s_k) || p(z | s_0, s_g) ),   z ~ q

with q the plan recognition, which sees a whole window of play, p the plan proposal, which sees its first state and the goal,
and pi the plan decoder, a recurrent network with a mixture of discretised logistics over actions. Goals are from hindsight:
where the window ended. To act, z is drawn from the proposal once every ``replan`` steps, and the decoder acts at every step.

With ``contexts`` goals are told in several ways (a scene, a picture, words) that share one space, and L is the mean over them:
MCIL (Lynch and Sermanet, RSS 2021).

Without a plan (``plan: null``) the decoder alone is the paper's Play-GCBC. Networks and KL weight follow MCIL as published with
CALVIN (Mees et al., RA-L 2022); balanced KL, discrete plans and the transformer follow HULC (Mees et al., RA-L 2022).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from robot_learning.core.arguments import check_arguments
from robot_learning.core.errors import ConfigError, SpecMismatch
from robot_learning.core.spec import RobotSpec
from robot_learning.core.types import Stats
from robot_learning.nn.denoiser import masked_mean
from robot_learning.nn.latents import Latent
from robot_learning.nn.noise import uniform
from robot_learning.nn.normalizer import MinMax
from robot_learning.nn.parts import build_part
from robot_learning.policies.play_lmp.contexts import SPACE, Aim, GoalSpace, read_contexts
from robot_learning.policies.play_lmp.networks import Decoder, Perceptron, within
from robot_learning.policies.policy import LearnedPolicy, Tensors
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
        contexts: Ways to give a goal by name, each with its goal keys, in place of ``goal_keys``; None is one way.
        goal_space: Settings of the space that they share, see :class:`robot_learning.policies.play_lmp.contexts.GoalSpace`.
        prefer: Context to follow where a goal is given in several; None is the first.
        decoded: Steps per window, drawn anew for every update, that the decoder learns from; None is all, as published.
            Neighbouring steps teach nearly the same, so a few of many windows are worth more than all of few. For decoders
            without memory.
        beta: Weight of the KL divergence.
        balance: Part of the KL's gradient that moves the proposal; None splits nothing, as published.
        replan: Steps between two plans when acting.
        temperature: 1 samples actions from the mixture, 0 takes the mean of the likeliest component.
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
        window: int = 32,
        plan: Mapping[str, Any] | None,
        recognition: Mapping[str, Any] | None = None,
        proposal: Mapping[str, Any] | None = None,
        decoder: Mapping[str, Any] | None = None,
        contexts: Mapping[str, Sequence[str]] | None = None,
        goal_space: Mapping[str, Any] | None = None,
        prefer: str | None = None,
        decoded: int | None = None,
        beta: float = 0.001,
        balance: float | None = None,
        replan: int = 30,
        temperature: float = 1.0,
        vision: Mapping[str, Any] | None = None,
        interchangeable: Mapping[str, int] | None = None,
        language: Mapping[str, Any] | None = None,
    ) -> None:
        """Build encoder and networks."""
        ways = {} if contexts is None else read_contexts(contexts, prefer)
        goal_keys = tuple(dict.fromkeys(key for keys in ways.values() for key in keys)) if ways else goal_keys
        super().__init__(spec, observation_keys, goal_keys, n_obs=1, horizon=1)
        if window < 2 or replan < 1 or beta < 0 or temperature < 0 or not 0 <= (balance or 0) <= 1:
            raise ConfigError(
                f"PlayLMP: expected window >= 2, replan >= 1, beta >= 0, temperature >= 0 and balance in [0, 1], got "
                f"{window}, {replan}, {beta}, {temperature} and {balance}"
            )
        self.n_action = self.n_future = window
        self.future_keys = self.observation_keys
        space = {**SPACE, **(goal_space or {})}
        check_arguments(GoalSpace, ("contexts", "sizes", *space), what="goal_space")
        size = space["size"] if ways else None
        self.encoder = WindowEncoder(
            spec, statistics, observation_keys, goal_keys, vision, interchangeable, language=language, goal_space=size
        )
        self.goals = GoalSpace(ways, self.encoder.sizes, **space) if ways else None
        self.asked_goal_keys = next(iter(ways.values()), self.goal_keys)
        self.actions = MinMax(fitting(statistics, "action", spec.action))
        sizes = self.encoder.related_sizes
        present = sizes["state_size"] + sizes["goal_size"]
        self.plan: Latent | None = None if plan is None else build_part(plan, Latent)
        if self.plan is not None:
            if recognition is None:
                raise ConfigError("PlayLMP: a plan needs a recognition network, got none; plan=null is Play-GCBC")
            states = self.encoder.observation_size
            self.recognition = build_part(recognition, inputs=states, outputs=self.plan.parameters_size)
            self.proposal = Perceptron(present, self.plan.parameters_size, **(proposal or {}))
        plan_size, plan_noise = (0, 0) if self.plan is None else (self.plan.size, self.plan.noise_size)
        self.decoder = Decoder(present + plan_size, spec.action.shape[0], **(decoder or {}))
        self.decoder.check_decoded(decoded)
        self.decoded, self.beta, self.balance, self.replan, self.temperature = decoded, beta, balance, replan, temperature
        self.noise_shape = (plan_noise + self._action_noise,)

    def loss(self, batch: Mapping[str, Any], generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the negative evidence bound per step (see the module's formula) and its two parts, over windows of play.

        With contexts it is the mean over those that the batch has, each over the windows that have it.
        """
        states, goals, lengths = self._window(batch, generator if self.training else None)
        plan = None
        if self.plan is not None:
            q = self.recognition(states, lengths + 1)
            noise = torch.randn(len(q), self.plan.noise_size, generator=generator, device=generator.device)
            plan = q, self.plan.draw(q, noise.to(q.device))
        wanted = self.actions(batch["action"].float())
        mask = batch["action_mask"] & within(lengths, wanted.shape[1])
        first, states = states[:, :1], states[:, :-1]
        if self.decoded is not None:
            draws = torch.rand(len(states), self.decoded, generator=generator, device=generator.device).to(states.device)
            rows, places = torch.arange(len(states), device=states.device).unsqueeze(1), (draws * lengths.unsqueeze(1)).long()
            states, wanted, mask = states[rows, places], wanted[rows, places], mask[rows, places]
        states = torch.cat([first, states], dim=1)
        bounds = {name: self._bound(states, aim, plan, wanted, mask) for name, aim in goals.items()}
        shares = torch.stack([mask.new_ones(()) if has is None else has.any() for _, has in goals.values()]).float()
        parts = {}
        for part in next(iter(bounds.values())):
            each = torch.stack([bound[part] for bound in bounds.values()])
            parts[part] = (each * shares).sum() / shares.sum()
        value = parts["nll"] + self.beta * parts.get("kl", 0.0)
        named = zip(bounds, shares, strict=True)
        alone = {f"nll_{name}": bounds[name]["nll"].where(share > 0, torch.nan) for name, share in named if name}
        return value, parts | alone

    def _bound(
        self, states: Tensor, aim: Aim, plan: tuple[Tensor, Tensor] | None, wanted: Tensor, mask: Tensor
    ) -> dict[str, Tensor]:
        """Return the parts of the evidence bound with goals of one kind, over the windows that have one.

        ``states`` holds each window's first step, which a plan is proposed from, then those to decode.
        """
        goal, has = aim
        steps, parts = self._join(states, goal), {}
        inputs = steps[:, 1:]
        if self.plan is not None and plan is not None:
            q, z = plan
            divergence = self.plan.balanced(q, self.proposal(steps[:, 0]), self.balance)
            parts["kl"] = masked_mean(divergence.view(-1, 1, 1), None if has is None else has.unsqueeze(-1))
            inputs = torch.cat([z.unsqueeze(1).expand(-1, inputs.shape[1], -1).to(inputs), inputs], dim=-1)
        mixture, _ = self.decoder(inputs)
        counted = mask if has is None else mask & has.unsqueeze(-1)
        parts["nll"] = masked_mean(-mixture.log_prob(wanted).unsqueeze(-1), counted)
        return parts

    def forward(self, seen: Tensors, goal: Tensors, noise: Tensor, memory: Tensors) -> tuple[Tensor, Tensors]:
        """Return one action ``[b, 1, a]`` in raw units; see :class:`robot_learning.policies.policy.LearnedPolicy`.

        ``noise`` holds the plan's numbers, then the action's. Every ``replan`` steps there is a new plan, and what the decoder
        remembers begins anew.
        """
        states = self.encoder.observe(seen)
        aimed = self._aims(goal, states, None)[""][0] if self.goals is None else self.goals(self.encoder, goal)
        present = self._join(states, aimed)[:, 0]
        due = (memory["age"] % self.replan == 0).unsqueeze(-1)
        following, told = {"age": memory["age"] + 1}, present
        if self.plan is not None:
            drawn = self.plan.draw(self.proposal(present), noise[:, : self.plan.noise_size])
            following["plan"] = torch.where(due, drawn, memory["plan"])
            told = torch.cat([following["plan"], present], dim=-1)
        hidden = {name: torch.where(due.unsqueeze(-1), 0, memory[name]) for name in self.decoder.blank(0)}
        mixture, state = self.decoder(told.unsqueeze(1), self.decoder.unpacked(hidden))
        for_action = noise[:, -self._action_noise :].view(len(noise), 1, self.spec.action.shape[0], -1)
        action = self.actions.inverse(mixture.sample(uniform(for_action), self.temperature))
        return action, following | self.decoder.packed(state)

    @property
    def goal_choices(self) -> tuple[tuple[str, ...], ...]:
        """Return the goal keys of each context, the preferred one first."""
        return super().goal_choices if self.goals is None else tuple(self.goals.contexts.values())

    def embed(self, batch: Mapping[str, Any]) -> Tensor | None:
        """Return the plan recognised in each window, without noise; None for Play-GCBC."""
        if self.plan is None:
            return None
        states, _, lengths = self._window(batch, None)
        q = self.recognition(states, lengths + 1)
        return self.plan.draw(q, q.new_zeros(len(q), self.plan.noise_size))

    def blank(self, batch: int) -> Tensors:
        """Return the memory that an episode begins with: no plan, and one is due."""
        plan = {} if self.plan is None else {"plan": torch.zeros(batch, self.plan.size)}
        return {"age": torch.zeros(batch, dtype=torch.long), **plan, **self.decoder.blank(batch)}

    @property
    def _action_noise(self) -> int:
        return self.spec.action.shape[0] * (self.decoder.head.components + 1)

    def _join(self, states: Tensor, goal: Tensor) -> Float[Tensor, "b l s"]:
        related, rest = self.encoder.relate(states, goal)
        return torch.cat([related, rest.unsqueeze(1).expand(-1, related.shape[1], -1)], dim=-1)

    def _aims(self, goal: Tensors | None, states: Tensor, augment: torch.Generator | None) -> dict[str, Aim]:
        """Return the goals of a batch by context, under an empty name where there are no contexts."""
        if not self.goal_keys:
            return {"": (states.new_zeros(len(states), 0), None)}
        if not goal:
            raise SpecMismatch(f"goal: expected {list(self.goal_keys)}, got none; in training set data.goal to future or final")
        if self.goals is None:
            return {"": (self.encoder.aim(goal, augment), None)}
        return self.goals.every(self.encoder, goal, augment)

    def _window(
        self, batch: Mapping[str, Any], augment: torch.Generator | None
    ) -> tuple[Float[Tensor, "b l s"], dict[str, Aim], Int[Tensor, " b"]]:
        """Return the window's steps, its goals, and how many actions of it count: those up to the goal."""
        seen = {key: torch.cat([batch["observation"][key], batch["future"][key]], dim=1) for key in self.observation_keys}
        states = self.encoder.observe(seen, augment)
        goals = self._aims(batch.get("goal"), states, augment)
        lengths = batch["future_mask"].sum(dim=1)
        if self.goal_keys:
            lengths = torch.minimum(lengths, batch["goal_steps"])
        return states, goals, lengths.clamp(min=1)
