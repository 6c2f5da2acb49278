"""Encoders that begin as a published vision model: DINOv2 and DINOv3, the vision towers of CLIP and SigLIP, and others.

The model comes from ``transformers``, out of a local folder or by its id on the hub, and is kept frozen, trained on as a whole
(``finetuned``), or adapted by low-rank matrices beside its linear layers (``lora``; Hu et al., ICLR 2022; ``peft``).

What :meth:`PretrainedEncoder.settle` notes, the architecture and how images are prepared, stands in checkpoints: loading needs
neither the folder nor the hub.
"""

import inspect
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from robot_learning.core.errors import ConfigError, UnknownName
from robot_learning.nn.vision import ImageEncoder, projection
from robot_learning.nn.vision_models import describe, empty_model, filled_model, library, pair

Mode = Literal["frozen", "finetuned", "lora"]
Pooling = Literal["pooler", "cls", "mean"]


class PretrainedEncoder(ImageEncoder):
    """A vision model of ``transformers``, and a projection of what it says about an image.

    Images are resized to what the model was trained with and standardised with its own mean and deviation. The whole image is
    taken, also where the model's own preparation crops the middle out of a larger one: handles are often at the border.

    Args:
        inputs: Channels of the images; published models see three.
        size: Numbers in a vector.
        source: Folder or hub id of the model.
        mode: ``frozen``, ``finetuned`` or ``lora``.
        pooling: ``pooler``: the model's own summary; ``cls``: its first token; ``mean``: the mean of all cells.
        resolution: Rows and columns that images are resized to; None is the model's own. Less is faster.
        rank: Rank of LoRA's matrices.
        alpha: LoRA's output is multiplied by ``alpha / rank``.
        targets: Names of the layers that LoRA adapts; None is every linear layer.
        shift: Largest random shift [pixels of the camera].
        architecture: The model's configuration, as :meth:`settle` notes it; None reads it, and the weights, from the source.
        preprocessing: How images are prepared, likewise; see :func:`robot_learning.nn.vision_models.describe`.
    """

    settled_by = ("architecture", "preprocessing")
    mean: Tensor
    std: Tensor

    def __init__(
        self,
        inputs: int = 3,
        size: int | None = 64,
        *,
        source: str,
        mode: Mode = "frozen",
        pooling: Pooling = "pooler",
        resolution: int | None = None,
        rank: int = 16,
        alpha: float = 32.0,
        targets: Sequence[str] | None = None,
        shift: int = 4,
        architecture: Mapping[str, Any] | None = None,
        preprocessing: Mapping[str, Any] | None = None,
    ) -> None:
        """Build the model, and fill it from the source unless its architecture is given."""
        super().__init__(size, shift)
        for name, value, choices in (("mode", mode, get_args(Mode)), ("pooling", pooling, get_args(Pooling))):
            if value not in choices:
                raise UnknownName(f"vision.encoder.{name}", str(value), choices)
        if inputs != 3:
            raise ConfigError(
                f"vision.encoder: {source} sees three channels, got images of {inputs}; "
                "for depth take robot_learning.nn.resnet.ResNetEncoder"
            )
        self.mode, self.pooling = mode, pooling
        if architecture is None or preprocessing is None:
            architecture, preprocessing = describe(source)
            self.model: Any = filled_model(architecture, source, optional="" if pooling == "pooler" else "pooler")
        else:
            self.model = empty_model(architecture)
        self._resampling = str(preprocessing["resampling"])
        self._resolution = pair(preprocessing["size"] if resolution is None else resolution)
        for name in ("mean", "std"):
            self.register_buffer(name, torch.tensor(preprocessing[name]).view(1, 3, 1, 1), persistent=False)
        pooled = self._measure()
        self.head = None if size is None else projection(pooled, size)
        if mode == "frozen":
            self.model.requires_grad_(False)
        elif mode == "lora":
            settings = library("peft").LoraConfig(r=rank, lora_alpha=alpha, target_modules=targets or "all-linear")
            self.model = library("peft").inject_adapter_in_model(settings, self.model)
        if mode != "frozen":
            self._freeze_unused()
        self.train()

    @classmethod
    def settle(cls, config: Mapping[str, Any]) -> dict[str, Any]:
        """Return ``config`` with architecture and preprocessing, read from its source."""
        architecture, preprocessing = describe(str(config.get("source")))
        return {**config, "architecture": architecture, "preprocessing": preprocessing}

    def train(self, mode: bool = True) -> "PretrainedEncoder":
        """Switch to training; a frozen model stays as it is, without dropout."""
        super().train(mode)
        if self.mode == "frozen":
            self.model.eval()
        return self

    def maps(self, pixels: Float[Tensor, "n c y x"]) -> Float[Tensor, "n d p q"]:
        """Return the model's patches where they lie in the image."""
        return self._cells(self._outputs(self._prepared(pixels)))

    def vectors(self, pixels: Float[Tensor, "n c y x"]) -> Float[Tensor, "n f"]:
        """Return the projection of what the model says about each image."""
        assert self.head is not None  # noqa: S101 - whoever asks for no size asks for no vectors
        out: Tensor = self.head(self._pooled(self._outputs(self._prepared(pixels))))
        return out

    def _prepared(self, pixels: Float[Tensor, "n c y x"]) -> Float[Tensor, "n c y x"]:
        if tuple(pixels.shape[-2:]) != self._resolution:
            # with antialias torch resamples as Pillow does; what overshoots is cut, as Pillow cuts it
            pixels = F.interpolate(pixels, self._resolution, mode=self._resampling, antialias=True).clamp(0.0, 1.0)
        return (pixels - self.mean) / self.std

    def _outputs(self, prepared: Float[Tensor, "n c y x"]) -> Any:
        with torch.no_grad() if self.mode == "frozen" else nullcontext():
            return self.model(prepared, **self._options)

    def _cells(self, outputs: Any) -> Float[Tensor, "n d p q"]:
        """Return the last hidden states as a map, without those of no place, such as the class token."""
        states: Tensor = outputs.last_hidden_state
        if states.dim() == 4:
            return states
        rows, columns = self._grid
        return states[:, -rows * columns :].transpose(1, 2).reshape(len(states), -1, rows, columns)

    def _pooled(self, outputs: Any) -> Float[Tensor, "n d"]:
        if self.pooling == "mean":
            return self._cells(outputs).flatten(2).mean(dim=-1)
        states: Tensor = outputs.pooler_output if self.pooling == "pooler" else outputs.last_hidden_state[:, 0]
        return states.flatten(1)

    def _freeze_unused(self) -> None:
        """Freeze weights that no answer depends on, such as a mask token: training in several processes waits for gradients."""
        empty = torch.zeros(1, 3, *self._resolution)
        with torch.enable_grad():
            answer = self.maps(empty) if self.head is None else self.vectors(empty)
            answer.sum().backward()  # type: ignore[no-untyped-call]
        for weight in self.parameters():
            weight.requires_grad_(weight.grad is not None)
            weight.grad = None

    def _measure(self) -> int:
        """Show the model an empty image to learn the sizes of what it says; return that of its summary.

        Raises:
            ConfigError: It cannot see images of this size, has no place for each patch, or no summary of the kind asked for.
        """
        resizes = "interpolate_pos_encoding" in inspect.signature(self.model.forward).parameters
        self._options = {"interpolate_pos_encoding": True} if resizes else {}
        name, size = type(self.model).__name__, " x ".join(map(str, self._resolution))
        try:
            with torch.no_grad():
                outputs = self.model.eval()(torch.zeros(1, 3, *self._resolution), **self._options)
        except (RuntimeError, ValueError) as error:
            raise ConfigError(f"vision.encoder.resolution: {name} does not take images of {size}: {error}") from error
        states: Tensor = outputs.last_hidden_state
        patch = pair(getattr(self.model.config, "patch_size", None) or 1)
        self._grid = self._resolution[0] // patch[0], self._resolution[1] // patch[1]
        beside = 0 if states.dim() == 4 else states.shape[1] - self._grid[0] * self._grid[1]
        if beside < 0:
            raise ConfigError(f"vision.encoder: expected a model that says something about every patch, got {name}")
        has = {"pooler": getattr(outputs, "pooler_output", None) is not None, "cls": beside > 0, "mean": True}
        if not has[self.pooling]:
            others = ", ".join(choice for choice in has if has[choice])
            raise ConfigError(f"vision.encoder.pooling: {name} has no {self.pooling}; take one of {others}")
        self.cell_size = self._cells(outputs).shape[1]
        return self._pooled(outputs).shape[1]
