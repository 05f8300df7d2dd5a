"""figure.py FIGURES SVG: draws the table that `run` has written, on a scale of factors."""

import re
import sys
from html import escape
from math import log10

LEFT, WIDTH, ROW, TOP = 250, 540, 24, 74
LOW, HIGH = 0.0, 5.0  # powers of ten, in nanoseconds
NEEDM, OTHER = "#1f6fb4", "#8a8f98"


def x(nanoseconds):
    return LEFT + WIDTH * (log10(max(nanoseconds, 1.0)) - LOW) / (HIGH - LOW)


def short(nanoseconds):
    if nanoseconds < 1000:
        return f"{nanoseconds:.3g} ns"
    return f"{nanoseconds / 1000:.3g} µs"


def read(path):
    """The machine, and for each row: name, repeated, first (or None)."""
    lines = open(path, encoding="utf-8").read().splitlines()
    rows = []
    for line in lines[3:]:
        numbers = re.match(r"(.{38}) +([0-9.]+) {1,10}([0-9]+)?", line)
        if numbers:
            name, repeated, first = numbers.groups()
            rows.append((name.strip(), float(repeated), float(first) if first else None))
    return lines[0], rows


def text(at, y, words, anchor="start", weight="normal", size=12):
    return (f'<text x="{at:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" '
            f'font-weight="{weight}" fill="#6a7078">{escape(words)}</text>')


def draw(machine, rows):
    height = TOP + ROW * len(rows) + 56
    bottom = TOP + ROW * len(rows)
    yield (f'<svg xmlns="http://www.w3.org/2000/svg" width="860" height="{height}" '
           f'viewBox="0 0 860 {height}" font-family="sans-serif" role="img">')
    yield "<title>What a call from a C thread costs: needm and others</title>"
    yield text(12, 22, "What a call from a C thread costs", weight="bold", size=15)
    yield f'<circle cx="{LEFT + 6}" cy="46" r="5" fill="{OTHER}"/>'
    yield text(LEFT + 16, 50, "a repeated call")
    yield (f'<circle cx="{LEFT + 126}" cy="46" r="4.5" fill="none" stroke="{OTHER}" '
           'stroke-width="1.5"/>')
    yield text(LEFT + 136, 50, "a thread's first call, over making and joining it")
    yield f'<rect x="{LEFT + 420}" y="41" width="10" height="10" fill="{NEEDM}"/>'
    yield text(LEFT + 436, 50, "needm")
    for power in range(int(LOW), int(HIGH) + 1):
        at = x(10.0 ** power)
        yield (f'<line x1="{at:.1f}" y1="{TOP - 12}" x2="{at:.1f}" y2="{bottom}" '
               'stroke="#8a8f98" stroke-opacity="0.3"/>')
        yield text(at, bottom + 18, short(10.0 ** power), "middle", size=11)
    for index, (name, repeated, first) in enumerate(rows):
        y = TOP + ROW * index + 4
        colour = NEEDM if name.startswith("needm") else OTHER
        yield text(12, y + 4, name)
        yield (f'<line x1="{LEFT}" y1="{y}" x2="{x(repeated):.1f}" y2="{y}" '
               f'stroke="{colour}" stroke-width="2"/>')
        yield f'<circle cx="{x(repeated):.1f}" cy="{y}" r="5" fill="{colour}"/>'
        yield text(x(repeated) + 9, y + 4, short(repeated), size=11)
        if first is not None:
            yield (f'<circle cx="{x(first):.1f}" cy="{y}" r="4.5" fill="none" '
                   f'stroke="{colour}" stroke-width="1.5"/>')
            yield text(x(first) + 9, y + 4, short(first), size=11)
    yield text(LEFT + WIDTH / 2, bottom + 34, "time of a call, on a scale of factors", "middle", size=11)
    yield text(12, bottom + 50, machine, size=11)
    yield "</svg>"


if __name__ == "__main__":
    with open(sys.argv[2], "w", encoding="utf-8") as file:
        file.write("\n".join(draw(*read(sys.argv[1]))) + "\n")
