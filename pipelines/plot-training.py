#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""plot-training.py METRICS.CSV [PICTURE.SVG]

Draws the curves of a training run: loss, PSNR, learning rate and gradient norm against the step,
from the file that fenwicktrain's metrics-location wrote. Without PICTURE.SVG the picture lies
beside the CSV.
"""
import csv
import math
import os
import sys

WIDTH, HEIGHT = 860, 210  # of a panel
LEFT, RIGHT, TOP, BOTTOM = 70, 20, 30, 30
COLORS = ["#9ab8d8", "#0b4f9e", "#c2571a", "#7a7a7a"]
PANELS = [  # title, logarithmic, [(column, name)]
    ("loss", True, [("loss", "each step"), ("loss_mean", "mean of 100 steps")]),
    ("PSNR, dB", False, [("psnr", "training"), ("validation_psnr", "validation"),
                         ("validation_input_psnr", "validation input")]),
    ("learning rate", False, [("learning_rate", "learning rate")]),
    ("norm of the gradient", True, [("gradient_norm", "gradient")]),
]


def fail(text):
    sys.exit("plot-training.py: " + text)


def read(path):
    """Rows as dictionaries of numbers; what is no finite number is left out."""
    try:
        with open(path, newline="") as file:
            rows = list(csv.DictReader(file))
    except OSError as error:
        fail("%s: %s" % (path, error.strerror))
    numbers = []
    for row in rows:
        values = {}
        for name, text in row.items():
            try:
                value = float(text)
            except (TypeError, ValueError):
                continue
            if math.isfinite(value):
                values[name] = value
        if "step" in values:
            numbers.append(values)
    if not numbers:
        fail("%s: not a single row with a step" % path)
    return numbers


def ticks(low, high, logarithmic):
    if logarithmic:
        first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
        stride = max(1, (last - first) // 5)
        return [10.0 ** e for e in range(first, last + 1, stride) if low <= 10.0 ** e <= high]
    stride = 10.0 ** math.floor(math.log10((high - low) / 4))
    for factor in (5, 2):
        if (high - low) / (stride * factor) >= 3:
            stride *= factor
            break
    first = math.ceil(low / stride)
    return [i * stride for i in range(first, math.floor(high / stride + 1e-9) + 1)]


class Axis:
    """From values to places between two edges."""

    def __init__(self, values, begin, end, logarithmic=False):
        self.log = logarithmic
        self.begin, self.end = begin, end
        self.low, self.high = min(values), max(values)
        if self.high <= self.low:
            pad = abs(self.low) * 0.1 or 1.0
            self.low, self.high = self.low - (0 if logarithmic else pad), self.high + pad

    def __call__(self, value):
        low, high = self.low, self.high
        if self.log:
            low, high, value = math.log(low), math.log(high), math.log(value)
        return self.begin + (self.end - self.begin) * (value - low) / (high - low)


def label(x, y, text, anchor="start", color="#333"):
    return '<text x="%.1f" y="%.1f" text-anchor="%s" fill="%s">%s</text>' % (
        x, y, anchor, color, text)


def curve(points, color):
    if len(points) == 1:
        return '<circle cx="%.1f" cy="%.1f" r="2" fill="%s"/>' % (*points[0], color)
    return '<polyline fill="none" stroke="%s" stroke-width="1.5" points="%s"/>' % (
        color, " ".join("%.1f,%.1f" % p for p in points))


def panel(rows, top, title, logarithmic, columns):
    """The SVG of one panel, or nothing when no column has a value."""
    def usable(row, name):
        return name in row and (not logarithmic or row[name] > 0)

    curves = [(text, [(r["step"], r[name]) for r in rows if usable(r, name)])
              for name, text in columns]
    curves = [c for c in curves if c[1]]
    if not curves:
        return None
    x = Axis([r["step"] for r in rows], LEFT, WIDTH - RIGHT)
    y = Axis([v for _, points in curves for _, v in points], top + HEIGHT - BOTTOM, top + TOP,
             logarithmic)
    out = [label(LEFT, top + TOP - 12, title, color="#000")]
    for value in ticks(y.low, y.high, logarithmic):
        out.append('<line x1="%d" x2="%d" y1="%.1f" y2="%.1f" stroke="#ddd"/>' % (
            LEFT, WIDTH - RIGHT, y(value), y(value)))
        out.append(label(LEFT - 6, y(value) + 4, "%g" % value, "end"))
    for value in ticks(x.low, x.high, False):
        out.append(label(x(value), top + HEIGHT - BOTTOM + 16, "%g" % value, "middle"))
    out.append('<rect x="%d" y="%d" width="%d" height="%d" fill="none" stroke="#888"/>' % (
        LEFT, top + TOP, WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM))
    for i, (text, points) in enumerate(curves):
        out.append(curve([(x(s), y(v)) for s, v in points], COLORS[i]))
        out.append(label(WIDTH - RIGHT - 170 * (len(curves) - i - 1), top + TOP - 12, text, "end",
                         COLORS[i]))
    return "\n".join(out)


def main():
    if len(sys.argv) == 2 and sys.argv[1] in ("-h", "--help"):
        print(__doc__.strip())
        return
    if not 2 <= len(sys.argv) <= 3 or sys.argv[1].startswith("-"):
        fail("wants METRICS.CSV and perhaps PICTURE.SVG; see --help")
    source = sys.argv[1]
    target = sys.argv[2] if len(sys.argv) == 3 else os.path.splitext(source)[0] + ".svg"
    rows = read(source)
    drawn = []
    for description in PANELS:
        one = panel(rows, HEIGHT * len(drawn), *description)
        if one:
            drawn.append(one)
    svg = ('<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif"'
           ' font-size="12">\n<rect width="100%%" height="100%%" fill="white"/>\n%s\n</svg>\n' % (
               WIDTH, HEIGHT * len(drawn), "\n".join(drawn)))
    try:
        with open(target, "w") as file:
            file.write(svg)
    except OSError as error:
        fail("%s: %s" % (target, error.strerror))
    print(target)


main()
