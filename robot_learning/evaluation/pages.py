"""The pages that evaluations make: figures, comparisons, films of the best and the worst rollouts, where it all comes from."""

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from robot_learning.core.protocols import TaskSuite
from robot_learning.evaluation.evaluate import Evaluation
from robot_learning.evaluation.intervals import mean_over_tasks
from robot_learning.evaluation.report import Report
from robot_learning.evaluation.rollout import Actors, Rollout
from robot_learning.evaluation.video import CAMERA, film_rollout

_LOG = logging.getLogger(__name__)
Curves = dict[str, tuple[list[float], list[float]]]
_SUMMARY_NOTE = (
    "Means over tasks. Intervals by bootstrap, trials redrawn within their task. The score of a rollout is its highest, from 0 "
    "to 1; it succeeds at 1. All policies attempted the same trials."
)
_PAIRS_NOTE = (
    "Differences within the same trials, bootstrapped over trials. p: exact two-sided test that both succeed equally often."
)
_FILM_NOTE = "The quickest successes, then the failures with the lowest scores, at the robot's own speed."
_NO_FILMS = "There are none: rendering failed ({}). The command robot-learning doctor says what is missing."


def evaluation_report(
    result: Evaluation,
    out: Path,
    suite_factory: Callable[[], TaskSuite],
    *,
    videos: int,
    command: str,
    title: str | None = None,
    extend: Callable[[Report], None] | None = None,
) -> Path:
    """Write the page of an evaluation and return its path; where nothing renders it is written without films.

    Args:
        result: What was found.
        out: Folder of the page.
        suite_factory: Makes the suite again, for the films.
        videos: Films of each policy's best and of its worst rollouts; 0 for none.
        command: What led here.
        title: Heading of the page; None names the suite.
        extend: Adds sections of the caller's after the figures and films.
    """
    report = evaluation_page(result, title)
    with TemporaryDirectory() as folder:
        if videos > 0:
            _add_films(report, result, suite_factory(), Path(folder), videos)
        _add_training(report, result)
        if extend is not None:
            extend(report)
        else:
            report.add_commands("Command", [("Evaluate", command, result.seconds)])
        report.add_json("Provenance", result.to_json(command)["provenance"])
        return report.write(out)


def evaluation_page(result: Evaluation, title: str | None = None) -> Report:
    """Return a report with an evaluation's figures: summary, tasks, comparisons."""
    summaries = {name: result.summary(name) for name in result.contenders}
    who = "1 policy" if len(summaries) == 1 else f"{len(summaries)} policies"
    report = Report(title or f"Evaluation on {result.suite}", f"{who}, {len(result.trials)} trials each, seed {result.seed}")
    columns = ["policy", "success", "95 % interval", "score", "95 % interval", "rollouts"]
    report.add_table("Summary", columns, [_summary_row(name, one) for name, one in summaries.items()], _SUMMARY_NOTE)
    tasks = list(dict.fromkeys(trial.task for trial in result.trials))
    successes = {task: {name: _bar(one["tasks"][task]) for name, one in summaries.items()} for task in tasks}
    report.add_bars("Success by task", successes, "Whiskers: 95 % Wilson intervals.")
    if any(0.0 < rollout.score < 1.0 for rollout in result.rollouts):
        scores = {name: result.scores(name) for name in summaries}
        means = {task: {name: mean_over_tasks({task: scores[name][task]}) for name in summaries} for task in tasks}
        report.add_bars("Mean score by task", means, "Whiskers: 95 % bootstrap intervals.")
    names = list(summaries)
    pairs = [result.comparison(a, b) for i, a in enumerate(names) for b in names[i + 1 :]]
    if pairs:
        columns = ["policies", "difference of scores", "95 % interval", "p (McNemar)"]
        report.add_table("Comparisons", columns, [_pair_row(pair) for pair in pairs], _PAIRS_NOTE)
    return report


def training_curves(metrics_paths: Mapping[str, Path]) -> Curves:
    """Return losses over steps, by curve name, read from ``metrics.jsonl`` files; lines that are cut off are left out.

    Args:
        metrics_paths: Name of a run to its file.
    """
    curves: Curves = {}
    for name, path in metrics_paths.items():
        rows = [row for row in map(_row, Path(path).read_text(encoding="utf-8").splitlines()) if "step" in row]
        for key, label in (("train/loss", "training"), ("validation/loss", "validation")):
            points = [(float(row["step"]), float(row[key])) for row in rows if key in row]
            if points:
                curves[f"{name}, {label}"] = ([x for x, _ in points], [y for _, y in points])
    return curves


def notable(rollouts: Sequence[Rollout], count: int) -> tuple[list[Rollout], list[Rollout]]:
    """Return the best (quickest successes) and the worst (lowest scores among failures), tasks that differ first."""
    best = sorted((r for r in rollouts if r.success), key=lambda r: (r.steps, r.number))
    worst = sorted((r for r in rollouts if not r.success), key=lambda r: (r.score, -r.steps, r.number))
    return _spread(best)[:count], _spread(worst)[:count]


def _spread(rollouts: list[Rollout]) -> list[Rollout]:
    """Return the first of every task, then the others; both in the given order."""
    firsts = {rollout.task: rollout for rollout in reversed(rollouts)}
    return sorted(rollouts, key=lambda rollout: firsts[rollout.task] is not rollout)


def _add_films(report: Report, result: Evaluation, suite: TaskSuite, folder: Path, count: int) -> None:
    robot: Any = suite.make_robot()
    robot.connect()
    try:
        problem = _cannot_render(suite, robot, result)
        if problem:
            _LOG.warning("report without videos: %s; robot-learning doctor says what is missing", problem)
            report.add_text("Videos", _NO_FILMS.format(problem))
            return
        actors = Actors(result.contenders, suite, robot)
        for name in result.contenders:
            best, worst = notable([r for r in result.rollouts if r.policy == name], count)
            films = [_film(result, suite, robot, actors, rollout, folder) for rollout in (*best, *worst)]
            report.add_videos(f"Rollouts of {name}", films, _FILM_NOTE)
    finally:
        robot.close()


def _film(result: Evaluation, suite: TaskSuite, robot: Any, actors: Actors, rollout: Rollout, folder: Path) -> tuple[str, Path]:
    """Return the caption and the file of a rollout's film."""
    path = folder / f"{rollout.policy}-{rollout.task}-{rollout.number}.mp4".replace("/", "_")
    trial = result.trials[rollout.number]
    actor = actors.find(rollout.policy, trial.task)
    film_rollout(suite, robot, actor, trial, path, goal=result.contenders[rollout.policy].told(trial))
    verdict = "success" if rollout.success else f"failure, score {rollout.score:.2f}"
    return f"{rollout.task}: {verdict} after {rollout.steps} steps (trial {rollout.number})", path


def _cannot_render(suite: TaskSuite, robot: Any, result: Evaluation) -> str:
    """Return why no picture can be made, empty when one was."""
    try:
        trial = result.trials[0]
        robot.reset(seed=trial.seed, start=trial.start)
        robot.render(str(getattr(suite, "film_camera", CAMERA)), 32, 32)
    except Exception as error:  # drivers fail in many ways, and none of them is worth the figures
        return f"{type(error).__name__}: {error}"
    return ""


def _add_training(report: Report, result: Evaluation) -> None:
    """Add the losses of contenders that lie in a run folder, ``RUN/checkpoints/last``."""
    paths = {name: Path(c.checkpoint).parent.parent / "metrics.jsonl" for name, c in result.contenders.items() if c.checkpoint}
    curves = training_curves({name: path for name, path in paths.items() if path.is_file()})
    if curves:
        report.add_curves("Training", curves, "step", "loss", log_y=True)


def _row(line: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except ValueError:
        return {}
    return row if isinstance(row, dict) else {}


def _bar(task: Mapping[str, Any]) -> tuple[float, float, float]:
    low, high = task["interval"]
    return float(task["success"]), float(low), float(high)


def _span(interval: Sequence[float], form: str = ".1%") -> str:
    return f"{interval[0]:{form}} to {interval[1]:{form}}"


def _summary_row(name: str, summary: Mapping[str, Any]) -> list[Any]:
    success, score = f"{summary['success']:.1%}", f"{summary['score']:.3f}"
    return [
        name,
        success,
        _span(summary["success_interval"]),
        score,
        _span(summary["score_interval"], ".3f"),
        summary["rollouts"],
    ]


def _pair_row(pair: Mapping[str, Any]) -> list[str]:
    difference, p = f"{pair['difference']:+.3f}", f"{pair['mcnemar_p']:.3g}"
    return [f"{pair['a']} against {pair['b']}", difference, _span(pair["interval"], "+.3f"), p]
