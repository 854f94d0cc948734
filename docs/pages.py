"""Reads the pages of the book: fenced blocks, directives, links and anchors. Runs nothing."""

import re
from dataclasses import dataclass, field


@dataclass
class Block:
    """A fenced block. `line` is that of its opening fence, from 1."""

    line: int
    language: str
    words: set = field(default_factory=set)
    attributes: dict = field(default_factory=dict)
    lines: list = field(default_factory=list)

    @property
    def text(self):
        return "\n".join(self.lines)


@dataclass
class Directive:
    """A comment `<!-- check: ... -->`."""

    line: int
    text: str


FENCE = re.compile(r"^```+(.*)$")
DIRECTIVE = re.compile(r"^<!-- check: (.*) -->$")
LINK = re.compile(r"!?\[(?:[^\[\]]|\[[^\]]*\])*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#{1,6}\s+(.*)$")
INCLUDE = re.compile(r"^\{\{#include (\S+)\}\}$")


def items(path):
    """The blocks and directives of a page, in order."""
    found, block = [], None
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        fence = FENCE.match(line)
        if block is not None:
            if fence and not fence.group(1).strip():
                block = None
            else:
                block.lines.append(line)
        elif fence:
            language, *rest = fence.group(1).split() or [""]
            attributes = dict(word.split("=", 1) for word in rest if "=" in word)
            block = Block(number, language, {word for word in rest if "=" not in word}, attributes)
            found.append(block)
        elif directive := DIRECTIVE.match(line):
            found.append(Directive(number, directive.group(1)))
    return found


def rewrite(path, replacements):
    """Replaces the lines of blocks."""
    lines = path.read_text(encoding="utf-8").splitlines()
    for block, new in sorted(replacements, key=lambda pair: -pair[0].line):
        lines[block.line : block.line + len(block.lines)] = new
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def prose(path):
    """The numbered lines outside of blocks, with those of included files."""
    inside = False
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if FENCE.match(line):
            inside = not inside
        elif not inside:
            yield number, line


def anchor(heading):
    """The anchor that mdBook and GitHub give a heading."""
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "").strip().lower()
    return re.sub(r"[^\w\- ]", "", text).replace(" ", "-")


def anchors(path):
    """All anchors of a page."""
    found = set()
    for _, line in prose(path):
        if heading := HEADING.match(line):
            found.add(anchor(heading.group(1)))
        if include := INCLUDE.match(line):
            found |= anchors((path.parent / include.group(1)).resolve())
        found |= set(re.findall(r'<a id="([^"]+)"', line))
    return found


def faults(source, root):
    """Dead links and anchors of the book and of README.md, and pages that SUMMARY.md does not name."""
    found = []
    pages = sorted(source.rglob("*.md"))
    summary = source / "SUMMARY.md"
    listed = {(source / target).resolve() for _, line in prose(summary) for target in LINK.findall(line)}
    for page in pages:
        if page != summary and page.resolve() not in listed:
            found.append(f"{page.relative_to(source)}:1: SUMMARY.md does not name it")
    for page in [*pages, root / "README.md"]:
        name = page.relative_to(source) if page.is_relative_to(source) else page.relative_to(root)
        lines = dict(prose(page))
        for number, line in lines.items():
            include = INCLUDE.match(line)
            if include and not (page.parent / include.group(1)).exists():
                found.append(f"{name}:{number}: {include.group(1)} is not there")
        text = "\n".join(lines.get(number, "") for number in range(1, max(lines, default=0) + 1))
        text = re.sub(r"`[^`]*`", lambda code: "\n" * code.group().count("\n"), text)
        for link in LINK.finditer(text):
            target, number = link.group(1), text.count("\n", 0, link.start()) + 1
            if re.match(r"[a-z]+:", target):
                continue
            file, _, fragment = target.partition("#")
            there = (page.parent / file).resolve() if file else page
            if not there.exists():
                found.append(f"{name}:{number}: dead link: {target}")
            elif page.is_relative_to(source) and not there.is_relative_to(source):
                found.append(f"{name}:{number}: a link out of the book: {target}")
            elif fragment and there.suffix == ".md" and fragment not in anchors(there):
                found.append(f"{name}:{number}: dead anchor: {target}")
    return found
