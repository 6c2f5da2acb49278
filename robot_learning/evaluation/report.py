"""One HTML page that opens from disk, with tables, bars, curves, videos and commands; nothing is loaded from a network.

report = Report("Push-T", "two policies on the same 50 starts")
report.add_table("Summary", ["policy", "score"], [["beso", "0.85"]])
report.write(Path("runs/report"))  # runs/report/index.html
"""

import base64
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from robot_learning import __version__
from robot_learning.evaluation import charts
from robot_learning.evaluation.charts import Interval

EMBED_BYTES = 400_000
"""Videos below this size are part of the page; larger ones are files in ``media`` beside it."""
MEDIA = "media"


@dataclass(frozen=True)
class _Section:
    """One heading and what is below it; ``kind`` chooses the block of the template."""

    kind: str
    heading: str
    content: Mapping[str, Any]


class Report:
    """Collects sections and writes them as a page. Strings are escaped; give :class:`markupsafe.Markup` for HTML.

    Args:
        title: Of the page.
        subtitle: One line below it.
    """

    def __init__(self, title: str, subtitle: str = "") -> None:
        """Start with no section."""
        self._title, self._subtitle = title, subtitle
        self._sections: list[_Section] = []

    def add_text(self, heading: str, text: str) -> None:
        """Add paragraphs, separated by empty lines in a plain string."""
        html = (
            text
            if isinstance(text, Markup)
            else Markup("").join(Markup("<p>{}</p>").format(part.strip()) for part in text.split("\n\n"))
        )
        self._add("text", heading, html=html)

    def add_table(self, heading: str, columns: Sequence[str], rows: Sequence[Sequence[Any]], note: str = "") -> None:
        """Add a table; a row has a cell per column, the first one names it."""
        self._add("table", heading, columns=list(columns), rows=[list(row) for row in rows], note=note)

    def add_bars(self, heading: str, groups: Mapping[str, Mapping[str, Interval]], note: str = "") -> None:
        """Add bars with whiskers; ``groups`` maps task to policy to (value, low, high), all of them shares from 0 to 1."""
        table = [
            [group, name, *(f"{share:.1%}" for share in interval)]
            for group, values in groups.items()
            for name, interval in values.items()
        ]
        self._add("chart", heading, svg=charts.bars(heading, groups), legend=charts.names(groups), table=table, note=note)

    def add_curves(
        self,
        heading: str,
        curves: Mapping[str, tuple[Sequence[float], Sequence[float]]],
        x_label: str,
        y_label: str,
        *,
        log_y: bool = False,
        note: str = "",
    ) -> None:
        """Add lines in axes; ``curves`` maps a name to its x and y."""
        svg = charts.curves(heading, curves, x_label, y_label, log_y=log_y)
        self._add("chart", heading, svg=svg, legend=list(curves), table=[], note=note)

    def add_scatter(self, heading: str, groups: Mapping[str, Sequence[tuple[float, float]]], note: str = "") -> None:
        """Add points in the plane, coloured by group."""
        self._add("chart", heading, svg=charts.scatter(heading, groups), legend=[], table=[], note=note)

    def add_videos(self, heading: str, videos: Sequence[tuple[str, Path | str]], note: str = "") -> None:
        """Add videos by caption and file; the files are read by :meth:`write`."""
        self._add("videos", heading, videos=[(caption, Path(path)) for caption, path in videos], note=note)

    def add_commands(self, heading: str, commands: Sequence[tuple[str, str, float | None]]) -> None:
        """Add the commands that led here: step, command line, seconds it took (None: not known)."""
        steps = [(step, command, "" if seconds is None else _duration(seconds)) for step, command, seconds in commands]
        self._add("commands", heading, steps=steps)

    def add_json(self, heading: str, data: Mapping[str, Any]) -> None:
        """Add data to unfold."""
        self._add("json", heading, text=json.dumps(data, indent=2, default=str, ensure_ascii=False))

    def write(self, folder: Path | str) -> Path:
        """Write the page and the videos too large for it; return the path of ``index.html``."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        sections = [
            {"id": f"section-{number}", "kind": section.kind, "heading": section.heading} | self._ready(number, section, folder)
            for number, section in enumerate(self._sections, start=1)
        ]
        environment = Environment(
            loader=PackageLoader("robot_learning.evaluation", ""),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        page = environment.get_template("report.html.j2").render(
            title=self._title,
            subtitle=self._subtitle,
            sections=sections,
            colours=charts.COLOURS,
            footer=f"robot-learning {__version__}, {datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        )
        path = folder / "index.html"
        path.write_text(page, encoding="utf-8")
        return path

    def _add(self, kind: str, heading: str, **content: Any) -> None:
        self._sections.append(_Section(kind, heading, content))

    def _ready(self, number: int, section: _Section, folder: Path) -> dict[str, Any]:
        """Return what the template needs; videos become addresses."""
        content = dict(section.content)
        if section.kind == "videos":
            content["videos"] = [
                {"caption": caption, "source": _source(path, folder, f"{number}-{index}-{path.name}")}
                for index, (caption, path) in enumerate(content["videos"], start=1)
            ]
        return content


def _source(path: Path, folder: Path, name: str) -> str:
    """Return the address of a video as seen from the page."""
    if path.stat().st_size < EMBED_BYTES:
        return "data:video/mp4;base64," + base64.b64encode(path.read_bytes()).decode()
    (folder / MEDIA).mkdir(exist_ok=True)
    shutil.copyfile(path, folder / MEDIA / name)
    return f"{MEDIA}/{name}"


def _duration(seconds: float) -> str:
    """Return a time as people say it: ``4.2 s``, ``3 min 20 s``, ``2 h 5 min``."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    return f"{whole // 60} min {whole % 60} s" if whole < 3600 else f"{whole // 3600} h {whole % 3600 // 60} min"
