"""A tree as a picture: boxes laid out without overlap, as SVG (written here) or PNG (by matplotlib)."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import escape

from dbml.errors import MissingExtra

if TYPE_CHECKING:
    from dbml.cli.tree_view import TreeView, ViewNode

_FONT, _LINE, _PAD = 12.0, 16.0, 8.0
_GAP, _LEVEL, _MARGIN, _HEAD = 14.0, 46.0, 24.0, 58.0
_WRAP = 26  # characters of a condition in a line
_INK, _FAINT, _EDGE, _BOX = "#1f2937", "#6b7280", "#9ca3af", "#f8fafc"
_LOW, _NONE, _HIGH = (33, 102, 172), (247, 247, 247), (196, 78, 45)


@dataclass
class Box:
    """A node with its place: `x` of its middle, `y` of its top."""

    node: ViewNode
    lines: list[str]
    width: float
    height: float
    answer: str = ""
    children: list[Box] = field(default_factory=list)
    x: float = 0.0
    y: float = 0.0
    depth: int = 0

    def walk(self) -> Iterator[Box]:
        """Yield the box and all below it, parents first."""
        waiting = [self]
        for box in waiting:
            yield box
            waiting += box.children


def text_width(text: str, size: float = _FONT) -> float:
    """Return how wide a text is at most in a sans-serif font: about that of DejaVu Sans, which is a wide one."""
    narrow, wide = "iljtfr.,:;'|!()[]{} ", "mwMW%@—≤+"
    ems = (0.39 if c in narrow else 0.9 if c in wide else 0.7 if c.isupper() else 0.64 for c in text)
    return size * sum(ems)


# layout -------------------------------------------------------------------------------------------------------


def lay_out(root: ViewNode) -> tuple[Box, float, float]:
    """Place the nodes of a tree; return the root's box, the width and the height of the picture.

    Reingold and Tilford 1981, for boxes of any width: the trees below a node are pushed together until some level of
    theirs nearly touches, and the node stands above the middle of its children.
    """
    top = _box(root, 0)
    _place(top)
    boxes = list(top.walk())
    tall = [0.0] * (max(box.depth for box in boxes) + 1)
    for box in boxes:
        tall[box.depth] = max(tall[box.depth], box.height)
    tops = [_HEAD + sum(tall[:depth]) + depth * _LEVEL for depth in range(len(tall))]
    left = min(box.x - box.width / 2 for box in boxes) - _MARGIN
    for box in boxes:
        box.x, box.y = box.x - left, tops[box.depth]
    width = max(box.x + box.width / 2 for box in boxes) + _MARGIN
    return top, width, tops[-1] + tall[-1] + _MARGIN


def _box(node: ViewNode, depth: int, answer: str = "") -> Box:
    rows = f"{node.rows:,.0f} rows"
    if node.branches:
        together = node.condition.replace("or missing", "or\N{NO-BREAK SPACE}missing")
        lines = [*textwrap.wrap(together, _WRAP), f"{rows} · gain {node.gain:,.3g}"]
    else:
        lines = [node.said, rows]
    width = max(text_width(line, _FONT if i < len(lines) - 1 else _FONT - 2) for i, line in enumerate(lines)) + 2 * _PAD
    width *= 1.0 if node.branches else 1.06  # bold
    box = Box(node, lines, width, len(lines) * _LINE + _PAD, answer, depth=depth)
    box.children = [_box(child, depth + 1, word) for word, child in node.branches]
    return box


_Contour = list[tuple[float, float]]  # of each level below: how far it reaches to the left and right of the node


def _place(box: Box) -> _Contour:
    """Set `x` of all boxes below, as they lie to the box at 0; return how far each level reaches."""
    own = (-box.width / 2, box.width / 2)
    if not box.children:
        return [own]
    contours = [_place(child) for child in box.children]
    apart = max(a[1] - b[0] for a, b in zip(*contours, strict=False)) + _GAP
    for child, move in zip(box.children, (-apart / 2, apart / 2), strict=True):
        for below in child.walk():
            below.x += move
    moved = [
        [(low + move, high + move) for low, high in contour]
        for contour, move in zip(contours, (-apart / 2, apart / 2), strict=True)
    ]
    deepest = max(moved, key=len)
    both = [(a[0], b[1]) for a, b in zip(*moved, strict=False)]
    return [own, *both, *deepest[len(both) :]]


# drawing ------------------------------------------------------------------------------------------------------


def _colour(node: ViewNode, largest: float) -> str:
    """Return the colour of a leaf: blue to red by its value; of a share, the stronger the larger."""
    if node.label is not None:
        part, towards = node.value, _LOW
    else:
        part = min(abs(node.value) / largest, 1.0) if largest else 0.0
        towards = _HIGH if node.value > 0 else _LOW
    mixed = [round(a + (b - a) * 0.75 * part) for a, b in zip(_NONE, towards, strict=True)]
    return "#{:02x}{:02x}{:02x}".format(*mixed)


def _ink(fill: str) -> tuple[str, str]:
    """Return the colours of text, strong and faint, that can be read on a fill."""
    red, green, blue = (int(fill[i : i + 2], 16) for i in (1, 3, 5))
    dark = 0.299 * red + 0.587 * green + 0.114 * blue < 140
    return ("#ffffff", "#f1f5f9") if dark else (_INK, _FAINT if fill == _BOX else "#374151")


@dataclass
class _Pen:
    """What draws: a line with its width, a box with its colours, a text with its size, colour and weight."""

    line: Callable[[float, float, float, float, float], None]
    box: Callable[[float, float, float, float, str, str], None]
    text: Callable[[float, float, str, float, str, bool, str], None]


def _on_line(x1: float, y1: float, x2: float, y2: float, t: float) -> tuple[float, float]:
    """Return the point at `t` of the curve that joins two boxes: it leaves the one and reaches the other upright."""
    middle, back = (y1 + y2) / 2, 1.0 - t
    x = (back**3 + 3 * back**2 * t) * x1 + (3 * back * t**2 + t**3) * x2
    return x, back**3 * y1 + (3 * back**2 * t + 3 * back * t**2) * middle + t**3 * y2


def _draw(view: TreeView, top: Box, pen: _Pen) -> None:
    leaves = [box.node.value for box in top.walk() if not box.children]
    largest, all_rows = max(map(abs, leaves)), max(view.root.rows, 1e-300)
    pen.text(_MARGIN, 28, view.title, 15, _INK, True, "start")
    pen.text(_MARGIN, 46, view.meaning, 11, _FAINT, False, "start")
    for box in top.walk():
        for child in box.children:
            thick = 1.0 + 7.0 * child.node.rows / all_rows
            pen.line(box.x, box.y + box.height, child.x, child.y, thick)
    for box in top.walk():
        fill = _BOX if box.children else _colour(box.node, largest)
        strong, faint = _ink(fill)
        pen.box(box.x - box.width / 2, box.y, box.width, box.height, fill, _EDGE)
        for i, line in enumerate(box.lines):
            last = i == len(box.lines) - 1
            size, ink = (_FONT - 2, faint) if last else (_FONT, strong)
            bold = not box.children and not last
            pen.text(box.x, box.y + _PAD / 2 + (i + 0.75) * _LINE, line, size, ink, bold, "middle")
    for box in top.walk():
        for child in box.children:
            x, y = _on_line(box.x, box.y + box.height, child.x, child.y, 0.66)
            pen.box(x - 11, y - 7, 22, 14, "#ffffff", "#ffffff")
            pen.text(x, y + 3.5, child.answer, 10, _FAINT, False, "middle")


def svg(view: TreeView) -> str:
    """Return a tree as the text of an SVG picture."""
    top, width, height = lay_out(view.root)
    width = max(width, text_width(view.title, 16) + 2 * _MARGIN, text_width(view.meaning, 12) + 2 * _MARGIN)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.0f} {height:.0f}" font-family="Helvetica, Arial, \'DejaVu Sans\', sans-serif">',
        f"<title>{escape(view.title)}</title>",
        f'<rect width="{width:.0f}" height="{height:.0f}" fill="#ffffff"/>',
    ]

    def line(x1: float, y1: float, x2: float, y2: float, thick: float) -> None:
        middle = (y1 + y2) / 2
        parts.append(
            f'<path d="M{x1:.1f},{y1:.1f} C{x1:.1f},{middle:.1f} {x2:.1f},{middle:.1f} {x2:.1f},{y2:.1f}" '
            f'fill="none" stroke="#cbd5e1" stroke-width="{thick:.1f}"/>'
        )

    def box(x: float, y: float, w: float, h: float, fill: str, edge: str) -> None:
        parts.append(
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{w:.1f}" height="{h:.1f}" rx="6" fill="{fill}" stroke="{edge}"/>'
        )

    def text(x: float, y: float, said: str, size: float, ink: str, bold: bool, anchor: str) -> None:
        weight = ' font-weight="600"' if bold else ""
        parts.append(
            f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size:g}" fill="{ink}"{weight} text-anchor="{anchor}">'
            f"{escape(said)}</text>"
        )

    _draw(view, top, _Pen(line, box, text))
    return "\n".join([*parts, "</svg>\n"])


def write_png(view: TreeView, path: Path) -> None:
    """Write a tree as a PNG picture.

    Raises
    ------
    MissingExtra
        matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
        from matplotlib.patches import FancyBboxPatch, PathPatch
        from matplotlib.path import Path as Curve
    except ImportError as error:
        raise MissingExtra(
            "a PNG picture is drawn by matplotlib, which is not installed: pip install 'dbml[plot]', or --svg FILE"
        ) from error
    top, width, height = lay_out(view.root)
    width = max(width, text_width(view.title, 16) + 2 * _MARGIN, text_width(view.meaning, 12) + 2 * _MARGIN)
    figure = Figure(figsize=(width / 96, height / 96), dpi=192)
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_xlim(0, width)
    axes.set_ylim(height, 0)
    axes.set_axis_off()
    points = 72 / 96

    def line(x1: float, y1: float, x2: float, y2: float, thick: float) -> None:
        middle = (y1 + y2) / 2
        codes = [Curve.MOVETO, Curve.CURVE4, Curve.CURVE4, Curve.CURVE4]
        curve = Curve([(x1, y1), (x1, middle), (x2, middle), (x2, y2)], codes)
        axes.add_patch(PathPatch(curve, facecolor="none", edgecolor="#cbd5e1", linewidth=thick * points, zorder=1))

    def box(x: float, y: float, w: float, h: float, fill: str, edge: str) -> None:
        shape = "round,pad=0,rounding_size=6"
        patch = FancyBboxPatch((x, y), w, h, boxstyle=shape, facecolor=fill, edgecolor=edge, linewidth=points, zorder=2)
        axes.add_patch(patch)

    def text(x: float, y: float, said: str, size: float, ink: str, bold: bool, anchor: str) -> None:
        align = "left" if anchor == "start" else "center"
        style: dict[str, Any] = {
            "fontsize": size * points * 0.94,
            "color": ink,
            "fontweight": "bold" if bold else "normal",
        }
        # A dollar sign would begin a formula.
        axes.text(x, y, said, ha=align, va="baseline", zorder=3, parse_math=False, **style)

    _draw(view, top, _Pen(line, box, text))
    canvas.print_png(str(path))
