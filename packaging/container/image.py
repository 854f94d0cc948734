"""Makes the root of the image as its Dockerfile says, without Docker: image.py CONTEXT BARE_ROOT IMAGE. Prints environment, user and command.

The base is what distroless/cc holds: the files of a few Debian packages, taken from BARE_ROOT, and no shell. It knows the instructions that our
Dockerfile uses, and refuses any other.
"""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

BASE = ["base-files", "ca-certificates", "libc6", "libgcc-s1", "tzdata"]


def copy_base(bare, image):
    """Copies the files of the base's packages."""
    for name in ["bin", "sbin", "lib", "lib64"]:
        (image / "usr" / name).mkdir(parents=True, exist_ok=True)
        (image / name).symlink_to(f"usr/{name}")
    listed = subprocess.run(["chroot", bare, "dpkg", "-L", *BASE], capture_output=True, text=True, check=True).stdout
    names = sorted({line for line in listed.splitlines() if line.startswith("/") and line != "/."})
    for name in [*names, "/etc/ssl/certs/ca-certificates.crt"]:
        source, target = bare / name[1:], image / name[1:]
        if source.is_symlink() or source.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            if not target.exists() and not target.is_symlink():
                shutil.copy2(source, target, follow_symlinks=False)
        elif not target.is_symlink():
            target.mkdir(parents=True, exist_ok=True)
    (image / "etc/passwd").write_text("root:x:0:0:root:/root:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin\n")
    for name in ["proc", "dev", "tmp"]:
        (image / name).mkdir(exist_ok=True)
    (image / "usr/bin/sh").unlink(missing_ok=True)


def copied(context, image, flags, source, target):
    """Obeys COPY."""
    where = image / target.lstrip("/")
    where.parent.mkdir(parents=True, exist_ok=True)
    if (context / source).is_dir():
        shutil.copytree(context / source, where)
    else:
        shutil.copy2(context / source, where)
    if "chmod" in flags:
        where.chmod(int(flags["chmod"], 8))
    owner, group = (int(part) for part in flags.get("chown", "0:0").split(":"))
    os.chown(where, owner, group)


def main():
    context, bare, image = (pathlib.Path(argument) for argument in sys.argv[1:])
    made = {"environment": {}, "user": "0:0", "entrypoint": [], "command": []}
    for line in (context / "Dockerfile").read_text(encoding="utf-8").splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        instruction, rest = line.split(maxsplit=1)
        if instruction == "FROM":
            copy_base(bare, image)
        elif instruction == "COPY":
            words = rest.split()
            flags = dict(word[2:].split("=", 1) for word in words if word.startswith("--"))
            copied(context, image, flags, *[word for word in words if not word.startswith("--")])
        elif instruction == "ENV":
            made["environment"].update(dict(re.findall(r"(\w+)=(\S+)", rest)))
        elif instruction == "USER":
            made["user"] = rest
        elif instruction == "ENTRYPOINT":
            made["entrypoint"] = json.loads(rest)
        elif instruction == "CMD":
            made["command"] = json.loads(rest)
        elif instruction not in ("VOLUME", "EXPOSE", "STOPSIGNAL"):
            sys.exit(f"image: the Dockerfile has an instruction that is not known here: {instruction}")
    print(json.dumps(made))


main()
