"""What every learned policy promises; inherit :class:`PolicyContract` and say how to configure one."""

import numpy as np
import pytest
import torch

from robot_learning.core.errors import ConfigError, SpecMismatch, UnknownName
from robot_learning.core.language import INSTRUCTION
from robot_learning.core.protocols import Policy
from robot_learning.core.spec import ArraySpec, RobotSpec
from robot_learning.core.types import Stats
from robot_learning.policies.policy import build_policy, load_policy, save_policy

SPEC = RobotSpec(
    observation={
        "position": ArraySpec((3,), unit="m"),
        "velocity": ArraySpec((2,), unit="m/s"),
        "camera": ArraySpec((24, 24, 3), dtype="uint8"),
    },
    action=ArraySpec((2,), unit="m", low=[-2.0, -1.0], high=[2.0, 1.0]),
    control_hz=10.0,
    name="tiny",
)


def _stats(low, high):
    low, high = np.broadcast_arrays(np.asarray(low, float), np.asarray(high, float))
    return Stats(100, (low + high) / 2, (high - low) / 3.5, low, high, low, high)


STATISTICS = {
    "position": _stats(np.full(3, -1.0), 1.0),
    "velocity": _stats(np.full(2, -3.0), 3.0),
    "camera": _stats(np.zeros(3), 255.0),
    "action": _stats([-2.0, -1.0], [2.0, 1.0]),
}


class PolicyContract:
    """Tests of the Policy protocol.

    A subclass defines ``config`` (``_target_`` and keyword arguments, without keys and sizes) and may change the attributes.
    """

    config: dict
    observation_keys = ("position", "velocity")
    goal_keys = ("position",)
    n_obs = 2
    horizon = 3
    overfit_steps = 250
    overfit_to = 0.25
    """The loss on eight windows ends below this share of where it began."""
    sees_padding = False
    """The network's input includes the (noisy) padded actions, so that only their error is masked."""

    @pytest.fixture
    def policy(self):
        return self.make()

    def sizes(self):
        """Return the sizes to configure; a policy that sees one step and gives one action has none."""
        return {"n_obs": self.n_obs, "horizon": self.horizon}

    def full_config(self, **changes):
        sizes = self.sizes()
        keys = {"observation_keys": list(self.observation_keys), "goal_keys": list(self.goal_keys)}
        return {**self.config, **sizes, **keys, **changes}

    def make(self, **changes):
        torch.manual_seed(0)
        return build_policy(self.full_config(**changes), SPEC, STATISTICS).eval()

    def arrays(self, batch, seed=0, keys=None):
        rng = np.random.default_rng(seed)
        made = {}
        for key in keys or self.observation_keys:
            shape = (batch, self.n_obs, *SPEC.observation[key].shape)
            is_image = SPEC.observation[key].is_image
            made[key] = rng.integers(0, 255, shape, np.uint8) if is_image else rng.uniform(-1, 1, shape).astype(np.float32)
        return made

    def window(self, batch, seed=0):
        rng = np.random.default_rng(seed + 1)
        return {**self.arrays(batch, seed), "action": rng.uniform(-1, 1, (batch, self.n_obs - 1, 2)).astype(np.float32)}

    def goal(self, batch, seed=0):
        return {key: value[:, 0] for key, value in self.arrays(batch, seed + 2, self.goal_keys).items()}

    def batch(self, size, seed=0):
        rng = np.random.default_rng(seed)
        shape = self.make()
        steps = self.n_obs - 1 + shape.n_action
        action = rng.uniform([-2, -1], [2, 1], (size, steps, 2)).astype(np.float32)
        made = {
            "observation": {key: torch.as_tensor(value) for key, value in self.arrays(size, seed).items()},
            "action": torch.as_tensor(action),
            "observation_mask": torch.ones(size, self.n_obs, dtype=torch.bool),
            "action_mask": torch.ones(size, steps, dtype=torch.bool),
            "goal": {key: torch.as_tensor(value) for key, value in self.goal(size, seed).items()},
        }
        made["action_mask"][0, -1] = False
        if self.goal_keys:
            made["goal_steps"] = torch.as_tensor(rng.integers(1, max(shape.n_future, 2), size))
        if shape.n_future:
            made["future"] = {key: self.coming(size, shape.n_future, key, seed + 7) for key in shape.future_keys}
            made["future_mask"] = torch.ones(size, shape.n_future, dtype=torch.bool)
            made["future_mask"][0, -1] = False
        return made

    def coming(self, size, steps, key, seed):
        """Return what was observed next, ``[b, f, ...]``."""
        rng, spec = np.random.default_rng(seed), SPEC.observation[key]
        shape = (size, steps, *spec.shape)
        values = rng.integers(0, 255, shape, np.uint8) if spec.is_image else rng.uniform(-1, 1, shape).astype(np.float32)
        return torch.as_tensor(values)

    def act(self, policy, window, goal, seed=0):
        policy.reset(seed=seed)
        return policy.act(window, goal)

    # what it is

    def test_is_a_policy(self, policy):
        assert isinstance(policy, Policy)
        assert policy.n_obs == self.n_obs
        assert policy.horizon == self.horizon
        assert set(policy.spec.observation) == {*self.observation_keys, *self.goal_keys} - {INSTRUCTION}

    def test_chunks_have_their_shape(self, policy):
        chunk = self.act(policy, self.window(4), self.goal(4))
        assert chunk.shape == (4, self.horizon, 2)
        assert chunk.dtype == np.float32
        assert np.isfinite(chunk).all()

    # acting

    def test_the_same_seed_gives_the_same_chunk(self, policy):
        first, second = (self.act(policy, self.window(2), self.goal(2), seed=5) for _ in range(2))
        np.testing.assert_array_equal(first, second)

    def test_a_batch_is_as_good_as_its_rows(self, policy):
        window, goal = self.window(3), self.goal(3)
        noise = self.noise(policy, 3)
        policy.reset(seed=0)
        together = policy.act(window, goal, **noise)
        policy.reset(seed=0)
        order = [2, 0, 1]
        shuffled = policy.act(
            {key: value[order] for key, value in window.items()},
            {key: value[order] for key, value in goal.items()},
            **{key: value[order] for key, value in noise.items()},
        )
        np.testing.assert_allclose(shuffled, together[order], atol=1e-5)

    def noise(self, policy, batch):
        """Return the keyword arguments that fix what is drawn at random."""
        return {"noise": policy.draw_noise(batch, torch.Generator().manual_seed(1))}

    def test_acting_changes_nothing(self, policy):
        window, goal = self.window(2), self.goal(2)
        before = {key: value.copy() for key, value in window.items()}
        self.act(policy, window, goal)
        for key, value in before.items():
            np.testing.assert_array_equal(window[key], value)

    def test_the_goal_matters(self, policy):
        one, other = self.goal(2, seed=0), self.goal(2, seed=9)
        assert not np.allclose(self.act(policy, self.window(2), one), self.act(policy, self.window(2), other))

    def test_it_never_reads_the_future(self, policy):
        """Two episodes that part at the fourth step have the same first three actions, and others after them."""
        answers = []
        for later in (3, 30):
            policy.reset(seed=4)
            windows = [self.window(1, seed=step if step < 3 else step * later) for step in range(8)]
            answers.append([policy.act(window, self.goal(1)) for window in windows])
        np.testing.assert_array_equal(answers[0][:3], answers[1][:3])
        assert not np.allclose(answers[0][3:], answers[1][3:])

    # learning

    def test_overfits_eight_windows(self):
        policy = self.make().train()
        batch = self.batch(8)
        optimizer = torch.optim.Adam(policy.parameters(), lr=2e-3)
        losses = []
        for step in range(self.overfit_steps):
            loss, _ = policy.loss(batch, torch.Generator().manual_seed(step))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(float(loss.detach()))
        assert np.mean(losses[-20:]) < self.overfit_to * losses[0]

    def test_every_trained_weight_takes_part_in_the_loss(self):
        """Processes that average their gradients wait for those of all weights."""
        policy = self.make().train()
        policy.loss(self.batch(4), torch.Generator().manual_seed(0))[0].backward()
        assert [name for name, weight in policy.named_parameters() if weight.requires_grad and weight.grad is None] == []

    def test_the_loss_leaves_the_batch_alone(self):
        policy, batch = self.make().train(), self.batch(4)
        flat = lambda tree: [v for value in tree.values() for v in (flat(value) if isinstance(value, dict) else [value])]  # noqa: E731
        before = [value.clone() for value in flat(batch)]
        policy.loss(batch, torch.Generator().manual_seed(0))
        assert all(torch.equal(a, b) for a, b in zip(before, flat(batch), strict=True))

    def test_padding_has_no_say_in_the_loss(self, policy):
        if self.sees_padding:
            pytest.skip("this network reads the whole noisy chunk; windows repeat the last action there")
        batch, other = self.batch(4), self.batch(4)
        other["action"][0, -1] = 77.0
        one, two = (policy.loss(each, torch.Generator().manual_seed(0))[0] for each in (batch, other))
        torch.testing.assert_close(one, two)

    # saving and loading

    def test_loaded_it_answers_the_same(self, policy, tmp_path):
        save_policy(tmp_path, policy, self.full_config(), {"step": 3})
        loaded = load_policy(tmp_path)
        window, goal = self.window(2), self.goal(2)
        np.testing.assert_array_equal(self.act(loaded, window, goal), self.act(policy, window, goal))

    # wrong input

    def test_missing_keys_and_wrong_shapes_are_named(self, policy):
        window = self.window(2)
        del window[self.observation_keys[0]]
        with pytest.raises(SpecMismatch, match=self.observation_keys[0]):
            policy.act(window, self.goal(2))
        window = self.window(2)
        window[self.observation_keys[0]] = window[self.observation_keys[0]][:, 1:]
        with pytest.raises(SpecMismatch, match="expected shape"):
            policy.act(window, self.goal(2))

    def test_batches_of_two_sizes_are_refused(self, policy):
        with pytest.raises(SpecMismatch, match=rf"goal: '{self.goal_keys[0]}': expected shape \(3, .*got \(1, "):
            policy.act(self.window(3), self.goal(1))
        window = self.window(3)
        window[self.observation_keys[1]] = window[self.observation_keys[1]][:2]
        with pytest.raises(SpecMismatch, match=rf"window: '{self.observation_keys[1]}': expected shape \(3, .*got \(2, "):
            policy.act(window, self.goal(3))

    def test_a_missing_goal_is_refused(self, policy):
        with pytest.raises(SpecMismatch, match="goal"):
            policy.act(self.window(2), None)
        with pytest.raises(SpecMismatch, match=self.goal_keys[0]):
            policy.act(self.window(2), {})

    def test_without_goal_keys_no_goal_is_asked_for(self):
        free = self.make(goal_keys=[])
        chunk = self.act(free, self.window(2), None)
        np.testing.assert_array_equal(self.act(free, self.window(2), self.goal(2)), chunk)
        batch = {key: value for key, value in self.batch(4).items() if key != "goal"}
        assert torch.isfinite(free.loss(batch, torch.Generator().manual_seed(0))[0])

    def test_goals_missing_from_a_batch_are_named(self, policy):
        batch = {key: value for key, value in self.batch(4).items() if key != "goal"}
        with pytest.raises(SpecMismatch, match=self.goal_keys[0]):
            policy.loss(batch, torch.Generator())

    def test_unknown_keys_and_empty_windows_are_refused(self):
        with pytest.raises(UnknownName, match=r"'velocty'; nearest: velocity"):
            self.make(observation_keys=["velocty"])
        for wrong in (*({name: 0} for name in self.sizes()), {"observation_keys": []}):
            with pytest.raises(ConfigError, match="at least 1"):
                self.make(**wrong)

    # devices

    @pytest.mark.gpu
    def test_an_accelerator_agrees(self, policy, tmp_path):
        save_policy(tmp_path, policy, self.full_config(), {})
        there = load_policy(tmp_path, device="cuda")
        window, goal = self.window(4), self.goal(4)
        np.testing.assert_allclose(self.act(there, window, goal), self.act(policy, window, goal), atol=1e-2)
        move = lambda tree: {k: move(v) if isinstance(v, dict) else v.cuda() for k, v in tree.items()}  # noqa: E731
        one, other = (
            each.loss(batch, torch.Generator().manual_seed(0))[0]
            for each, batch in ((policy, self.batch(4)), (there, move(self.batch(4))))
        )
        assert one.item() == pytest.approx(other.item(), rel=1e-2)
        there.train().loss(move(self.batch(4)), torch.Generator("cuda").manual_seed(0))[0].backward()

    def test_a_misspelt_setting_names_the_nearest(self):
        with pytest.raises(UnknownName, match="nearest: goal_keys"):
            build_policy({**self.full_config(), "goal_kyes": []}, SPEC, STATISTICS)
