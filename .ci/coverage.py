"""Prints what exports of llvm-cov (JSON) count zero in the rooms of the life cycle: of several, what all of them do.

Two forms: `places`, one region a line with its source, and `functions`, one function a line with the lines that are not
reached in it, as fuzz/COVERAGE.md lists them.
"""

import json
import re
import sys

form, root, *exports = sys.argv[1:]
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


def unreached(export):
    """Where code begins and ends that was not reached, by file of the rooms."""
    with open(export, encoding="utf-8") as text:
        files = json.load(text)["data"][0]["files"]
    found = {}
    for file in files:
        name = file["filename"].removeprefix(root)
        if name.startswith(tuple(f"core/src/{room}{end}" for room in ROOMS for end in ("/", ".rs"))):
            # A segment holds until the next one begins; [line, column, count, has count, is an entry, is a gap].
            segments = zip(file["segments"], file["segments"][1:])
            found[name] = [(*here[:2], *after[:2]) for here, after in segments if here[3] and not here[5] and here[2] == 0]
    return found


first, *others = [unreached(export) for export in exports]
for name, places in first.items():
    with open(root + name, encoding="utf-8") as text:
        source = text.read().split("\n")
    functions = {}
    for place in places:
        line, column, end, end_column = place
        if not all(place in other.get(name, []) for other in others):
            continue
        if form == "places":
            print(f"{name}:{line}:{column}-{end}:{end_column}  {source[line - 1].strip()[:100]}")
        elif source[line - 1][column - 1 : end_column - 1 if end == line else None] != "}":
            # The end of a block that is always left before is no code of its own.
            functions.setdefault(function(source, line), set()).update(range(line, end + (end_column > 1)))
    for function_name, lines in functions.items():
        print(f"{name.removeprefix('core/src/')} {function_name}: {ranges(lines)}")
