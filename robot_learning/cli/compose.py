"""Configuration: composes YAML from ``robot_learning.configs`` and turns it into objects; the user of hydra.

Hydra only composes. It neither changes the working directory nor writes folders of its own, and every mistake in
an override becomes one error that names the nearest valid keys, groups or options. The signature is the schema: a
key that a node's ``_target_`` takes may be given even where the YAML does not list it.
"""

import difflib
import functools
import importlib
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hydra
import hydra.utils
from hydra.core.config_loader import ConfigLoader
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.global_hydra import GlobalHydra
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.core.plugins import Plugins
from hydra.errors import HydraException, InstantiationException
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from robot_learning.core.arguments import argument_names, check_arguments
from robot_learning.core.errors import ConfigError, RobotLearningError, UnknownName
from robot_learning.core.extensions import extensions, ours

FLAGS = ("--help", "--multirun", "--cfg")


class _Extensions(SearchPathPlugin):  # type: ignore[misc] # hydra's base is Any to mypy
    """Lets hydra find the configs of installed extensions after ours."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Add them."""
        for name in extensions():
            search_path.append(name, f"pkg://{name}.configs")


Plugins.instance().register(_Extensions)


@dataclass(frozen=True)
class Group:
    """One configuration group of a root: what can be chosen and what is."""

    name: str
    options: tuple[str, ...]
    chosen: str


def compose(root: str, overrides: Sequence[str] = ()) -> DictConfig:
    """Return the configuration ``configs/<root>.yaml`` with ``key=value`` and ``group=option`` overrides applied.

    Raises:
        UnknownName: A root, key, group or option that does not exist; the message lists the nearest ones.
        ConfigError: An override that cannot be parsed, or a value of another type than the key's default.
    """
    with _hydra_session() as loader:
        _check_root(loader, root)
        parsed = _parse(loader, overrides)
        choices = _choices(root, [])
        chosen = [_checked_option(loader, item, choices) for item in parsed if _is_group(loader, item)]
        base = hydra.compose(root, chosen)
        given = [item for item in parsed if not _is_group(loader, item)]
        replaced = [item for item in given if _replaces(base, item)]  # first, so that the others are checked against the new
        chosen += [line for item in replaced for line in (f"~{item.key_or_group}", f"+{item.input_line}")]
        base = hydra.compose(root, chosen)
        values = [line for item in given if item not in replaced for line in _checked_value(base, item, choices)]
        composed: DictConfig = hydra.compose(root, chosen + values)
        return composed


def groups(root: str, overrides: Sequence[str] = ()) -> list[Group]:
    """Return the configuration groups of a root with their options and what ``overrides`` choose."""
    order = [str(name) for name in compose(root, overrides)]
    with _hydra_session() as loader:
        chosen = [item.input_line or "" for item in _parse(loader, overrides) if _is_group(loader, item)]
        found = [Group(name, _options(loader, name), option) for name, option in _choices(root, chosen).items()]
    return sorted(found, key=lambda group: order.index(group.name) if group.name in order else len(order))


def expand(overrides: Sequence[str]) -> list[list[str]]:
    """Return the cartesian product of the sweeps in ``overrides``, e.g. ``seed=0,1`` gives two lists."""
    from hydra._internal.core_plugins.basic_sweeper import BasicSweeper

    with _hydra_session() as loader:
        jobs: list[list[str]] = BasicSweeper.split_arguments(_parse(loader, overrides), None)[0]
        return jobs


def instantiate(node: DictConfig | dict[str, Any], **kwargs: Any) -> Any:
    """Return the object that ``node`` describes: ``_target_`` called with the other keys and ``kwargs``.

    Nested nodes with a ``_target_`` are built first; YAML lists and mappings arrive as plain lists and dicts.

    Raises:
        ConfigError: No ``_target_``, one outside the allow-list, or a missing argument.
        UnknownName: A key that the target does not take, or a target that does not exist.
    """
    config = OmegaConf.create(node) if isinstance(node, dict) else node
    if not isinstance(config, DictConfig) or "_target_" not in config:
        raise ConfigError(f"config node: expected a mapping with `_target_`, got {node!r}")
    _check_targets(config, tuple(kwargs))
    try:
        # hydra would turn kwargs that are dataclasses, such as specs, into dicts: they never pass through it
        if kwargs and not config.get("_partial_"):
            return hydra.utils.instantiate(config, _convert_="all", _partial_=True)(**kwargs)
        made = hydra.utils.instantiate(config, _convert_="all")
        return functools.partial(made, **kwargs) if kwargs else made
    except InstantiationException as error:
        if isinstance(error.__cause__, RobotLearningError):
            raise error.__cause__ from None
        raise ConfigError(f"{config._target_}: {error.__cause__ or error}") from error


def run(
    root: str, argv: Sequence[str], function: Callable[[DictConfig], int], *, description: str, examples: Sequence[str]
) -> int:
    """Run a command: flags, overrides and sweeps from ``argv``, then ``function`` on each configuration.

    Args:
        root: Name of the root config and of the command.
        argv: What stands after the command's name.
        function: The command itself; returns its exit status.
        description: One line for ``--help``.
        examples: Command lines for ``--help``.

    Returns:
        The exit status: 0, or that of the first run that failed.
    """
    flags = {"-h": "--help", "-m": "--multirun"}
    given = {flags.get(item, item) for item in argv if item.startswith("-")}
    overrides = [item for item in argv if not item.startswith("-")]
    for flag in sorted(given - set(FLAGS)):
        raise UnknownName("flag", flag, FLAGS)
    if "--help" in given:
        from robot_learning.cli.usage import usage

        print(usage(root, overrides, description=description, examples=examples))
        return 0
    if "--cfg" in given:
        print(OmegaConf.to_yaml(compose(root, overrides), resolve=True), end="")
        return 0
    if "--multirun" in given:
        return _sweep(root, overrides, function)
    return function(compose(root, overrides))


def _sweep(root: str, overrides: Sequence[str], function: Callable[[DictConfig], int]) -> int:
    """Run every combination one after the other, each in a numbered folder below ``out``."""
    jobs = expand(overrides)
    configs = [compose(root, job) for job in jobs]
    shared_out = "out" in configs[0] and len({str(config.out) for config in configs}) == 1
    worst = 0
    for index, (job, config) in enumerate(zip(jobs, configs, strict=True)):
        if shared_out:
            config.out = str(Path(str(config.out)) / str(index))
        print(f"[{index + 1}/{len(jobs)}] {' '.join(job)}" + (f" -> {config.out}" if "out" in config else ""))
        try:
            status = function(config)
        except RobotLearningError as error:
            print(f"[{index + 1}/{len(jobs)}] failed: {error}", file=sys.stderr)
            status = 2
        worst = worst or status
        if status == 130:
            break
    return worst


@contextmanager
def _hydra_session() -> Iterator[ConfigLoader]:
    """Give hydra our configs for a moment; its mistakes leave as :class:`ConfigError`."""
    with hydra.initialize_config_module("robot_learning.configs", version_base="1.3"):
        instance = GlobalHydra.instance().hydra
        assert instance is not None  # noqa: S101 - initialised by the line above
        try:
            yield instance.config_loader
        except (HydraException, OmegaConfBaseException) as error:
            raise ConfigError(" ".join(str(error).split())) from error


def _parse(loader: ConfigLoader, overrides: Sequence[str]) -> list[Override]:
    for item in overrides:
        if "=" not in item and not item.startswith("~"):
            raise ConfigError(f"override {item!r}: expected key=value or group=option")
    parser = OverridesParser.create(loader)
    lines = [line for item in parser.parse_overrides(list(overrides)) for line in _spelled_out(loader, item)]
    parsed: list[Override] = parser.parse_overrides(lines)
    return parsed


def _spelled_out(loader: ConfigLoader, item: Override) -> list[str]:
    """Return ``group=OPTION/TASK`` as ``group=OPTION`` and ``group.tasks=[TASK]`` where OPTION's target takes tasks."""
    line, group = item.input_line or "", item.key_or_group
    option, _, task = str(item.value()).partition("/")
    if not task or not _is_group(loader, item) or option not in _options(loader, group):
        return [line]
    takes = _target_arguments(hydra.compose(f"{group}/{option}")[group])
    return [line.replace(f"{option}/{task}", option), f"{group}.tasks=[{task}]"] if "tasks" in takes else [line]


def _check_root(loader: ConfigLoader, root: str) -> None:
    roots = [name for name in loader.get_group_options("", ObjectType.CONFIG) if not name.startswith("_")]
    if root not in roots:
        raise UnknownName("configuration", root, roots)


def _choices(root: str, chosen: Sequence[str]) -> dict[str, str]:
    config = hydra.compose(root, list(chosen), return_hydra_config=True)
    return {name: str(option) for name, option in config.hydra.runtime.choices.items() if not name.startswith("hydra")}


def _options(loader: ConfigLoader, group: str) -> tuple[str, ...]:
    return tuple(loader.get_group_options(group, ObjectType.CONFIG))


def _is_group(loader: ConfigLoader, item: Override) -> bool:
    return "." not in item.key_or_group and bool(_options(loader, item.key_or_group))


def _checked_option(loader: ConfigLoader, item: Override, choices: dict[str, str]) -> str:
    """Return a ``group=option`` override as hydra wants it; a group outside the root's defaults is added."""
    line, group = item.input_line or "", item.key_or_group
    options = _options(loader, group)
    wanted = item.value()
    if item.is_delete() or wanted is None:
        return line
    if item.is_sweep_override():
        raise ConfigError(f"{line}: several options; add --multirun to run them one after the other")
    if wanted not in options:
        raise UnknownName(f"option of {group}", str(wanted), options)
    return line if group in choices or item.is_add() else f"+{line}"


def _checked_value(base: DictConfig, item: Override, choices: dict[str, str]) -> list[str]:
    """Return a ``key=value`` override as hydra wants it, after checking that the key exists and fits."""
    line, key = item.input_line or "", item.key_or_group
    if item.is_add() or item.is_force_add() or item.is_delete():
        return [line]
    if item.is_sweep_override():
        raise ConfigError(f"{line}: several values; add --multirun to run them one after the other, or quote them")
    known = _keys(base)
    if key in known:
        _check_type(key, OmegaConf.select(base, key), item.value())
        return [line]
    parent_key, _, name = key.rpartition(".")
    parent = OmegaConf.select(base, parent_key) if parent_key else base
    arguments = _target_arguments(parent)
    if name in arguments:
        return [f"++{line}"]
    elsewhere = {path for path in known if difflib.get_close_matches(name, [path.rpartition(".")[2]], 1, 0.75)}
    beside = {f"{parent_key}.{other}" for other in {*map(str, parent), *arguments}} if isinstance(parent, DictConfig) else set()
    available = {path.removeprefix(".") for path in beside if "._" not in path} or {str(path) for path in base}
    raise UnknownName("key or group", key, available | elsewhere | (set() if parent_key else set(choices)))


def _replaces(base: DictConfig, item: Override) -> bool:
    """Tell whether a mapping with a ``_target_`` takes the place of a whole node, whose keys are none of the new target's."""
    if item.is_add() or item.is_force_add() or item.is_delete() or item.is_sweep_override():
        return False
    value = item.value()
    return isinstance(value, dict) and "_target_" in value and isinstance(OmegaConf.select(base, item.key_or_group), DictConfig)


def _keys(config: DictConfig, prefix: str = "") -> list[str]:
    """Return every key of a configuration as a dotted path, mappings included."""
    keys = []
    for name in map(str, config):
        path = f"{prefix}{name}"
        keys.append(path)
        child = None if OmegaConf.is_missing(config, name) else config._get_node(name)
        if isinstance(child, DictConfig) and not child._is_none():
            keys += _keys(child, f"{path}.")
    return keys


def _check_type(key: str, default: Any, value: Any) -> None:
    """Refuse a value of another kind than the default; null and interpolations pass."""
    if value is None or default is None or isinstance(default, str | DictConfig):
        return
    if isinstance(value, str) and "${" in value:
        return
    kinds: dict[type, tuple[type | tuple[type, ...], str]] = {
        bool: (bool, "true or false"),
        int: (int, "a whole number"),
        float: ((int, float), "a number"),
        ListConfig: (list, "a list such as [a, b]"),
    }
    wanted, name = kinds.get(type(default), (object, "anything"))
    if not isinstance(value, wanted) or (isinstance(value, bool) and wanted is not bool and wanted is not object):
        raise ConfigError(f"{key}: expected {name}, got {value!r}")


def _target_arguments(node: Any) -> tuple[str, ...]:
    """Return what a node's ``_target_`` takes by name, empty for a node without one."""
    if not isinstance(node, DictConfig) or "_target_" not in node:
        return ()
    return argument_names(_resolve_target(node)) or ()


def _resolve_target(node: DictConfig) -> Callable[..., Any]:
    target = str(node._target_)
    if not ours(target):  # a config is code
        raise ConfigError(f"_target_: expected a name below robot_learning. or an installed extension, got {target!r}")
    module, _, name = target.rpartition(".")
    try:
        namespace = vars(importlib.import_module(module))
    except ModuleNotFoundError as error:
        raise ConfigError(f"_target_ {target!r}: {error}") from error
    if not callable(namespace.get(name)):
        raise UnknownName(f"name in {module}", name, [key for key in namespace if not key.startswith("_")])
    found: Callable[..., Any] = namespace[name]
    return found


def _check_targets(node: Any, extra: tuple[str, ...] = ()) -> None:
    """Check a node and all below it: allowed targets, known arguments."""
    children = list(node) if isinstance(node, ListConfig) else [node[name] for name in node]
    if isinstance(node, DictConfig) and "_target_" in node:
        given = [str(name) for name in node if not str(name).startswith("_")] + list(extra)
        check_arguments(_resolve_target(node), given, what=str(node._target_), complete="_partial_" not in node)
    for child in children:
        if isinstance(child, DictConfig | ListConfig):
            _check_targets(child)
