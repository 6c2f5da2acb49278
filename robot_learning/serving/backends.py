"""What runs a policy: PyTorch as it is, PyTorch compiled, or onnxruntime. Torch is imported only where it is used."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from robot_learning.core.errors import ConfigError, UnknownName
from robot_learning.core.protocols import Policy
from robot_learning.serving.onnx_policy import OnnxPolicy

if TYPE_CHECKING:
    from robot_learning.policies.policy import LearnedPolicy


def load_backend(backend: str, path: Path, device: str, overrides: Mapping[str, Any]) -> Policy:
    """Return the policy in ``path``, ready to act.

    Args:
        backend: ``torch``, ``compiled`` or ``onnx``.
        path: Folder of a checkpoint; for ``onnx`` the file that ``robot-learning export`` wrote, or its folder.
        device: ``cpu``, ``cuda``, ``cuda:1`` or ``auto``.
        overrides: Settings of the policy that replace saved ones.

    Raises:
        UnknownName: There is no such backend.
        ConfigError: What the backend cannot do was asked for.
        CheckpointError: Missing or damaged.
    """
    if backend not in BACKENDS:
        raise UnknownName("backend", backend, BACKENDS)
    return BACKENDS[backend](path, device, overrides)


def compile_answers(policy: "LearnedPolicy") -> "LearnedPolicy":
    """Have a policy's ``forward`` compiled by TorchInductor when it first acts; return the policy.

    On a GPU the whole answer, sampler and all, is one CUDA graph that is replayed. Its results lie where the next replay puts
    its own, so they are copied.
    """
    import torch

    on_gpu = next(policy.parameters()).is_cuda
    forward = torch.compile(policy.forward, mode="reduce-overhead" if on_gpu else "default", dynamic=False)

    def answer(*inputs: Any) -> Any:
        chunk, memory = forward(*inputs)
        return (chunk.clone(), {name: value.clone() for name, value in memory.items()}) if on_gpu else (chunk, memory)

    policy.forward = answer  # type: ignore[assignment, method-assign]
    return policy


def _load_torch(folder: Path, device: str, overrides: Mapping[str, Any]) -> Policy:
    import torch

    from robot_learning.policies.policy import load_policy

    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    return cast(Policy, load_policy(folder, device=device, **overrides))


def _load_compiled(folder: Path, device: str, overrides: Mapping[str, Any]) -> Policy:
    return cast(Policy, compile_answers(cast("LearnedPolicy", _load_torch(folder, device, overrides))))


def _load_onnx(path: Path, device: str, overrides: Mapping[str, Any]) -> Policy:
    if overrides or device not in ("cpu", "auto"):
        raise ConfigError(
            f"backend=onnx: expected no overrides and device=cpu, got {dict(overrides)} and {device}; "
            "export with the overrides you want"
        )
    return OnnxPolicy(path)


BACKENDS: dict[str, Callable[[Path, str, Mapping[str, Any]], Policy]] = {
    "torch": _load_torch,
    "compiled": _load_compiled,
    "onnx": _load_onnx,
}
"""What runs the policy, by name."""
