#!/usr/bin/env python3
"""Checks the imports between files: no import cycle within a crate, and no operator that imports another. Prints the faults.

An import is a path that begins with `crate`, `super` or `self`, in a `use` or in the code. It leads to the file that defines the item:
a re-export (`pub use part::Item`) is followed, and is not an import itself. Tests are left out.
"""
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CRATES = ["connectors", "sql", "projections", "engine", "benches", "examples/flights"]


def code_of(path):
    """Returns the text without comments, strings and `#[cfg(test)]` modules."""
    text = path.read_text()
    text = re.sub(r'r#"(?:.|\n)*?"#|"(?:\\(?:.|\n)|[^"\\])*"', '""', re.sub(r"(?<!:)//[^\n]*", "", text))
    cut = re.search(r"#\[cfg\(test\)\]\s*(?:#!?\[[^\]]*\]\s*)*(?:pub(?:\([^)]*\))? )?mod \w+ \{", text)
    return text[: cut.start()] if cut else text


def leaves(tree, prefix=()):
    """Yields the paths of a use tree, each as a tuple of names. `self` in a group stands for the path of the group."""
    parts, depth, start = [], 0, 0
    for at, char in enumerate(tree):
        depth += (char == "{") - (char == "}")
        if char == "," and depth == 0:
            parts.append(tree[start:at])
            start = at + 1
    parts.append(tree[start:])
    for part in (part.strip() for part in parts):
        if not part:
            continue
        head, brace, rest = part.partition("{")
        names = tuple(name for name in re.split(r"::", head.split(" as ")[0].strip()) if name)
        if brace:
            yield from leaves(rest.rsplit("}", 1)[0], prefix + names)
        else:
            alias = part.split(" as ")[1].strip() if " as " in part else None
            path = prefix + names
            yield (path[:-1] if path[-1:] == ("self",) else path), alias


class Crate:
    def __init__(self, folder):
        self.folder, self.source = folder, ROOT / folder / "src"
        self.files, self.modules = {}, {}
        for path in sorted(self.source.rglob("*.rs")):
            name = path.relative_to(self.source).with_suffix("").parts
            if "tests" in name:
                continue
            module = () if name in (("lib",), ("main",)) else name
            if module in self.modules and name == ("main",):
                continue
            self.modules[module], self.files[path] = path, module
        self.code = {path: code_of(path) for path in self.files}
        self.exports = {path: self.uses(path, r"pub(?:\([^)]*\))? use ([^;]+);") for path in self.files}

    def uses(self, path, pattern):
        return [leaf for tree in re.findall(pattern, self.code[path]) for leaf in leaves(" ".join(tree.split()))]

    def absolute(self, path, names):
        """Returns a path from the crate's root, or None if it leaves the crate."""
        module = list(self.files[path])
        names = list(names)
        if names[:1] == ["crate"]:
            return tuple(names[1:])
        if names[:1] == ["self"]:
            return tuple(module + names[1:])
        if names[:1] == ["super"]:
            while names[:1] == ["super"]:
                if not module:
                    return None
                module, names = module[:-1], names[1:]
            return tuple(module + names)
        return tuple(module + names) if tuple(module + names[:1]) in self.modules else None

    def home(self, names, seen=()):
        """Returns the file that defines what a path names. Follows re-exports."""
        depth = max((n for n in range(len(names) + 1) if names[:n] in self.modules), default=0)
        path, rest = self.modules.get(names[:depth]), names[depth:]
        if path and rest and names not in seen:
            for exported, alias in self.exports[path]:
                if (alias or exported[-1]) in (rest[0], "*"):
                    target = self.absolute(path, exported)
                    if target and (exported[-1] != "*" or self.defines(target[:-1], rest[0])):
                        target = target[:-1] if exported[-1] == "*" else target
                        more = rest if exported[-1] == "*" else rest[1:]
                        return self.home(target + more, seen + (names,))
        return path if path and (not rest or self.defines(names[:depth], rest[0])) else None

    def defines(self, module, name):
        path = self.modules.get(module)
        return bool(path and re.search(rf"\b(?:fn|struct|enum|trait|type|const|static|macro_rules!)\s+{name}\b", self.code[path]))

    def imports(self):
        """Returns the files that each file imports."""
        arrows = {}
        for path in self.files:
            code = re.sub(r"pub(?:\([^)]*\))? use [^;]+;", "", self.code[path])
            found = [names for tree in re.findall(r"\buse ([^;]+);", code) for names, _ in leaves(" ".join(tree.split()))]
            rest = re.sub(r"\buse [^;]+;", "", code)
            found += [tuple(match.split("::")) for match in re.findall(r"\b(?:crate|super|self)(?:::\w+)+", rest)]
            found += [tuple(match.split("::")) for match in re.findall(r"(?<![:\w])[a-z]\w*::\w+", rest)]
            arrows[path] = set()
            for names in found:
                absolute = self.absolute(path, names)
                home = self.home(absolute) if absolute is not None else None
                if home and home != path:
                    arrows[path].add(home)
        return arrows


def circles(arrows):
    """Returns the strongly connected components of more than one file (Tarjan's algorithm)."""
    order, low, stack, found = {}, {}, [], []

    def visit(node):
        order[node] = low[node] = len(order)
        stack.append(node)
        for target in arrows.get(node, ()):
            if target not in order:
                visit(target)
                low[node] = min(low[node], low[target])
            elif target in stack:
                low[node] = min(low[node], order[target])
        if low[node] == order[node]:
            circle = []
            while not circle or circle[-1] != node:
                circle.append(stack.pop())
            if len(circle) > 1:
                found.append(sorted(circle))

    for node in arrows:
        if node not in order:
            visit(node)
    return found


def main():
    sys.setrecursionlimit(10_000)
    faults = []
    for folder in CRATES:
        arrows = Crate(folder).imports()
        for circle in circles(arrows):
            members = [str(path.relative_to(ROOT)) for path in circle]
            faults.append(f"files import each other in a cycle: {', '.join(members)}")
            for path in circle:
                for target in sorted(arrows[path] & set(circle)):
                    faults.append(f"    {path.relative_to(ROOT)} imports {target.relative_to(ROOT)}")
        operators = ROOT / folder / "src/operator"
        for path, targets in arrows.items():
            for target in targets:
                mine, other = ([*p.relative_to(operators).with_suffix("").parts, ""][0] if operators in p.parents else None for p in (path, target))
                if mine and other and mine != other and "kit" not in (mine, other):
                    faults.append(f"the operator {path.relative_to(ROOT)} imports the operator {target.relative_to(ROOT)}")
    for fault in faults:
        print(f"structure: {fault}")
    sys.exit(bool(faults))


main()
