"""Look at, check, import and merge demonstration stores."""

import argparse
import json
import math
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from robot_learning.core.types import Stats
from robot_learning.datasets.convert.diffusion_policy import convert_diffusion_policy
from robot_learning.datasets.convert.lerobot import convert_lerobot
from robot_learning.datasets.plain import to_plain
from robot_learning.datasets.store import DemoStore
from robot_learning.datasets.stores import merge, open_stores

EXAMPLES = """examples:
  robot-learning data info runs/quickstart/play.zarr
  robot-learning data verify runs/collect/worker_*.zarr
  robot-learning data stats demos.zarr --json
  robot-learning data convert diffusion_policy pusht_human.zarr pusht.zarr
  robot-learning data convert lerobot my_recordings so101.zarr --without-images
  robot-learning data merge worker_0.zarr worker_1.zarr --out play.zarr
"""


def main(argv: Sequence[str]) -> int:
    """Run ``robot-learning data ...`` and return the exit status: 1 when ``verify`` found problems."""
    arguments = _parser().parse_args(argv)
    result: int = arguments.run(arguments)
    return result


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="robot-learning data",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--json", action="store_true", help="print JSON")
    for name, run, text in (
        ("info", _info, "what a store holds: episodes, steps, keys with units, instructions"),
        ("verify", _verify, "check every byte; exit status 1 and one line per problem when something is wrong"),
        ("stats", _stats, "mean, deviation, range and quantiles of every key"),
    ):
        command = commands.add_parser(name, help=text, description=text, parents=[shared])
        command.add_argument("stores", nargs="+", metavar="STORE", type=Path)
        command.set_defaults(run=run)
    _add_convert(commands, shared)
    text = "copy the episodes of several stores into a new one, checking each"
    command = commands.add_parser("merge", help=text, description=text, parents=[shared])
    command.add_argument("stores", nargs="+", metavar="STORE", type=Path)
    command.add_argument("--out", required=True, type=Path, help="the new store")
    command.set_defaults(run=_merge)
    return parser


def _add_convert(commands: Any, shared: argparse.ArgumentParser) -> None:
    text = "import another project's data set into a new store"
    convert = commands.add_parser("convert", help=text, description=text)
    formats = convert.add_subparsers(required=True, metavar="FORMAT")
    target = argparse.ArgumentParser(add_help=False, parents=[shared])
    target.add_argument("source", metavar="SRC", type=Path)
    target.add_argument("out", metavar="OUT", type=Path)
    target.add_argument("--without-images", action="store_true", help="leave the cameras out")
    target.add_argument("--image-codec", choices=("zstd", "jpeg"), default="zstd", help="default zstd: lossless")
    target.add_argument("--episodes", type=int, metavar="N", help="import only the first N episodes")
    text = "Zarr v2 in Diffusion Policy's layout, e.g. Push-T"
    command = formats.add_parser("diffusion_policy", help=text, description=text, parents=[target])
    command.add_argument("--control-hz", type=float, default=10.0, help="rate of the recording, default 10")
    command.set_defaults(run=_convert_diffusion_policy)
    text = "LeRobot v3.0"
    command = formats.add_parser("lerobot", help=text, description=text, parents=[target])
    command.set_defaults(run=_convert_lerobot)


def _info(arguments: argparse.Namespace) -> int:
    reports = [_summary(path) for path in arguments.stores]
    if arguments.json:
        _print_json(reports if len(reports) > 1 else reports[0])
        return 0
    for report in reports:
        print(_summary_text(report))
    return 0


def _summary(path: Path) -> dict[str, Any]:
    with DemoStore.open(path) as store:
        table = store.table
        return {
            "path": str(path),
            "robot": store.spec.name,
            "control_hz": store.spec.control_hz,
            "episodes": len(store),
            "steps": store.n_steps,
            "hours": store.n_steps * store.spec.dt / 3600,
            "success": dict(Counter({True: "yes", False: "no"}.get(value, "unlabelled") for value in table["success"])),
            "reasons": dict(Counter(table["reason"])),
            "instructions": dict(Counter(table["instruction"])),
            "sources": store.source_names,
            "observation": {key: spec.to_json() for key, spec in store.spec.observation.items()},
            "action": store.spec.action.to_json(),
            "bytes": sum(file.stat().st_size for file in path.rglob("*") if file.is_file()),
            "fingerprint": store.fingerprint(),
            "meta": store.meta,
        }


def _summary_text(report: dict[str, Any]) -> str:
    lines = [
        f"{report['path']}: {report['episodes']} episodes, {report['steps']} steps, {report['hours']:.2f} h "
        f"at {report['control_hz']:g} Hz, {report['bytes'] / 1e6:.1f} MB, robot {report['robot']}",
        f"  fingerprint  {report['fingerprint']}",
        f"  success      {_counts(report['success'])}",
        f"  ended        {_counts(report['reasons'])}",
        f"  instructions {_counts(report['instructions'])}",
        f"  acted        {', '.join(report['sources']) or '-'}",
    ]
    arrays = {**report["observation"], "action": report["action"]}
    width = max(map(len, arrays))
    for name, spec in arrays.items():
        shape = "x".join(map(str, spec["shape"])) or "1"
        lines.append(f"  {name:<{width}}  {spec['dtype']:<8} {shape:<10} {spec['unit']:<8} {' '.join(spec['names'])}")
    return "\n".join(line.rstrip() for line in lines)


def _counts(counts: dict[str, int], most: int = 6) -> str:
    ordered = sorted(counts.items(), key=lambda item: -item[1])
    shown = ", ".join(f"{name or 'none'} ({count})" for name, count in ordered[:most])
    rest = f", and {len(ordered) - most} more" if len(ordered) > most else ""
    return (shown + rest) or "-"


def _verify(arguments: argparse.Namespace) -> int:
    problems = {}
    for path in arguments.stores:
        with (
            DemoStore.open(path) as store,
            _Progress(f"verify {path.name}", "episode", quiet=arguments.json) as progress,
        ):
            problems[str(path)] = store.verify(progress)
            episodes = len(store)
        if not arguments.json:
            lines = problems[str(path)]
            print(f"{path}: {episodes} episodes, " + (f"{len(lines)} problem(s)" if lines else "every byte as recorded"))
            print("".join(f"  {line}\n" for line in lines), end="")
    if arguments.json:
        _print_json(problems)
    return int(any(problems.values()))


def _stats(arguments: argparse.Namespace) -> int:
    with open_stores(arguments.stores) as stores:
        statistics = stores.statistics()
        spec = stores.spec
    if arguments.json:
        _print_json({name: stats.to_json() for name, stats in statistics.items()})
        return 0
    names = {name: spec.action.names if name == "action" else spec.observation[name].names for name in statistics}
    print(_table(["key", "mean", "std", "low", "q01", "q99", "high"], _stats_rows(statistics, names)))
    return 0


def _stats_rows(statistics: dict[str, Stats], names: dict[str, tuple[str, ...]]) -> list[list[str]]:
    rows = []
    for key, stats in statistics.items():
        columns = [np.ravel(getattr(stats, field)) for field in ("mean", "std", "low", "q01", "q99", "high")]
        for element, values in enumerate(zip(*columns, strict=True)):
            known = names[key]
            label = known[element] if element < len(known) else str(element)
            rows.append([f"{key}[{label}]" if len(columns[0]) > 1 else key, *(f"{value:.4g}" for value in values)])
    return rows


def _convert_diffusion_policy(arguments: argparse.Namespace) -> int:
    with _Progress("convert", "episode", quiet=arguments.json) as progress:
        store = convert_diffusion_policy(
            arguments.source,
            arguments.out,
            control_hz=arguments.control_hz,
            without_images=arguments.without_images,
            image_codec=arguments.image_codec,
            limit=arguments.episodes,
            progress=progress,
        )
    return _finish(store, arguments)


def _convert_lerobot(arguments: argparse.Namespace) -> int:
    with _Progress("convert", "episode", quiet=arguments.json) as progress:
        store = convert_lerobot(
            arguments.source,
            arguments.out,
            without_images=arguments.without_images,
            image_codec=arguments.image_codec,
            limit=arguments.episodes,
            progress=progress,
        )
    return _finish(store, arguments)


def _merge(arguments: argparse.Namespace) -> int:
    with _Progress("merge", "episode", quiet=arguments.json) as progress:
        store = merge(arguments.stores, arguments.out, progress=progress)
    return _finish(store, arguments)


def _finish(store: DemoStore, arguments: argparse.Namespace) -> int:
    store.close()
    report = _summary(store.path)
    if arguments.json:
        _print_json(report)
    else:
        print(_summary_text(report))
    return 0


class _Progress:
    """A progress bar behind the (done, all) callbacks of long jobs; shown on terminals only."""

    def __init__(self, label: str, unit: str, *, quiet: bool) -> None:
        self._bar = tqdm(desc=label, unit=unit, disable=True if quiet else None, leave=False)

    def __enter__(self) -> Callable[[int, int], None]:
        return self._update

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def _update(self, done: int, total: int) -> None:
        self._bar.total = total
        self._bar.update(done - self._bar.n)


def _table(header: list[str], rows: list[list[str]]) -> str:
    widths = [max(len(row[column]) for row in [header, *rows]) for column in range(len(header))]
    lines = []
    for row in [header, *rows]:
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        lines.append("  ".join(cells))
    return "\n".join(lines)


def _print_json(value: Any) -> None:
    print(json.dumps(_finite(to_plain(value)), indent=2))


def _finite(value: Any) -> Any:
    """Return ``value`` with numbers that JSON lacks as null."""
    if isinstance(value, dict):
        return None if value.keys() == {"$number"} else {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
