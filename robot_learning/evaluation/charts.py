"""Bars and curves as inline SVG: no script, no font and no library travels with a page.

Colours are the classes ``c0`` to ``c7`` of the page's style sheet, so that they follow its light and dark schemes.
"""

import math
from collections.abc import Iterable, Mapping, Sequence

from markupsafe import Markup, escape

COLOURS = 8
"""Classes of colours that the style sheet defines."""
Interval = tuple[float, float, float]
"""A value and the interval around it: value, low, high."""
_WIDTH = 760
_POINTS = 400
"""Most points of a drawn curve; longer ones are drawn as means of neighbours."""


def bars(label: str, groups: Mapping[str, Mapping[str, Interval]]) -> Markup:
    """Return horizontal bars with interval whiskers: a block per group, a bar per name; values are shares, 0 to 1.

    Args:
        label: What a screen reader says.
        groups: Group to name to (value, low, high).
    """
    order = names(groups)
    left = 16 + max((7.2 * len(group) for group in groups), default=0.0)
    scale = _WIDTH - left - 64
    parts, y = [], 8.0
    for group, values in groups.items():
        block = 16 * len(values)
        parts.append(f'<text class="name" x="{left - 10:.0f}" y="{y + block / 2 + 4:.1f}">{escape(group)}</text>')
        for name, (value, low, high) in values.items():
            parts.append(_bar(left, y, scale, order.index(name), f"{group}, {name}", (value, low, high)))
            y += 16
        y += 9
    ticks = "".join(_column(left + scale * share, y, f"{share:.0%}") for share in (0.0, 0.25, 0.5, 0.75, 1.0))
    return _svg(label, y + 24, ticks + "".join(parts))


def curves(
    label: str,
    series: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    x_label: str,
    y_label: str,
    *,
    log_y: bool = False,
) -> Markup:
    """Return lines in axes; points that are not finite are left out, a line of a single point is a dot.

    Args:
        label: What a screen reader says.
        series: Name to the lists of x and of y.
        x_label: Below the axis.
        y_label: Above the axis.
        log_y: Logarithmic y, where all of it is positive: some losses are not, and a line must not end where they cross zero.
    """
    kept = {name: _thin(_finite(zip(*xy, strict=True))) for name, xy in series.items()}
    points = [point for line in kept.values() for point in line]
    if not points:
        return Markup("<p>No points to draw.</p>")
    log_y = log_y and all(y > 0 for _, y in points)
    left, top, width, height = 64.0, 28.0, _WIDTH - 88.0, 260.0
    xs, ys = (_ticks(min(axis), max(axis)) for axis in zip(*points, strict=True))
    if log_y:
        ys = _decades(min(y for _, y in points), max(y for _, y in points))

    def place(x: float, y: float) -> tuple[float, float]:
        up = math.log(y / ys[0]) / math.log(ys[-1] / ys[0]) if log_y else (y - ys[0]) / (ys[-1] - ys[0])
        return left + width * (x - xs[0]) / (xs[-1] - xs[0]), top + height * (1 - up)

    parts = [_row(left, place(xs[0], y)[1], width, f"{y:.4g}") for y in ys]
    parts += [_column(place(x, ys[0])[0], top + height, f"{x:,.6g}", start=top) for x in xs]
    parts.append(f'<text x="{left + width / 2:.0f}" y="{top + height + 40:.0f}" class="mid">{escape(x_label)}</text>')
    parts.append(f'<text x="8" y="14">{escape(y_label)}</text>')
    parts += [_line([place(*point) for point in line], index, name) for index, (name, line) in enumerate(kept.items())]
    return _svg(label, top + height + 52, "".join(parts))


def scatter(label: str, groups: Mapping[str, Sequence[tuple[float, float]]]) -> Markup:
    """Return points without axes, a hue per group and a legend: for maps whose directions mean nothing.

    Args:
        label: What a screen reader says.
        groups: Name of a group to its points.
    """
    points = [point for values in groups.values() for point in values]
    if not points:
        return Markup("<p>No points to draw.</p>")
    size = 460.0
    low, high = ([limit(axis) for axis in zip(*points, strict=True)] for limit in (min, max))
    span = max(high[0] - low[0], high[1] - low[1]) or 1.0
    hues = {name: f"hsl({360 * index // len(groups)} 70% 50%)" for index, name in enumerate(groups)}
    dots = "".join(
        f'<circle cx="{10 + size * (x - low[0]) / span:.1f}" cy="{10 + size * (high[1] - y) / span:.1f}" r="3.5" '
        f'style="fill:{hues[name]}"><title>{escape(name)}</title></circle>'
        for name, values in groups.items()
        for x, y in values
    )
    legend = Markup(" ").join(Markup('<span style="color:{}">●</span> {}').format(hues[name], name) for name in groups)
    return _svg(label, size + 20, dots) + Markup("<p>{}</p>").format(legend)


def names(groups: Mapping[str, Mapping[str, Interval]]) -> list[str]:
    """Return the names in all groups, in the order of their first appearance; colours follow it."""
    return list(dict.fromkeys(name for values in groups.values() for name in values))


def _svg(label: str, height: float, content: str) -> Markup:
    size = f'viewBox="0 0 {_WIDTH} {height:.0f}"'
    return Markup(f'<svg {size} role="img" aria-label="{escape(label)}">{content}</svg>')


def _bar(left: float, y: float, scale: float, colour: int, what: str, interval: Interval) -> str:
    value, low, high = (min(max(share, 0.0), 1.0) for share in interval)
    middle, start, end = y + 7, left + scale * low, left + scale * high
    title = escape(f"{what}: {value:.1%}, 95 % interval {low:.1%} to {high:.1%}")
    whisker = f"M{start:.1f},{middle:.1f}H{end:.1f}M{start:.1f},{middle - 3:.1f}v6M{end:.1f},{middle - 3:.1f}v6"
    return (
        f'<g><title>{title}</title><rect class="bar c{colour % COLOURS}" x="{left:.1f}" y="{y:.1f}" '
        f'width="{max(scale * value, 1.0):.1f}" height="14" rx="2"/><path class="whisker" d="{whisker}"/>'
        f'<text class="figure" x="{left + scale + 12:.0f}" y="{y + 11:.1f}">{value:.0%}</text></g>'
    )


def _line(points: Sequence[tuple[float, float]], index: int, name: str) -> str:
    colour, title = f"c{index % COLOURS}", f"<title>{escape(name)}</title>"
    if len(points) == 1:
        return f'<circle class="bar {colour}" cx="{points[0][0]:.1f}" cy="{points[0][1]:.1f}" r="3.5">{title}</circle>'
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    dash = ' stroke-dasharray="6 4"' if index >= COLOURS else ""
    return f'<polyline class="line {colour}" points="{path}"{dash}>{title}</polyline>'


def _column(x: float, bottom: float, text: str, start: float = 4.0) -> str:
    return (
        f'<path class="grid" d="M{x:.1f},{start:.0f}V{bottom:.1f}"/>'
        f'<text class="mid tick" x="{x:.1f}" y="{bottom + 17:.1f}">{text}</text>'
    )


def _row(left: float, y: float, width: float, text: str) -> str:
    return (
        f'<path class="grid" d="M{left:.0f},{y:.1f}h{width:.0f}"/>'
        f'<text class="name tick" x="{left - 8:.0f}" y="{y + 4:.1f}">{text}</text>'
    )


def _finite(points: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    return [(x, y) for x, y in points if math.isfinite(x) and math.isfinite(y)]


def _thin(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    size = math.ceil(len(points) / _POINTS)
    blocks = [points[i : i + size] for i in range(0, len(points), size)] if size > 1 else [[point] for point in points]
    return [(sum(x for x, _ in block) / len(block), sum(y for _, y in block) / len(block)) for block in blocks]


def _ticks(low: float, high: float) -> list[float]:
    """Return round numbers, 4 to 9 of them, from at or below ``low`` to at or above ``high``."""
    span = high - low or abs(low) or 1.0
    power = 10.0 ** math.floor(math.log10(span))
    step = next(step for step in (power * 0.1, power * 0.2, power * 0.5, power, power * 2) if span / step <= 6)
    first, last = math.floor(low / step), math.ceil(high / step)
    return [step * i for i in range(first, max(last, first + 1) + 1)]


def _decades(low: float, high: float) -> list[float]:
    """Return 1, 2 and 5 times powers of ten, or only the powers where those are many, around ``low`` to ``high``."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    grid = [mantissa * 10.0**power for power in range(first, last + 1) for mantissa in (1, 2, 5)]
    start = max(i for i, value in enumerate(grid) if value <= low * (1 + 1e-9))
    end = min((i for i, value in enumerate(grid) if value >= high * (1 - 1e-9)), default=len(grid) - 1)
    chosen = grid[start : max(end, start + 1) + 1]
    return chosen if len(chosen) <= 9 else [10.0**power for power in range(first, last + 1)]
