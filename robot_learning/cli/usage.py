"""The help text of a hydra command: groups, keys with their defaults and comments, examples."""

import re
from collections.abc import Sequence
from importlib import resources
from typing import Any, cast

from omegaconf import DictConfig, OmegaConf

from robot_learning.cli.compose import Group, compose, groups

_COMMENTED = re.compile(r"^(?P<key>\w+):(?P<value>[^#]*)#\s*(?P<comment>.+)$")


def usage(root: str, overrides: Sequence[str], *, description: str, examples: Sequence[str]) -> str:
    """Return the help of a command for the configuration that ``overrides`` select."""
    config, available = compose(root, overrides), groups(root, overrides)
    blocks = [
        description,
        f"usage: robot-learning {root} [group=option ...] [key=value ...] [--multirun] [--cfg]",
        *(["Groups (* is chosen; its keys are listed below):\n" + _group_lines(available)] if available else []),
        "Keys:\n" + _key_lines(config, root, available),
        "Flags:\n"
        "  -m, --multirun  run every combination of comma-separated values, e.g. seed=0,1, in out/0, out/1, ...\n"
        "  --cfg           print the composed YAML and stop\n"
        "  -h, --help      print this; with overrides, for the configuration they select",
        "Examples:\n" + "\n".join(f"  {example}" for example in examples),
    ]
    return "\n\n".join(blocks)


def _group_lines(available: Sequence[Group]) -> str:
    width = max((len(group.name) for group in available), default=0)
    lines = []
    for group in available:
        options = " ".join(f"*{option}" if option == group.chosen else option for option in group.options)
        lines.append(f"  {group.name:<{width}}  {options}")
    return "\n".join(lines)


def _key_lines(config: DictConfig, root: str, available: Sequence[Group]) -> str:
    """Return one line per key: its dotted path, value and the comment that stands beside it in the YAML."""
    comments = _comments(f"{root}.yaml", "")
    for group in available:
        comments |= _comments(f"{group.name}/{group.chosen}.yaml", f"{group.name.replace('/', '.')}.")
    rows = [(f"{path}={value}", comments.get(path, "")) for path, value in _flat(config, "")]
    width = min(max((len(left) for left, _ in rows), default=0), 44)
    return "\n".join(f"  {left:<{width}}  {comment}".rstrip() for left, comment in rows)


def _flat(config: DictConfig, prefix: str) -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    plain = cast(dict[str, Any], OmegaConf.to_container(config))
    for name in map(str, config):
        path, child = f"{prefix}{name}", config._get_node(name)
        if isinstance(child, DictConfig) and not child._is_none():
            rows += _flat(child, f"{path}.")
        elif not name.startswith("_"):
            rows.append((path, _shown(plain[name])))
    return rows


def _shown(value: object) -> str:
    """Return a value as it is typed on the command line."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, list):
        return "[" + ",".join(_shown(item) for item in value) + "]"
    return str(value)


def _comments(path: str, prefix: str) -> dict[str, str]:
    """Return the comments beside the top-level keys of one YAML file."""
    file = resources.files("robot_learning.configs").joinpath(path)
    if not file.is_file():
        return {}
    matches = (_COMMENTED.match(line) for line in file.read_text(encoding="utf-8").splitlines())
    return {prefix + match["key"]: match["comment"].strip() for match in matches if match}
