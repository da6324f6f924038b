"""Numbers and tables as Markdown."""
import math

MISSING = "–"


def figure(value, digits=3):
    """Short: 0.0123, 1.23, 12,345."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return MISSING
    if isinstance(value, int) or (abs(value) >= 1000 and math.isfinite(value)):
        return f"{round(value):,}"
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    places = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    return f"{value:.{min(places, digits + 1)}f}" if abs(value) >= 10**-(digits + 1) else f"{value:.1e}"


def percent(value):
    return MISSING if value is None else f"{100 * value:.1f} %"


def probability(value):
    if value is None:
        return MISSING
    return "< 1e-300" if value == 0 else f"{value:.1e}" if value < 0.001 else f"{value:.3f}"


def with_interval(effect, digits=3):
    """0.61 [0.58, 0.64], two decimals more than enough."""
    if effect is None:
        return MISSING
    if effect.low is None or effect.high is None:
        return figure(effect.value, digits)
    return f"{figure(effect.value, digits)} [{figure(effect.low, digits)}, {figure(effect.high, digits)}]"


def duration(seconds):
    if seconds is None:
        return MISSING
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def table(columns, rows):
    """columns: names; one that starts with ">" is set to the right. Rows of texts."""
    cell = [str(name).removeprefix(">") for name in columns]
    rule = ["---:" if str(name).startswith(">") else "---" for name in columns]
    lines = [cell, rule, *([str(value).replace("|", "\\|") for value in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"
