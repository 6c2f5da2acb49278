"""Build networks from configurations: ``_target_`` and keyword arguments, in YAML and in checkpoints alike.

A configuration names classes of this package or of an installed extension, never functions: what a checkpoint says is data.

Some parts begin with weights from elsewhere, such as a model from the hub. Their class has a class method ``settle(config)``,
which returns the configuration completed by what it takes to build an equal part that is empty, and a tuple ``settled_by`` that
names these arguments: while one of them is missing, the part looks outside. Checkpoints hold the completed one, so loading
needs no hub, and :func:`unsettled` tells that it asks none.
"""

import importlib
from collections.abc import Mapping
from typing import Any

from torch import nn

from robot_learning.core.arguments import check_arguments
from robot_learning.core.errors import ConfigError
from robot_learning.core.extensions import ours


def build_part(config: Mapping[str, Any], kind: type[nn.Module] = nn.Module, /, **given: Any) -> Any:
    """Return an object of the class ``config["_target_"]``, made from the config's other keys and ``given``.

    Raises:
        ConfigError: The target is missing, not ours, does not exist, or is no class derived from ``kind``.
        UnknownName: A key that the target does not take; the message names the nearest ones.
    """
    target = part_class(config, kind)
    arguments = {key: value for key, value in config.items() if key != "_target_"}
    check_arguments(target, [*arguments, *given], what=str(config["_target_"]).rsplit(".", 1)[-1])
    return target(**arguments, **given)


def settle(config: Any, former: Any = None) -> Any:
    """Return ``config`` with every part in it settled, see the module; equal to ``config`` where no part needs it.

    Args:
        config: Of a policy or a part, or anything within.
        former: The same configuration, settled before: a part that was asked for in the same words stays what it was, so that a
            resumed run does not look outside again.
    """
    if isinstance(config, list | tuple):
        return [settle(value) for value in config]
    if not isinstance(config, Mapping):
        return config
    known = former if isinstance(former, Mapping) else {}
    if not _looks_outside(config):
        return {key: settle(value, known.get(key)) for key, value in config.items()}
    part: Any = part_class(config)
    settled: dict[str, Any] = dict(known) if known and {**known, **config} == known else part.settle(config)
    return settled


def unsettled(config: Any) -> list[str]:
    """Return the targets of the parts in ``config``, at any depth, that would look outside when they are built."""
    if isinstance(config, list | tuple):
        return [target for value in config for target in unsettled(value)]
    if not isinstance(config, Mapping):
        return []
    own = [str(config["_target_"])] if _looks_outside(config) else []
    return own + [target for value in config.values() for target in unsettled(value)]


def _looks_outside(config: Mapping[str, Any]) -> bool:
    part: Any = part_class(config) if "_target_" in config else None
    return hasattr(part, "settle") and any(config.get(name) is None for name in part.settled_by)


def part_class(config: Any, kind: type[nn.Module] = nn.Module) -> type[nn.Module]:
    """Return the class that a config names, imported but not called; raises :class:`ConfigError` unless it is a ``kind``."""
    if not isinstance(config, Mapping):
        raise ConfigError(f"expected a mapping with _target_, got {config!r}")
    target = resolve(config.get("_target_"))
    if not isinstance(target, type) or not issubclass(target, kind):
        raise ConfigError(f"_target_: expected a class derived from {kind.__name__}, got {config['_target_']}")
    return target


def resolve(target: Any) -> Any:
    """Return what a dotted name means, if it is ours."""
    if not isinstance(target, str) or not ours(target):
        raise ConfigError(f"_target_: expected a name in robot_learning or an installed extension, got {target!r}")
    module, _, name = target.rpartition(".")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"_target_: {target} does not exist ({error})") from error
