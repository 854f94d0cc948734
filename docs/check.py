#!/usr/bin/env python3
"""Runs every command and every SQL block of the book and compares the output; finds dead links, dead anchors and unlisted pages.

    docs/check.py                      checks all pages
    docs/check.py sql/queries start    checks only these pages
    docs/check.py --write PAGE...      replaces the expected outputs of these pages by what was printed; read the difference

ALLUVIUM_BIN names the program (target/release/alluvium by default). nats-server, duckdb and Python come from .tools; ALLUVIUM_DOCS_PYTHON names
another Python, with Polars, pandas, pyarrow and DataFusion, without which their blocks are left out.

Each page runs in a folder of its own, from top to bottom. What runs is said behind the language of a fenced block:

    ```sql file=shop/orders.sql   the block is written to this file; any language; `append` adds to it
    ```console                    runs each line behind `$ `; lines behind `> ` continue it; the other lines are what it prints
    ```sql query                  runs `alluvium query` in `project=` (the page's folder by default)
    ```sql view                   a view or a SELECT over the sources of `project=`: run until caught up, and its rows are read
    ```sql refused                `alluvium check` refuses it
    ```python                     runs it with the Python of .tools; `needs=polars` leaves it out where that is not installed
    ```rows                       what the block before it prints; of a view in any order, unless `ordered`
    ```sql fragment, ```console unchecked    is not run: a part of a statement; a command for another machine

Of `console`: `exit=3` is the last command's exit code; `until` repeats each command until it prints what is expected, for half a minute at most;
`quiet` compares nothing; `vary` compares times, lengths of time, sizes and ids only as such. A line `...` stands for any lines, and `...` in a
line for any text. Other languages (text, toml, yaml, ini) do not run.

    <!-- check: nats -->                  the page has a nats-server; 127.0.0.1:4222 and 127.0.0.1:9464 stand for its free ports
    <!-- check: $ command -->             runs a command that the reader does not see
    <!-- check: has $ command -->         fails where the command prints a word that the page does not have between backticks
    <!-- check: stop -->                  ends the programs that a line with `&` at its end has started; so does the end of the page

Only programs that this script started are ended, by their ids.
"""

import os
import pathlib
import random
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor

DOCS = pathlib.Path(__file__).resolve().parent
ROOT = DOCS.parent
SOURCE = DOCS / "src"
sys.dont_write_bytecode = True
sys.path.insert(0, str(DOCS))
import pages  # noqa: E402

TOOLS = ROOT / ".tools" / "bin"
PYTHON = os.environ.get("ALLUVIUM_DOCS_PYTHON", TOOLS / "python")
PROGRAM = pathlib.Path(os.environ.get("ALLUVIUM_BIN", ROOT / "target/release/alluvium")).resolve()
RUNS = {"sql", "console", "python", "sh", "bash"}
SECONDS_A_COMMAND = 60
SECONDS_UNTIL = 30
PORTS = iter(random.sample(range(4300, 9400), 3000))
PORTS_LOCK = threading.Lock()
VARYING = [
    (re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)?"), "<time>"),
    (re.compile(r"\b\d+(\.\d+)?\s?(KiB|MiB|GiB|kB|MB|GB|B)\b"), "<size>"),
    (re.compile(r"\b(\d+(\.\d+)?\s?(ns|us|µs|ms|s|m|min|h)\s?)+( ago)?(?=[\s,;:)\]]|$)"), "<duration>"),
    (re.compile(r"\b(process|kill) \d+"), "process <id>"),
    (re.compile(r"seconds=[\d.]+"), "seconds=<number>"),
    (re.compile(r"\b[0-9a-f]{8,}\b"), "<id>"),
    (re.compile(r" +"), " "),
    (re.compile(r"─+|-{3,}"), "-"),
]


class Failed(Exception):
    """A block that did not do what the page says."""


def free_port():
    """A free port of four digits, as those of the pages have, so that messages wrap in the same places. No port is given twice."""
    with PORTS_LOCK:
        for port in PORTS:
            with socket.socket() as probe:
                try:
                    probe.bind(("127.0.0.1", port))
                except OSError:
                    continue
            return port
    raise Failed("no port is free")


class Page:
    """One page, its folder and the programs that it has started."""

    def __init__(self, path, folder, write):
        self.path, self.folder, self.write = path, folder, write
        self.work = folder / "work"
        self.work.mkdir()
        self.cwd = self.work
        self.started, self.server, self.ran, self.left_out = [], None, 0, []
        self.ports = {"127.0.0.1:4222": f"127.0.0.1:{free_port()}", "127.0.0.1:9464": f"127.0.0.1:{free_port()}"}
        self.replacements = []
        self.projects = 0
        bin_folder = folder / "bin"
        bin_folder.mkdir()
        for name, target in {
            "alluvium": PROGRAM, "duckdb": TOOLS / "duckdb", "nats-server": TOOLS / "nats-server", "python": PYTHON,
            "nats": DOCS / "nats.py",
        }.items():
            (bin_folder / name).write_text(f'#!/bin/sh\nexec {shlex.quote(str(target))} "$@"\n')
            (bin_folder / name).chmod(0o755)
        kept = {key: value for key, value in os.environ.items() if not key.startswith("ALLUVIUM_")}
        self.environment = kept | {
            "PATH": f"{bin_folder}:{kept.get('PATH', '')}", "HOME": str(folder), "TZ": "UTC", "LC_ALL": "C.UTF-8", "COLUMNS": "140",
            "ALLUVIUM_HTTP": self.ports["127.0.0.1:9464"], "NATS_URL": f"nats://{self.ports['127.0.0.1:4222']}", "TMPDIR": str(folder), "PAGE": str(path),
        }

    def here(self, text):
        """The page's text with the addresses of this run."""
        for theirs, ours in self.ports.items():
            text = text.replace(theirs, ours)
        return text

    def there(self, text):
        """What was printed, with the addresses and folders of the page."""
        for theirs, ours in self.ports.items():
            text = text.replace(ours, theirs)
        return text.replace(str(self.work), "/srv")

    def shell(self, command, seconds=SECONDS_A_COMMAND):
        """Runs a command in the page's present folder. Returns its exit code and what it printed."""
        after = self.folder / "cwd"
        script = f"{self.here(command)}\nstatus=$?\npwd > {shlex.quote(str(after))}\nexit $status\n"
        with open(self.folder / "printed", "w+", encoding="utf-8") as printed:
            process = subprocess.Popen(
                ["bash", "-c", script], cwd=self.cwd, env=self.environment, stdin=subprocess.DEVNULL, stdout=printed,
                stderr=subprocess.STDOUT, start_new_session=True,
            )
            try:
                code = process.wait(seconds)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                raise Failed(f"`{command}` did not end within {seconds} seconds") from None
            printed.seek(0)
            text = printed.read()
        if after.exists():
            self.cwd = pathlib.Path(after.read_text().strip())
        return code, self.there(text).rstrip("\n")

    def start(self, command):
        """Starts a command in the background and waits until an engine answers. A nats-server gets the page's port and folder."""
        if command.startswith("nats-server "):
            return self.start_server()
        log = open(self.folder / f"started-{len(self.started)}", "w", encoding="utf-8")
        words = shlex.split(self.here(command.rstrip("& ")))
        process = subprocess.Popen(words, cwd=self.cwd, env=self.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.started.append(process)
        if words[0] == "alluvium" and "run" in words:
            host, port = self.ports["127.0.0.1:9464"].split(":")
            wait_for(lambda: process.poll() is not None or answers(host, int(port)), f"`{command}` does not answer")

    def stop(self):
        """Ends what was started, by its id."""
        for process in reversed(self.started):
            if process.poll() is None:
                process.terminate()
                try:
                    process.wait(20)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
        self.started = []

    def start_server(self):
        """Starts the page's nats-server."""
        host, port = self.ports["127.0.0.1:4222"].split(":")
        log = open(self.folder / "nats.log", "w", encoding="utf-8")
        self.server = subprocess.Popen(
            [TOOLS / "nats-server", "--js", "-a", host, "-p", port, "-sd", self.folder / "jetstream"], stdout=log, stderr=log
        )
        wait_for(lambda: answers(host, int(port)), "nats-server does not answer")

    def end(self):
        self.stop()
        if self.server:
            self.server.terminate()
            self.server.wait()

    # What each kind of item does.

    def directive(self, text):
        if text == "nats":
            self.start_server()
        elif text == "stop":
            self.stop()
        elif text.startswith("has $ "):
            code, printed = self.shell(text[6:])
            words = set(re.findall(r"[\w.-]+", " ".join(re.findall(r"`([^`]*)`", self.path.read_text(encoding="utf-8")))))
            missing = sorted(set(printed.split()) - words)
            if code or missing or not printed:
                raise Failed(f"the page does not say: {' '.join(missing)}")
        elif text.startswith("$ "):
            command = text[2:]
            if command.endswith("&"):
                return self.start(command)
            code, printed = self.shell(command)
            if code:
                raise Failed(f"`{command}` ended with {code}:\n{printed}")
        else:
            raise Failed(f"no directive is called '{text}'")

    def console(self, block):
        steps, shown = [], []
        for line in block.lines:
            if line.startswith("$ "):
                steps.append(([line[2:]], []))
            elif line.startswith("> ") and steps and not steps[-1][1]:
                steps[-1][0].append(line[2:])
            elif steps:
                steps[-1][1].append(line)
            elif line:
                raise Failed("a console block begins with a line of `$ `")
        for number, (command, expected) in enumerate(steps):
            text, last = "\n".join(command), number == len(steps) - 1
            shown += [f"$ {command[0]}", *(f"> {line}" for line in command[1:])]
            if text.endswith("&"):
                self.start(text)
                shown += expected
                continue
            code_expected = int(block.attributes.get("exit", 0)) if last else 0
            code, printed = self.repeat(text, block, expected, code_expected)
            if code != code_expected:
                raise Failed(f"`{text}` ended with {code}, not {code_expected}:\n{printed}")
            if "quiet" in block.words:
                shown += expected
            elif alike(expected, printed.split("\n"), "vary" in block.words):
                shown += expected
            elif self.write:
                shown += printed.split("\n") if printed else []
            else:
                raise Failed(f"`{text}` printed\n{printed}\n  expected\n" + "\n".join(expected))
        self.replace(block, shown)

    def repeat(self, text, block, expected, code_expected):
        limit = time.monotonic() + (SECONDS_UNTIL if "until" in block.words else 0)
        while True:
            code, printed = self.shell(text)
            if time.monotonic() >= limit or (code == code_expected and alike(expected, printed.split("\n"), "vary" in block.words)):
                return code, printed
            time.sleep(0.1)

    def replace(self, block, lines):
        if self.write and lines != block.lines:
            self.replacements.append((block, lines))

    def compare(self, block, rows, printed, in_any_order):
        """Compares what a block printed with the block of rows behind it."""
        if rows is None:
            raise Failed("no ```rows block follows it")
        expected, printed = rows.lines, printed.split("\n")
        order = sorted if in_any_order and "ordered" not in rows.words else list
        if not alike(order(expected), order(printed), "vary" in rows.words):
            if not self.write:
                raise Failed("it printed\n" + "\n".join(printed) + "\n  expected\n" + "\n".join(expected))
            self.replace(rows, printed)

    def sql(self, block, rows):
        project = self.cwd / block.attributes.get("project", ".")
        if "query" in block.words:
            code, printed = self.shell(f"alluvium -q -C {shlex.quote(str(project))} query {shlex.quote(block.text)}")
            if code:
                raise Failed(f"it ended with {code}:\n{printed}")
            return self.compare(block, rows, printed, False)
        self.projects += 1
        copy = self.folder / f"project-{self.projects}"
        keep = "query" in block.words
        shutil.copytree(project, copy, ignore=shutil.ignore_patterns("data"), symlinks=keep)
        named = re.search(r"CREATE\s+MATERIALIZED\s+VIEW\s+(\w+)(?![\s\S]*CREATE\s+MATERIALIZED)", block.text, re.I)
        text = block.text if re.search(r"^\s*CREATE\s", block.text, re.I | re.M) else f"CREATE MATERIALIZED VIEW example AS\n{block.text}"
        if "alone" in block.words:
            for file in copy.glob("*.sql"):
                file.unlink()
        (copy / "example.sql").write_text(self.here(text) + "\n", encoding="utf-8")
        if "refused" in block.words:
            code, printed = self.shell(f"alluvium -C {shlex.quote(str(copy))} check")
            if code != 1:
                raise Failed(f"it was not refused:\n{printed}")
            return self.compare(block, rows, printed.replace(str(copy) + "/", ""), False)
        run = f"alluvium -q -C {shlex.quote(str(copy))} run --until-caught-up --http off"
        code, printed = self.shell(run)
        if code != int(block.attributes.get("exit", 0)):
            raise Failed(f"the run ended with {code}:\n{printed}")
        select = f"SELECT * FROM {named.group(1) if named else 'example'}"
        code, printed = self.shell(f"alluvium -q -C {shlex.quote(str(copy))} query {shlex.quote(select)}")
        if code:
            raise Failed(f"its rows cannot be read:\n{printed}")
        if rows is not None and self.write and "ordered" not in rows.words:
            printed = sorted_rows(printed)
        self.compare(block, rows, printed, True)

    def python(self, block, rows):
        needs = [name for name in block.attributes.get("needs", "").split(",") if name]
        missing = [name for name in needs if self.shell(f"python -c 'import {name}'")[0]]
        if missing:
            self.left_out.append((block, f"{', '.join(missing)} is not installed"))
            return
        (self.folder / "block.py").write_text(self.here(block.text), encoding="utf-8")
        code, printed = self.shell(f"python {self.folder / 'block.py'}")
        if code:
            raise Failed(f"it ended with {code}:\n{printed}")
        if rows is not None or printed:
            self.compare(block, rows, printed, False)

    def run(self, item, rows):
        if isinstance(item, pages.Directive):
            return self.directive(item.text)
        if "file" in item.attributes:
            target = self.cwd / item.attributes["file"]
            target.parent.mkdir(parents=True, exist_ok=True)
            with open(target, "a" if "append" in item.words else "w", encoding="utf-8") as file:
                file.write(self.here(item.text) + "\n")
        elif item.words & {"fragment", "unchecked"} or item.language not in RUNS:
            return None
        elif item.language == "console":
            self.console(item)
        elif item.language == "sql" and item.words & {"query", "view", "refused"}:
            self.sql(item, rows)
        elif item.language == "python":
            self.python(item, rows)
        else:
            raise Failed(f"say behind ```{item.language} how it is run, or `fragment`")
        self.ran += 1


def wait_for(condition, message):
    limit = time.monotonic() + 20
    while not condition():
        if time.monotonic() > limit:
            raise Failed(message)
        time.sleep(0.05)


def answers(host, port):
    try:
        with socket.create_connection((host, port), 0.2):
            return True
    except OSError:
        return False


def sorted_rows(table):
    """The rows of a printed table in order, below its head."""
    lines = table.split("\n")
    return "\n".join(lines[:3] + sorted(lines[3:-1]) + lines[-1:]) if len(lines) > 4 else table


def alike(expected, printed, varies):
    """Compares lines. `...` in what is expected stands for any text, alone in a line for any lines."""
    def plain(line):
        for pattern, word in VARYING if varies else []:
            line = pattern.sub(word, line)
        return line.rstrip()

    expected = [plain(line) for line in expected if line.strip()]
    printed = [plain(line) for line in printed if line.strip()]
    pattern = ""
    for line in expected:
        if line.strip() == "...":
            pattern += r"(?:.*\n)*?"
        else:
            pattern += ".*".join(re.escape(part) for part in line.split("...")) + r"\n"
    return re.fullmatch(pattern, "".join(f"{line}\n" for line in printed)) is not None


def check(path, write):
    """Runs a page. Returns its failures, and how much ran."""
    name = path.relative_to(SOURCE)
    items = pages.items(path)
    folder = pathlib.Path(tempfile.mkdtemp(prefix="alluvium-docs-"))
    page = Page(path, folder, write)
    failures = []
    try:
        for number, item in enumerate(items):
            after = items[number + 1] if number + 1 < len(items) else None
            rows = after if isinstance(after, pages.Block) and after.language == "rows" else None
            try:
                page.run(item, rows)
            except Failed as failure:
                failures.append(f"{name}:{item.line}: {failure}")
                if isinstance(item, pages.Directive) or item.language == "console":
                    break
    finally:
        page.end()
        shutil.rmtree(folder, ignore_errors=True)
    if page.replacements:
        pages.rewrite(path, page.replacements)
    left_out = [f"{name}:{block.line}: left out: {why}" for block, why in page.left_out]
    return failures, page.ran, left_out


def main(arguments):
    write = "--write" in arguments
    wanted = [argument for argument in arguments if not argument.startswith("--")]
    for needed in (PROGRAM, TOOLS / "nats-server", TOOLS / "duckdb"):
        if not needed.exists():
            sys.exit(f"docs/check.py: {needed} is not there: `make program` builds the program, `.ci/tools` installs the tools")
    paths = sorted(SOURCE.rglob("*.md"))
    failures = pages.faults(SOURCE, ROOT)
    chosen = [page for page in paths if not wanted or any(word in str(page.relative_to(SOURCE)) for word in wanted)]
    began = time.monotonic()
    with ThreadPoolExecutor(max_workers=int(os.environ.get("ALLUVIUM_DOCS_JOBS", 4))) as pool:
        results = list(pool.map(lambda page: check(page, write), chosen))
    for faults, _, left_out in results:
        failures += faults
        print("".join(f"{line}\n" for line in left_out), end="")
    for failure in failures:
        print(failure.replace("\n", "\n    "))
    ran = sum(count for _, count, _ in results)
    print(f"docs: {len(chosen)} pages, {ran} blocks ran in {time.monotonic() - began:.0f} seconds")
    failed = {failure.split(":")[0] for failure in failures}
    print(f"{sum(str(page.relative_to(SOURCE)) not in failed for page in chosen)} passed, {len(failures)} failed")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
