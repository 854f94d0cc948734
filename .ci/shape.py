#!/usr/bin/env python3
"""Checks what a reader of the tree relies on: short files, traits with a contract, and a map that names every module. Prints the faults."""
import collections
import re
import statistics
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LONGEST, MEDIAN = 450, 150


def names(architecture):
    """The words in code spans of the section of each crate."""
    named = collections.defaultdict(set)
    for section in re.split(r"^(?=##)", architecture, flags=re.M):
        heading, _, body = section.partition("\n")
        words = re.findall(r"\w+", " ".join(re.findall(r"`([^`\n]+)`", body)))
        for crate in re.findall(r"`(\w+)`", heading) if heading.startswith("### ") else []:
            named[crate] |= set(words)
    return named


def main():
    listed = subprocess.run(["git", "ls-files", "*.rs"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    files = [Path(name) for name in listed if (ROOT / name).exists() and not re.search(r"(^|/)tests(\.rs|/)", name)]
    named = names((ROOT / "ARCHITECTURE.md").read_text())
    faults, lengths = [], {}
    for file in files:
        text = (ROOT / file).read_text()
        cut = re.search(r"#\[cfg\(test\)\]\s*(?:#!?\[[^\]]*\]\s*)*(?:pub(?:\([^)]*\))? )?mod \w+ \{", text)
        lengths[file] = len((text[: cut.start()] if cut else text).splitlines())
        if not text.startswith("//!"):
            faults.append(f"{file} does not begin with //!")
        if file.stem not in named[file.parts[0]] and file.stem not in ("lib", "main"):
            faults.append(f"ARCHITECTURE.md does not name {file} in the section of {file.parts[0]}")
        for found in re.finditer(r"((?:^[ \t]*(?:///|#\[)[^\n]*\n)*)^[ \t]*pub(?:\([^)]*\))? trait (\w+)", text, re.M):
            if "# Contract" not in found[1]:
                faults.append(f"{file}: the trait {found[2]} has no # Contract in its docs")
    faults += [f"{file} has {length} lines, more than {LONGEST}, not counting its tests" for file, length in lengths.items() if length > LONGEST]
    if (median := statistics.median(lengths.values())) >= MEDIAN:
        faults.append(f"the median file has {median} lines, not fewer than {MEDIAN}")
    for fault in faults:
        print(f"structure: {fault}")
    sys.exit(bool(faults))


main()
