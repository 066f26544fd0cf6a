"""Figures as a picture: every number of a result as a bar, groups one below the other, each on its own scale. SVG.

Figures taken at several sizes are grouped by figure, a bar per size: what does not depend on it is flat.
"""

from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

__all__ = ["svg"]

ROW = 22
LEFT = 330
WIDTH = 900
BAR = WIDTH - LEFT - 110
LEFT_OUT = ("on", "rounds", "load_average")
"""Keys that describe a run rather than measure something."""


def svg(name: str, figures: Mapping[str, Any]) -> str:
    """Return an SVG document showing the numbers of a result."""
    rows: list[str] = []
    y = 40
    for title, bars in _groups(figures, name):
        rows.append(f'<text x="12" y="{y}" class="g">{escape(title)}</text>')
        y += ROW
        most = max(abs(value) for _, value in bars) or 1.0
        for label, value in bars:
            width = max(1.0, BAR * abs(value) / most)
            rows.append(f'<text x="{LEFT - 10}" y="{y + 14}" class="l">{escape(label)}</text>')
            rows.append(f'<rect x="{LEFT}" y="{y + 2}" width="{width:.1f}" height="{ROW - 6}"/>')
            rows.append(f'<text x="{LEFT + width + 6:.1f}" y="{y + 14}">{value:,.6g}</text>')
            y += ROW
        y += ROW // 2
    style = "text{font:13px sans-serif;fill:#222}.g{font-weight:bold}.l{text-anchor:end;fill:#555}rect{fill:#3b6ea5}"
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{y}" viewBox="0 0 {WIDTH} {y}">'
    return "\n".join(
        [head, f"<style>{style}</style>", f'<rect width="{WIDTH}" height="{y}" style="fill:#fff"/>', *rows, "</svg>\n"]
    )


def _groups(tree: Mapping[str, Any], title: str) -> Iterator[tuple[str, list[tuple[str, float]]]]:
    """Yield (title, bars) for every mapping that holds numbers, outermost first."""
    plain = {key: value for key, value in tree.items() if key not in LEFT_OUT}
    if len(plain) > 1 and all(key.isdigit() and isinstance(value, Mapping) for key, value in plain.items()):
        plain = _by_figure(plain)
    bars = [(_words(key), float(value)) for key, value in plain.items() if isinstance(value, int | float)]
    if bars:
        yield title, bars
    for key, value in plain.items():
        if isinstance(value, Mapping):
            yield from _groups(value, f"{title}: {_words(key)}")


def _by_figure(sizes: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Turn figures by size into sizes by figure, at every depth."""
    turned: dict[str, Any] = {}
    for size, figures in sizes.items():
        for name, value in figures.items():
            turned.setdefault(name, {})[size] = value
    return {
        name: _by_figure(found) if all(isinstance(value, Mapping) for value in found.values()) else found
        for name, found in turned.items()
    }


def _words(key: str) -> str:
    return key.replace("_", " ")
