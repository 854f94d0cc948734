"""Writes a manual page for `alluvium` and for each of its commands, from what `--help` prints: man.py PROGRAM VERSION FOLDER.

The help texts are the only source, so that the pages cannot say something else than the program.
"""

import os
import pathlib
import re
import subprocess
import sys
import time

SECTION = re.compile(r"^([A-Z][A-Za-z ]*):$")
OPTION = re.compile(r"^ {2,6}(-\S.*|<.*|\[.*)$")
COMMAND = re.compile(r"^  ([a-z][a-z-]*)  +(\S.*)$")


def help_of(program, words):
    """The lines of the help of a command."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ALLUVIUM_")}
    run = subprocess.run([program, *words, "--help"], capture_output=True, text=True, check=True, env=environment)
    return [line.rstrip() for line in run.stdout.splitlines()]


def sections_of(lines):
    """The parts of a help text: pairs of a heading, which is empty before the first one and for plain text after the last, and lines."""
    parts = [("", [])]
    for line in lines:
        heading = SECTION.match(line)
        usage = re.match(r"^Usage: (.*)$", line)
        if heading:
            parts.append((heading.group(1), []))
        elif usage:
            parts += [("Usage", [usage.group(1)]), ("", [])]
        elif line and not line.startswith(" ") and parts[-1][0] not in ("", "Usage"):
            parts.append(("", [line]))
        else:
            parts[-1][1].append(line)
    return parts


def escape(text):
    """Text that roff prints as it is."""
    text = text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq").replace("`", "\\(ga")
    return "\\&" + text if text.startswith((".", "\\(aq")) else text


def paragraphs(lines):
    """Lines that are joined to paragraphs."""
    return [" ".join(part.split()) for part in re.split(r"\n\s*\n", "\n".join(lines)) if part.strip()]


def options(lines):
    """The roff of a list of options or arguments."""
    page, entry = [], []

    def close():
        for number, text in enumerate(re.split(r"\n\s*\n", "\n".join(entry))):
            values = [line.strip() for line in text.splitlines() if line.strip()]
            if not values:
                continue
            if number:
                page.append(".IP")
            if any(value.startswith("- ") for value in values):
                for value in values:
                    page.extend([escape(value), ".br"])
            else:
                page.append(escape(" ".join(values)))
        entry.clear()

    for line in lines:
        if OPTION.match(line) and len(line) - len(line.lstrip()) <= 6 and not line.startswith(" " * 8):
            close()
            page.extend([".TP", f"\\fB{escape(line.strip())}\\fR"])
        else:
            entry.append(line)
    close()
    return page


def commands(lines):
    """The commands that a help text lists: pairs of a name and what it does."""
    found = []
    for line in lines:
        match = COMMAND.match(line)
        if match:
            found.append([match.group(1), match.group(2)])
        elif found and line.strip():
            found[-1][1] += " " + line.strip()
    return [(name, text) for name, text in found if name != "help"]


def page_of(words, lines, version, date, others):
    """The roff of one page, and the commands below it."""
    name = "-".join(["alluvium", *words])
    parts = sections_of(lines)
    about = paragraphs(parts[0][1])
    below = []
    title, day = name.upper(), time.strftime("%Y-%m-%d", time.gmtime(date))
    page = [f'.TH "{title}" 1 "{day}" "alluvium {version}" "Alluvium"', ".SH NAME", f"{escape(name)} \\- {escape(about[0])}"]
    for text in about[1:]:
        page += [".SH DESCRIPTION", escape(text)]
    after = []
    for heading, body in parts[1:]:
        if heading == "Usage":
            page += [".SH SYNOPSIS", f"\\fB{escape(' '.join(' '.join(body).split()))}\\fR"]
        elif heading == "Commands":
            below = commands(body)
            page.append(".SH COMMANDS")
            for command, text in below:
                page += [".TP", f"\\fB{escape(name)}\\-{escape(command)}\\fR(1)", escape(text)]
        elif heading in ("Options", "Arguments"):
            page += [f".SH {heading.upper()}", *options(body)]
        elif heading:
            page += [f".SH {heading.upper()}", ".nf", *[escape(line) for line in "\n".join(body).strip("\n").splitlines()], ".fi"]
        else:
            after += paragraphs(body)
    if after:
        page.append(".SH NOTES")
        page += [line for text in after for line in (".PP", escape(text))]
    page += [".SH SEE ALSO", ", ".join(f"\\fB{escape(other)}\\fR(1)" for other in others if other != name)]
    return "\n".join(page) + "\n", below


def main():
    program, version, folder = sys.argv[1], sys.argv[2], pathlib.Path(sys.argv[3])
    date = int(os.environ.get("SOURCE_DATE_EPOCH", time.time()))
    folder.mkdir(parents=True, exist_ok=True)
    waiting, top = [[]], ["alluvium"]
    while waiting:
        words = waiting.pop(0)
        lines = help_of(program, words)
        above = "-".join(["alluvium", *words[:-1]]) if words else None
        listed = commands(next((body for heading, body in sections_of(lines) if heading == "Commands"), []))
        name = "-".join(["alluvium", *words])
        others = ([above] if above else []) + [f"{name}-{command}" for command, _ in listed]
        text, below = page_of(words, lines, version, date, others or top)
        (folder / f"{name}.1").write_text(text, encoding="utf-8")
        waiting += [[*words, command] for command, _ in below]


main()
