"""HILP: Hilbert foundation policies (Park, Kreiman, Levine, "Foundation Policies with Hilbert Representations", ICML 2024).

Learned from play without rewards, in two parts that are trained together:

    phi        a representation in which distances are steps: V(s, g) = -||phi(s) - phi(g)||, learned by expectile regression
               of the temporal difference of "minus one for every step until s = g"
    pi(a|s,z)  a policy for every direction z of that space, learned by implicit Q-learning of r = <phi(s') - phi(s), z>

Then it is prompted, without further training: ``goal`` moves along z = (phi(g) - phi(s)) / ||.||, ``plan`` does so by way of
states that were seen, ``reward`` follows the z that explains labelled samples best.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate
from typing import Any, Literal, cast

import torch
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from torch import Tensor, nn

from robot_learning.core.errors import ConfigError, SpecMismatch, UnknownName
from robot_learning.core.spec import RobotSpec
from robot_learning.core.types import Stats, Transitions
from robot_learning.nn.normalizer import MinMax
from robot_learning.nn.parts import build_part
from robot_learning.nn.target import SlowCopy
from robot_learning.policies.hilp.actors import Actor
from robot_learning.policies.hilp.hilbert import (
    distance,
    expectile_weight,
    midpoint,
    solve_reward,
    temporal_difference,
    toward,
)
from robot_learning.policies.hilp.networks import Conditioned, Embedding
from robot_learning.policies.policy import LearnedPolicy, Tensors
from robot_learning.policies.window import WindowEncoder, checked_tensors, fitting

_LARGEST_WEIGHT = 100.0
"""Advantage weights are clipped here (the authors' value)."""


class HILP(LearnedPolicy):
    """A policy for every direction of a Hilbert representation, and the ways to choose one.

    Args:
        spec: The robot.
        statistics: Statistics of the training data: ``action`` and every key used.
        observation_keys: Observation keys that the policy sees; they must hold the goal keys.
        goal_keys: Keys of the scene that phi sees, and of goals; empty: phi sees what the policy sees, and nobody gives goals.
        representation: Sizes of phi: ``size`` (of z), ``width``, ``layers``.
        values: Sizes of Q and V: ``width``, ``layers``, ``pool``.
        actor: ``_target_`` and settings of the actor, see :mod:`.actors`.
        random_goals: Share of phi's goals that are any state; the others come from the same episode's future.
        hindsight: Share of the latents that point to such a future state; the others are uniform on the sphere, as published.
        reach: Distance [steps] below which a latent that points to a goal shrinks in proportion, so that the policy sees when
            it is nearly there; 0 is the paper, whose latents have unit length.
        discount: gamma.
        target_rate: Part by which target networks follow at each step.
        expectile: tau of phi's regression.
        value_expectile: tau of V's regression.
        temperature: Inverse temperature of the advantage weights.
        copied: Goal keys whose values acting copies from the current observation, such as the arm's pose.
        planning: Of the plan prompt: how many states are averaged (``nearest``), how often it halves the way (``halvings``).
        ridge: Of the reward prompt: penalty of the least squares, see :func:`.hilbert.solve_reward`; 0 is the paper.
        vision: Settings of :class:`robot_learning.nn.cameras.Cameras`; None: a small encoder for each camera.
        interchangeable: Keys that hold several like objects, see :class:`robot_learning.policies.window.WindowEncoder`.
    """

    _shown: Tensor

    def __init__(
        self,
        spec: RobotSpec,
        statistics: Mapping[str, Stats],
        *,
        observation_keys: Sequence[str],
        goal_keys: Sequence[str] = (),
        representation: Mapping[str, Any],
        values: Mapping[str, Any],
        actor: Mapping[str, Any],
        random_goals: float = 0.375,
        hindsight: float = 0.0,
        reach: float = 0.0,
        discount: float = 0.99,
        target_rate: float = 0.005,
        expectile: float = 0.95,
        value_expectile: float = 0.9,
        temperature: float = 10.0,
        copied: Sequence[str] = (),
        planning: Mapping[str, int] | None = None,
        ridge: float = 0.0,
        vision: Mapping[str, Any] | None = None,
        interchangeable: Mapping[str, int] | None = None,
    ) -> None:
        """Build encoder, networks and their targets."""
        super().__init__(spec, observation_keys, goal_keys, n_obs=1, horizon=1)
        shares = (random_goals, hindsight, discount, target_rate, expectile, value_expectile)
        if not all(0 <= share <= 1 for share in shares) or min(temperature, reach, ridge) < 0:
            raise ConfigError(
                "HILP: expected shares, discount, target_rate and expectiles from 0 to 1, temperature, reach and ridge >= 0, "
                f"got {shares}, {temperature}, {reach} and {ridge}"
            )
        _check_within("goal", goal_keys, observation_keys)
        _check_within("copied", copied, goal_keys)
        self.n_future, self.future_keys = 1, self.observation_keys
        self.scene_keys = self.goal_keys or self.observation_keys
        self.encoder = WindowEncoder(spec, statistics, observation_keys, self.scene_keys, vision, interchangeable, pools=False)
        places = dict(zip(observation_keys, _split(self.encoder.sizes[key] for key in observation_keys), strict=True))
        shown = [column for key in self.scene_keys for column in places[key]]
        self.register_buffer("_shown", torch.tensor(shown), persistent=False)
        self.actions = MinMax(fitting(statistics, "action", spec.action))
        self._build(representation, values, actor)
        self.random_goals = random_goals if self.goal_keys else 1.0
        self.hindsight, self.reach = hindsight if self.goal_keys else 0.0, reach
        self.discount, self.target_rate, self.temperature = discount, target_rate, temperature
        self.expectile, self.value_expectile = expectile, value_expectile
        self.ridge, self.copied, self._planning = ridge, tuple(copied), {"nearest": 50, "halvings": 3, **(planning or {})}
        self.asked_goal_keys = tuple(key for key in self.goal_keys if key not in copied)
        self.noise_shape = ((0 if self.goal_keys else self.latent_size) + self.actor.noise_size,)
        self._prompt, self._known = "goal", torch.empty(0)

    def _build(self, representation: Mapping[str, Any], values: Mapping[str, Any], actor: Mapping[str, Any]) -> None:
        """Make phi, Q and V twice or once, the actor, and the targets of phi and Q."""
        objects = self.encoder.object_columns(self.scene_keys)
        size = self.spec.action.shape[0]
        self.phi = nn.ModuleList(Embedding(self.encoder.goal_size, objects, **representation) for _ in range(2))
        self.latent_size = int(representation["size"])
        given: dict[str, Any] = {
            "state_size": self.encoder.observation_size,
            "state_objects": self.encoder.object_columns(self.observation_keys),
            "latent_size": self.latent_size,
            "latent_objects": cast(Embedding, self.phi[0]).object_columns,
        }
        self.critic = nn.ModuleList(Conditioned(**given, **values, extra=size, outputs=1) for _ in range(2))
        self.value = Conditioned(**given, **values, outputs=1)
        self.actor: Actor = build_part(actor, Actor, **given, action_size=size)
        self.horizon = self.n_action = self.actor.horizon
        self.phi_target, self.critic_target = SlowCopy(self.phi), SlowCopy(self.critic)

    def after_step(self, step: int, steps: int) -> None:  # noqa: ARG002 - the same at every step
        """Let the target networks follow: ``target <- target + target_rate (weights - target)``."""
        self.phi_target.follow(self.phi, 1.0 - self.target_rate)
        self.critic_target.follow(self.critic, 1.0 - self.target_rate)

    # learning

    def loss(self, batch: Mapping[str, Any], generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the sum of the losses of phi, V, Q and the actor, which touch different weights (but for image encoders)."""
        augment = generator if self.training else None
        state = self.encoder.observe(batch["observation"], augment)[:, -1].float()
        following = self.encoder.observe(batch["future"], augment)[:, 0].float()
        scene, coming = state[:, self._shown], following[:, self._shown]
        actions, mask = self.actions(batch["action"].float()), batch["action_mask"]
        counts = (mask[:, 0] & batch["future_mask"][:, 0]).float()
        future, steps = self._future(batch, scene, augment)
        with torch.autocast(scene.device.type, enabled=False):  # differences of distances need the digits
            goal, same = self._goals(scene, future, steps, generator)
            start, represented, apart = self._represent(scene, coming, goal, same)
            with torch.no_grad():
                end, aimed = self.phi[0](torch.cat([coming, future])).chunk(2)
                latent = self._latents(start, aimed, generator)
                reward = ((end - start) * latent).sum(-1)
            value, critic, advantage = self._value_losses(state, actions[:, 0], following, latent, reward)
        weight = (self.temperature * advantage).exp().clamp(max=_LARGEST_WEIGHT)
        surprise = self.actor.surprise(state, latent, actions, mask, self.actions.moves, generator)
        losses = {"phi": represented, "value": value, "critic": critic, "actor": weight * surprise}
        figures = {"distance": apart, "weight": weight, "surprise": surprise.detach()}
        means = {name: _mean(values, counts) for name, values in (losses | figures).items()}
        return torch.stack([means[name] for name in losses]).sum(), means

    def _represent(
        self, scene: Tensor, coming: Tensor, goal: Tensor, same: Tensor
    ) -> tuple[Float[Tensor, "b z"], Float[Tensor, " b"], Float[Tensor, " b"]]:
        """Return phi(s), detached, the loss of V(s, g) = -||phi(s) - phi(g)|| per sample, and -V."""
        embedded = [phi(torch.cat([scene, goal])).chunk(2) for phi in self.phi]
        with torch.no_grad():
            targets = [target(torch.cat([scene, coming, goal])).chunk(3) for target in self._slow(self.phi_target)]
        values = [-distance(start, end) for start, end in embedded]
        following = [-distance(after, end) for _, after, end in targets]
        now = [-distance(start, end) for start, _, end in targets]
        loss = temporal_difference(values, following, now, same, discount=self.discount, expectile=self.expectile)
        return embedded[0][0].detach(), loss, -values[0].detach()

    def _value_losses(
        self, state: Tensor, action: Tensor, following: Tensor, latent: Tensor, reward: Tensor
    ) -> tuple[Float[Tensor, " b"], Float[Tensor, " b"], Float[Tensor, " b"]]:
        """Return the losses of V and Q per sample, and the advantage (Kostrikov et al., IQL, ICLR 2022, Eqs. 5 to 7)."""
        with torch.no_grad():
            best = torch.minimum(*(target(state, latent, action)[:, 0] for target in self._slow(self.critic_target)))
            wanted = reward + self.discount * self.value(following, latent)[:, 0]
        error = best - self.value(state, latent)[:, 0]
        value = expectile_weight(error, self.value_expectile) * error**2
        first, second = ((critic(state, latent, action)[:, 0] - wanted) ** 2 for critic in self.critic)
        return value, first + second, error.detach()

    @staticmethod
    def _slow(copied: SlowCopy) -> nn.ModuleList:
        return cast(nn.ModuleList, copied.network)

    def _future(
        self, batch: Mapping[str, Any], scene: Tensor, augment: torch.Generator | None
    ) -> tuple[Float[Tensor, "b g"], Tensor]:
        """Return future scenes of the same episode and how many steps ahead they lie; without goal keys the present."""
        if not self.goal_keys:
            return scene, torch.zeros(len(scene), dtype=torch.long, device=scene.device)
        if batch.get("goal") is None:
            raise SpecMismatch(f"batch: expected a goal with {list(self.goal_keys)}; set data.goal to future or final")
        return self.encoder.aim(batch["goal"], augment).float(), batch["goal_steps"]

    def _goals(
        self, scene: Tensor, future: Tensor, steps: Tensor, generator: torch.Generator
    ) -> tuple[Float[Tensor, "b g"], Bool[Tensor, " b"]]:
        """Return phi's goals, and where the goal is the state itself; any state is another one of the batch."""
        order = torch.randperm(len(scene), generator=generator, device=generator.device).to(scene.device)
        anywhere = _uniform(len(scene), generator, scene) < self.random_goals
        own = order == torch.arange(len(order), device=order.device)
        goal = torch.where(anywhere.unsqueeze(-1), scene[order], future)
        return goal, torch.where(anywhere, own, steps == 0)

    def _latents(self, start: Tensor, future: Tensor, generator: torch.Generator) -> Float[Tensor, "b z"]:
        """Return one latent per sample: uniform on the sphere, or toward its future state."""
        latent = torch.randn(start.shape, generator=generator, device=generator.device).to(start)
        latent = nn.functional.normalize(latent, dim=-1)
        pointed = _uniform(len(start), generator, start) < self.hindsight
        return torch.where(pointed.unsqueeze(-1), toward(start, future, self.reach), latent)

    # acting

    @property
    def prompts(self) -> Mapping[str, Literal["nothing", "samples", "rewards"]]:
        """Return the ways to prompt it and what they want, see :class:`robot_learning.core.protocols.Promptable`."""
        return {"goal": "nothing", "plan": "samples", "reward": "rewards"}

    @torch.inference_mode()
    def prompt(self, kind: str, samples: Transitions | None = None) -> None:
        """Act on prompts of this kind from now on, see :class:`robot_learning.core.protocols.Promptable`."""
        if kind not in self.prompts:
            raise UnknownName("prompt", kind, self.prompts)
        if kind != "goal":
            if samples is None or (kind == "reward" and samples.reward is None):
                raise ConfigError(f"{kind} prompt: expected {self.prompts[kind]}, got none")
            start = self._embed(samples.before)
            self._known = self._solve(start, samples) if kind == "reward" else start
        self._prompt, self.goal_optional = kind, kind == "reward"

    def _solve(self, start: Tensor, samples: Transitions) -> Float[Tensor, "1 z"]:
        reward = torch.as_tensor(samples.reward, dtype=start.dtype, device=start.device)
        return solve_reward(self._embed(samples.after) - start, reward, self.ridge).unsqueeze(0)

    def blank(self, batch: int) -> Tensors:
        """Return the memory that an episode begins with: without goal keys, that no direction was drawn yet."""
        return {} if self.goal_keys else {"skill": torch.zeros(batch, self.latent_size)}

    def forward(self, seen: Tensors, goal: Tensors, noise: Tensor, memory: Tensors) -> tuple[Tensor, Tensors]:
        """Return a chunk ``[b, h, a]`` in raw units; see :class:`robot_learning.policies.policy.LearnedPolicy`.

        ``noise`` holds the actor's numbers, then, without goal keys, those of the direction that an episode draws first.
        """
        state = self.encoder.observe(seen)[:, -1]
        if not self.goal_keys:
            drawn = nn.functional.normalize(noise[:, self.actor.noise_size :], dim=-1)
            memory = {"skill": torch.where((memory["skill"] == 0).all(-1, keepdim=True), drawn, memory["skill"])}
        if self._prompt == "reward":
            latent = self._known.to(state).expand(len(state), -1)
        else:
            latent = self._aim(state, seen, goal) if self.goal_keys else memory["skill"]
        chunk = self.actor.act(state, latent, noise[:, : self.actor.noise_size]).clamp(-1.0, 1.0)
        return self.actions.inverse(chunk), memory

    def _aim(self, state: Tensor, seen: Tensors, goal: Tensors) -> Float[Tensor, "b z"]:
        """Return the latent that points to a goal, or to a state on the way."""
        wanted = goal | {key: seen[key][:, -1] for key in self.copied}
        start, end = self.phi[0](torch.cat([state[:, self._shown], self.encoder.aim(wanted)])).chunk(2)
        if self._prompt == "plan":
            end = midpoint(start, end, self._known.to(start), **self._planning)
        return toward(start, end, self.reach)

    def _embed(self, observations: Mapping[str, NDArray[Any]]) -> Float[Tensor, "n z"]:
        """Return phi of observations ``[n, ...]``."""
        specs = {key: self.spec.observation[key] for key in self.scene_keys}
        seen = checked_tensors(observations, specs, None, None, self._shown.device)
        embedded: Tensor = self.phi[0](self.encoder.aim(seen))
        return embedded


def _split(sizes: Iterable[int]) -> list[range]:
    """Return the columns of parts of these sizes, side by side."""
    ends = list(accumulate(sizes))
    return [range(start, end) for start, end in zip([0, *ends[:-1]], ends, strict=True)]


def _check_within(what: str, keys: Sequence[str], allowed: Sequence[str]) -> None:
    for key in keys:
        if key not in allowed:
            raise UnknownName(f"{what} key", key, allowed)


def _mean(values: Float[Tensor, " b"], counts: Float[Tensor, " b"]) -> Float[Tensor, ""]:
    return (values * counts).sum() / counts.sum().clamp(min=1.0)


def _uniform(count: int, generator: torch.Generator, like: Tensor) -> Float[Tensor, " b"]:
    return torch.rand(count, generator=generator, device=generator.device).to(like.device)
