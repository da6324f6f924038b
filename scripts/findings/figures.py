"""Charts of the page: effects with their intervals, a panel a k, a row a layer, a marker a branch. Plain SVG; a table
of the page has the same numbers."""
import math
import xml.sax.saxutils

# Okabe and Ito 2008: told apart with any colour vision; the shape says it once more.
MARKS = {
    "1x1": ("#0072B2", "circle"),
    "3x3": ("#E69F00", "square"),
    "5x5": ("#D55E00", "diamond"),
    "pool": ("#009E73", "triangle")
}
PANEL, LABELS, ROW, TOP, BOTTOM = 210, 130, 46, 74, 46
STEP = 9  # pixels between the branches of a row


def escaped(text):
    return xml.sax.saxutils.escape(str(text))


def marker(shape, x, y, colour):
    if shape == "circle":
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{colour}"/>'
    points = {
        "square": ((-3.5, -3.5), (3.5, -3.5), (3.5, 3.5), (-3.5, 3.5)),
        "diamond": ((0, -5), (5, 0), (0, 5), (-5, 0)),
        "triangle": ((0, -4.5), (4.5, 3.5), (-4.5, 3.5))
    }[shape]
    return (f'<polygon points="{" ".join(f"{x + dx:.1f},{y + dy:.1f}" for dx, dy in points)}" fill="{colour}"/>')


class Scale:
    """Where a value lies in a panel. `logarithm`: of ratios."""
    def __init__(self, values, null, logarithm):
        self.shape = math.log if logarithm else float
        values = [v for v in values if v is not None and (not logarithm or v > 0)] + [null]
        low, high = self.shape(min(values)), self.shape(max(values))
        margin = 0.06 * (high - low) or 0.1
        self.low, self.high = low - margin, high + margin
        self.logarithm = logarithm

    def __call__(self, value):
        return (self.shape(value) - self.low) / (self.high - self.low) * (PANEL - 24) + 12

    def ticks(self):
        back = math.exp if self.logarithm else float
        raw = (self.high - self.low) / 3
        if self.logarithm:
            candidates = [m * 10.0**e for e in range(-4, 5) for m in (1, 2, 5)]
            inside = [v for v in candidates if self.low < math.log(v) < self.high]
            return inside[::max(1, math.ceil(len(inside) / 4))]
        unit = 10.0**math.floor(math.log10(raw))
        step = min((m * unit for m in (1, 2, 5, 10)), key=lambda s: abs(s - raw))
        first = math.ceil(back(self.low) / step)
        return [i * step for i in range(first, int(math.floor(self.high / step)) + 1)]


def forest(title, axis, null, panels, logarithm=False):
    """panels: [(name, [(row, {branch: Effect or None})])]; all panels have the same rows, those without any effect are
    left out. Returns SVG text."""
    panels = [(name, rows) for name, rows in panels if any(any(row.values()) for _, row in rows)]
    effects = [e for _, rows in panels for _, row in rows for e in row.values() if e]
    if not effects:
        return None
    scale = Scale([v for e in effects for v in (e.value, e.low, e.high)], null, logarithm)
    rows = [name for name, _ in panels[0][1]]
    width = max(LABELS + PANEL * max(len(panels), 2), 9 * len(title)) + 10  # 9: of a bold letter, on the safe side
    height = TOP + ROW * len(rows) + BOTTOM
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" role="img" font-family="sans-serif" font-size="12">',
        f"<title>{escaped(title)}</title>", f'<rect width="{width}" height="{height}" fill="#fff"/>',
        f'<text x="10" y="20" font-size="14" font-weight="bold">{escaped(title)}</text>',
        legend(panels)
    ]
    out += [
        f'<text x="{LABELS - 10}" y="{TOP + ROW * i + ROW / 2 + 4:.0f}" text-anchor="end">{escaped(name)}</text>'
        for i, name in enumerate(rows)
    ]
    for at, (name, cells) in enumerate(panels):
        out += panel(LABELS + PANEL * at, name, cells, scale, null)
    out.append(f'<text x="{LABELS + PANEL * len(panels) / 2:.0f}" y="{height - 8}" text-anchor="middle">'
               f"{escaped(axis)}</text></svg>")
    return "\n".join(out) + "\n"


def legend(panels):
    names = [name for name in MARKS if any(name in row for _, rows in panels for _, row in rows)]
    parts = []
    for i, name in enumerate(names):
        colour, shape = MARKS[name]
        parts.append(
            marker(shape, LABELS + 70 * i, 38, colour) + f'<text x="{LABELS + 10 + 70 * i}" y="42">{name}</text>')
    return "".join(parts)


def panel(left, name, rows, scale, null):
    bottom = TOP + ROW * len(rows)
    out = [f'<text x="{left + PANEL / 2:.0f}" y="{TOP - 10}" text-anchor="middle">{escaped(name)}</text>']
    for tick in scale.ticks():
        x = left + scale(tick)
        out.append(f'<line x1="{x:.1f}" y1="{TOP}" x2="{x:.1f}" y2="{bottom}" stroke="#ddd"/>'
                   f'<text x="{x:.1f}" y="{bottom + 16}" text-anchor="middle" font-size="11">{tick:.4g}</text>')
    x = left + scale(null)
    out.append(f'<line x1="{x:.1f}" y1="{TOP}" x2="{x:.1f}" y2="{bottom}" stroke="#333" stroke-dasharray="4 3"/>')
    for i, (_, row) in enumerate(rows):
        for j, (branch, effect) in enumerate(row.items()):
            if not effect:
                continue
            y = TOP + ROW * i + ROW / 2 + STEP * (j - (len(row) - 1) / 2)
            colour, shape = MARKS[branch]
            if effect.low is not None and effect.high is not None:
                out.append(
                    f'<line x1="{left + scale(effect.low):.1f}" y1="{y:.1f}" x2="{left + scale(effect.high):.1f}" '
                    f'y2="{y:.1f}" stroke="{colour}" stroke-width="2"/>')
            out.append(marker(shape, left + scale(effect.value), y, colour))
    return out
