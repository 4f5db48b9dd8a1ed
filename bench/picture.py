"""The medians as a picture: one group of bars for each trial, drawn as SVG from the JSON document."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from statistics import median
from typing import Any
from xml.sax.saxutils import escape

from bench.trials import HOLDFAST

WIDTH = 860
_BAR_LEFT = 210
_BAR_WIDTH = 520
_BAR_HEIGHT = 18
_ROW = 26
_TITLE = 34
_GAP = 18
_OURS, _PEERS, _INK, _SOFT = "#0b7285", "#b8c0c8", "#1f2933", "#616e7c"
_FONT = "system-ui, -apple-system, 'Segoe UI', Helvetica, Arial, sans-serif"

Run = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """`low` and `high` are the best and the worst run."""

    label: str
    value: float
    low: float
    high: float
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    title: str
    bars: tuple[Bar, ...]

    @property
    def height(self) -> int:
        return _TITLE + _ROW * len(self.bars) + _GAP


def draw(document: dict[str, Any]) -> str:
    panels = tuple(_panels(document))
    height = sum(panel.height for panel in panels) + _GAP
    size = f'viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="{_FONT}" font-size="13">',
        "<title>Holdfast and its peers: medians of all runs</title>",
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
    ]
    top = _GAP
    for panel in panels:
        parts += _draw_panel(panel, top)
        top += panel.height
    return "\n".join([*parts, "</svg>"]) + "\n"


def _panels(document: dict[str, Any]) -> Iterator[Panel]:
    titles = {
        "backup": "Full backup",
        "restore": "Restore",
        "many backup": "Many tiny tables: full backup",
        "many restore": "Many tiny tables: restore",
        "prune": "Prune of a thousand snapshots",
    }
    results = document["trials"]
    for trial, title in titles.items():
        if trial in results:
            yield _panel(f"{title}, seconds", results[trial], lambda run: run["seconds"], "{:.1f} s")
    if "backup" in results:
        written = {name: runs for name, runs in results["backup"].items() if not name.endswith("-Z0")}
        yield _panel("Stored, MB", written, lambda run: run["output_bytes"] / 1e6, "{:.0f} MB")
    memory = {
        trial: runs[HOLDFAST] for trial, runs in results.items() if trial.endswith(("backup", "restore"))
    }
    if memory:
        title = "Holdfast's memory at its peak, MB, the worst run"
        yield _panel(title, memory, lambda run: run["client_bytes"] / 1e6, "{:.0f} MB", max)


def _panel(
    title: str,
    contenders: dict[str, list[Run]],
    quantity: Callable[[Run], float],
    text: str,
    statistic: Callable[[list[float]], float] = median,
) -> Panel:
    bars = []
    for label, runs in contenders.items():
        values = [quantity(run) for run in runs]
        value = statistic(values)
        bars.append(Bar(label=label, value=value, low=min(values), high=max(values), text=text.format(value)))
    return Panel(title=title, bars=tuple(bars))


def _draw_panel(panel: Panel, top: int) -> Iterator[str]:
    scale = _BAR_WIDTH / (max(bar.high for bar in panel.bars) or 1)
    yield (
        f'<text x="20" y="{top + 16}" font-size="15" font-weight="600" fill="{_INK}">'
        f"{escape(panel.title)}</text>"
    )
    all_ours = all(bar.label != HOLDFAST for bar in panel.bars)
    for number, bar in enumerate(panel.bars):
        y = top + _TITLE + _ROW * number
        middle = y + _BAR_HEIGHT / 2
        ours = all_ours or bar.label == HOLDFAST
        width, low, high = bar.value * scale, _BAR_LEFT + bar.low * scale, _BAR_LEFT + bar.high * scale
        weight = "600" if ours else "400"
        yield (
            f'<text x="{_BAR_LEFT - 10}" y="{middle + 4.5}" text-anchor="end" font-weight="{weight}" '
            f'fill="{_INK}">{escape(bar.label)}</text>'
        )
        yield (
            f'<rect x="{_BAR_LEFT}" y="{y}" width="{width:.1f}" height="{_BAR_HEIGHT}" rx="2" '
            f'fill="{_OURS if ours else _PEERS}"/>'
        )
        yield (
            f'<line x1="{low:.1f}" y1="{middle}" x2="{high:.1f}" y2="{middle}" stroke="{_SOFT}" '
            'stroke-width="2"/>'
        )
        yield (
            f'<text x="{high + 8:.1f}" y="{middle + 4.5}" font-weight="{weight}" fill="{_INK}">'
            f"{escape(bar.text)}</text>"
        )
