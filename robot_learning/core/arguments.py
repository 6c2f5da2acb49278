"""The signature is the schema: check settings against the function that will take them."""

import inspect
from collections.abc import Callable, Iterable
from typing import Any

from robot_learning.core.errors import ConfigError, UnknownName


def argument_names(function: Callable[..., Any]) -> tuple[str, ...] | None:
    """Return the names that ``function`` takes by keyword, or None when it takes any (``**kwargs``)."""
    parameters = inspect.signature(function).parameters.values()
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return None
    by_keyword = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return tuple(parameter.name for parameter in parameters if parameter.kind in by_keyword)


def check_arguments(function: Callable[..., Any], given: Iterable[str], *, what: str, complete: bool = True) -> None:
    """Raise unless ``function`` can be called with the keyword arguments named ``given``.

    Args:
        function: A function or class.
        given: Names of the keyword arguments.
        what: How messages call the function, e.g. ``policy BESO``.
        complete: Also ask for every argument that has no default.

    Raises:
        UnknownName: A name that the function does not take; the message lists the nearest ones.
        ConfigError: An argument without a default is missing.
    """
    given = list(given)
    known = argument_names(function)
    for name in given:
        if known is not None and name not in known:
            raise UnknownName(f"argument of {what}", name, known)
    if complete:
        parameters = inspect.signature(function).parameters.values()
        required = [p.name for p in parameters if p.default is p.empty and p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)]
        missing = [name for name in required if name not in given]
        if missing:
            raise ConfigError(f"{what}: missing argument(s) {', '.join(missing)}")
