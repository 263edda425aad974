"""Prints the regions that an export of llvm-cov (JSON) counts zero, one a line: file:line:column-line:column, source."""

import json
import sys

export, root = sys.argv[1:]
ROOMS = ("lifecycle", "vnet", "epoch", "clone", "drivers")

with open(export, encoding="utf-8") as text:
    files = json.load(text)["data"][0]["files"]
for file in files:
    name = file["filename"].removeprefix(root)
    if not any(name.startswith((f"core/src/{room}/", f"core/src/{room}.rs")) for room in ROOMS):
        continue
    with open(file["filename"], encoding="utf-8") as text:
        lines = text.read().split("\n")
    # A segment holds until the next one begins; [line, column, count, has count, is an entry, is a gap].
    for here, after in zip(file["segments"], file["segments"][1:]):
        line, column, count, counted, _, gap = here
        if counted and not gap and count == 0:
            print(f"{name}:{line}:{column}-{after[0]}:{after[1]}  {lines[line - 1].strip()[:100]}")
