"""States, goals and images as tokens, the posterior of ACT's latent, and the decoder of chunks."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from robot_learning.core.arguments import check_arguments
from robot_learning.core.errors import ConfigError
from robot_learning.core.spec import ArraySpec, RobotSpec
from robot_learning.core.types import Stats
from robot_learning.nn.attention import QueryDecoder, Sizes, TransformerEncoder
from robot_learning.nn.cameras import Cameras
from robot_learning.nn.positions import sine_positions, sine_positions_2d
from robot_learning.policies.window import WindowEncoder


class StateTokens(nn.Module):
    """The low-dimensional keys as tokens: one for the task, then one per step.

    The task's token is a learned vector to which a goal, where there is one, is added. Like objects are pooled step by step.

    Args:
        spec: The robot.
        statistics: Statistics of every key.
        observation_keys: Low-dimensional keys of the observation.
        goal_keys: Low-dimensional keys of the goal, and ``instruction``; empty for none.
        width: Size of a token.
        interchangeable: Keys that hold several like objects, see :class:`robot_learning.policies.window.WindowEncoder`.
        language: ``_target_`` and settings of what reads instructions; None is the default of
            :class:`robot_learning.policies.window.WindowEncoder`.
    """

    def __init__(
        self,
        spec: RobotSpec,
        statistics: Mapping[str, Stats],
        observation_keys: Sequence[str],
        goal_keys: Sequence[str],
        width: int,
        interchangeable: Mapping[str, int] | None,
        language: Mapping[str, Any] | None,
    ) -> None:
        """Make normalisers and embeddings."""
        super().__init__()
        if not observation_keys:
            raise ConfigError("observation_keys: expected at least one that is no image, such as the pose of the arm, got none")
        self.window = WindowEncoder(
            spec, statistics, observation_keys, goal_keys, interchangeable=interchangeable, language=language
        )
        sizes = self.window.related_sizes
        self.embed_state = nn.Linear(sizes["state_size"], width)
        self.embed_goal = nn.Linear(sizes["goal_size"], width) if sizes["goal_size"] else None
        self.task = nn.Parameter(torch.randn(width))

    def forward(self, steps: Mapping[str, Tensor], goal: Mapping[str, Tensor]) -> Float[Tensor, "b k w"]:
        """Return ``[task, s_1, ..., s_T]`` of raw values ``[b, t, ...]``."""
        states, aimed = self.window.relate(*self.window.see(steps, goal))
        task = self.task.expand(len(states), 1, -1)
        if self.embed_goal is not None:
            task = task + self.embed_goal(aimed).unsqueeze(1)
        return torch.cat([task, self.embed_state(states)], dim=1)


RESNET: Mapping[str, Any] = {"encoder": {"_target_": "robot_learning.nn.resnet.ResNetEncoder"}, "shared": True}
"""ACT's own: one ResNet-18 sees all cameras."""


class ImageTokens(nn.Module):
    """The cells of all images' feature maps as tokens.

    Args:
        specs: What every key looks like.
        observation_keys: Images of the observation.
        goal_keys: Images of the goal.
        width: Size of a token.
        vision: Settings of :class:`robot_learning.nn.cameras.Cameras`; what is missing is ACT's.
    """

    def __init__(
        self,
        specs: Mapping[str, ArraySpec],
        observation_keys: Sequence[str],
        goal_keys: Sequence[str],
        width: int,
        vision: Mapping[str, Any],
    ) -> None:
        """Make the layers."""
        super().__init__()
        self.cameras = Cameras(specs, observation_keys, goal_keys, vectors=False, **{**RESNET, **vision})
        self.observation_keys, self.goal_keys = (
            [key for key in keys if key in self.cameras.sources] for keys in (observation_keys, goal_keys)
        )
        self.project = nn.Conv2d(self.cameras.cell_size, width, 1)
        self.sources = nn.Parameter(0.02 * torch.randn(len(self.observation_keys) + len(self.goal_keys), width))

    def forward(
        self, observation: Mapping[str, Tensor], goal: Mapping[str, Tensor], generator: torch.Generator | None = None
    ) -> tuple[Float[Tensor, "b k w"], Float[Tensor, "k w"]]:
        """Return the tokens, and where each cell lies: its place in the image plus a learned vector of the image's source.

        Args:
            observation: Images ``[b, 1, y, x, c]``, as cameras give them.
            goal: Images ``[b, y, x, c]``.
            generator: Switches the random shift on.
        """
        once = {key: value.unsqueeze(1) for key, value in goal.items()}
        seen = [(key, observation) for key in self.observation_keys] + [(key, once) for key in self.goal_keys]
        tokens, places = [], []
        for (key, images), source in zip(seen, self.sources, strict=True):
            cells: Tensor = self.project(self.cameras.cells(key, images, generator))
            tokens.append(cells.flatten(2).transpose(1, 2))
            _, width, rows, columns = cells.shape
            places.append(sine_positions_2d(rows, columns, width, cells.device) + source)
        return torch.cat(tokens, dim=1), torch.cat(places)


class SequenceEncoder(nn.Module):
    """ACT-JEPA's encoder of the present (task, state, image cells) and, as its slow copy, of what comes (task and states).

    Args:
        tokens: States and goal as tokens.
        sizes: Sizes of the transformer.
    """

    def __init__(self, tokens: StateTokens, sizes: Sizes) -> None:
        """Make the layers."""
        super().__init__()
        self.tokens = tokens
        self.layers = TransformerEncoder(sizes)

    def forward(
        self,
        steps: Mapping[str, Tensor],
        goal: Mapping[str, Tensor],
        images: Float[Tensor, "b c w"] | None = None,
        *,
        first: int = 0,
        mask: Bool[Tensor, "b t"] | None = None,
    ) -> Float[Tensor, "b k w"]:
        """Return ``[task, s_1, ..., s_T, image cells]``, each knowing of the others.

        Args:
            steps: Raw states, ``[b, t, ...]``.
            goal: Raw goals.
            images: Tokens of images.
            first: Place in time of the first step: 0 is now.
            mask: False on padded steps, which nobody sees; the task's token is always seen.
        """
        tokens = self.tokens(steps, goal)
        count, width = tokens.shape[1] - 1, tokens.shape[2]
        places = sine_positions(first + count, width, tokens.device)[first:]
        tokens = torch.cat([tokens[:, :1], tokens[:, 1:] + places], dim=1)
        if images is not None:
            tokens = torch.cat([tokens, images], dim=1)
        if mask is not None:
            mask = torch.cat([torch.ones_like(mask[:, :1]), mask], dim=1)
        encoded: Tensor = self.layers(tokens, mask=mask)
        return encoded


class Posterior(nn.Module):
    """ACT's CVAE encoder ``q(z | s, a_1 .. a_k)``: a transformer over ``[cls, s, a_1, ..., a_k]``, read at ``cls``.

    Args:
        state_size: Size of the state.
        action_size: Size of an action.
        latent: Size of z.
        sizes: Sizes of the transformer.
    """

    def __init__(self, state_size: int, action_size: int, latent: int, sizes: Sizes) -> None:
        """Make the layers."""
        super().__init__()
        self.cls = nn.Parameter(torch.randn(sizes.width))
        self.embed_state = nn.Linear(state_size, sizes.width)
        self.embed_action = nn.Linear(action_size, sizes.width)
        self.layers = TransformerEncoder(sizes)
        self.read_out = nn.Linear(sizes.width, 2 * latent)

    def forward(
        self, state: Float[Tensor, "b s"], actions: Float[Tensor, "b k a"], mask: Bool[Tensor, "b k"]
    ) -> tuple[Float[Tensor, "b z"], Float[Tensor, "b z"]]:
        """Return mean and log-variance of z; ``mask`` is False on padded actions, which have no say."""
        cls = self.cls.expand(len(state), 1, -1)
        tokens = torch.cat([cls, self.embed_state(state).unsqueeze(1), self.embed_action(actions)], dim=1)
        seen = torch.cat([torch.ones_like(mask[:, :1]).expand(-1, 2), mask], dim=1)
        places = sine_positions(tokens.shape[1], tokens.shape[2], tokens.device)
        mean, log_variance = self.read_out(self.layers(tokens, places, seen)[:, 0]).float().chunk(2, dim=-1)
        return mean, log_variance


class ChunkDecoder(nn.Module):
    """One learned query per action of the chunk, read out linearly.

    Args:
        sizes: Sizes of the transformer.
        horizon: Actions h in a chunk.
        action_size: Size of an action.
        as_positions: See :class:`robot_learning.nn.attention.QueryDecoder`.
    """

    def __init__(self, sizes: Sizes, horizon: int, action_size: int, *, as_positions: bool = False) -> None:
        """Make the layers."""
        super().__init__()
        self.decoder = QueryDecoder(sizes, horizon, as_positions=as_positions)
        self.read_out = nn.Linear(sizes.width, action_size)

    def forward(self, memory: Float[Tensor, "b k w"], positions: Float[Tensor, "k w"] | None = None) -> Float[Tensor, "b h a"]:
        """Return the scaled chunk."""
        chunk: Tensor = self.read_out(self.decoder(memory, positions))
        return chunk.float()


def divergence(mean: Float[Tensor, "b z"], log_variance: Float[Tensor, "b z"]) -> Float[Tensor, " b"]:
    """Return ``KL( N(mean, exp(log_variance)) || N(0, 1) )``, summed over z's dimensions (Kingma and Welling, 2014)."""
    return -0.5 * (1 + log_variance - mean**2 - log_variance.exp()).sum(dim=-1)


def sizes_of(config: Mapping[str, Any], *, width: int | None = None) -> Sizes:
    """Return the sizes that a config's mapping means; with ``width`` it may name no other.

    Raises:
        UnknownName: A misspelt size.
        ConfigError: Another width.
    """
    check_arguments(Sizes, config, what="encoder and decoder")
    if width is not None and config.get("width", width) != width:
        raise ConfigError(f"decoder.width: expected the encoder's {width}, got {config['width']}")
    return Sizes(**config) if width is None else Sizes(**{**config, "width": width})
