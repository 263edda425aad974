"""Prints what an export of llvm-cov (JSON) counts zero in the rooms of the life cycle.

Two forms: `places`, one region a line with its source, and `functions`, one function a line with the lines that are not
reached in it, as fuzz/COVERAGE.md lists them.
"""

import json
import re
import sys

form, export, root = sys.argv[1:]
ROOMS = ("lifecycle", "vnet", "epoch", "clone", "drivers")
FUNCTION = re.compile(r"\s*(?:pub(?:\([a-z: ]+\))? )?(?:const )?(?:unsafe )?fn (\w+)")


def function(source, line):
    """The name of the function that a line is in: the nearest one that begins above."""
    return next((found[1] for text in reversed(source[:line]) if (found := FUNCTION.match(text))), "?")


def ranges(lines):
    """Line numbers, those that follow each other as first-last."""
    runs = []
    for line in sorted(lines):
        if runs and line == runs[-1][1] + 1:
            runs[-1][1] = line
        else:
            runs.append([line, line])
    return ", ".join(f"{first}" if first == last else f"{first}-{last}" for first, last in runs)


with open(export, encoding="utf-8") as text:
    files = json.load(text)["data"][0]["files"]
for file in files:
    name = file["filename"].removeprefix(root)
    if not name.startswith(tuple(f"core/src/{room}{end}" for room in ROOMS for end in ("/", ".rs"))):
        continue
    with open(file["filename"], encoding="utf-8") as text:
        source = text.read().split("\n")
    functions = {}
    # A segment holds until the next one begins; [line, column, count, has count, is an entry, is a gap].
    for here, after in zip(file["segments"], file["segments"][1:]):
        line, column, count, counted, _, gap = here
        if not counted or gap or count != 0:
            continue
        if form == "places":
            print(f"{name}:{line}:{column}-{after[0]}:{after[1]}  {source[line - 1].strip()[:100]}")
        elif source[line - 1][column - 1 : after[1] - 1 if after[0] == line else None] != "}":
            # The end of a block that is always left before is no code of its own.
            functions.setdefault(function(source, line), set()).update(range(line, after[0] + (after[1] > 1)))
    for function_name, lines in functions.items():
        print(f"{name.removeprefix('core/src/')} {function_name}: {ranges(lines)}")
