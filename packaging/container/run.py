"""Runs the image of image.py as `docker run --read-only` would: run.py IMAGE CONFIGURATION VIEWS VOLUME [ARGUMENT...].

It must be started in mount, process and network namespaces of its own (`unshare`). The root and /views are read-only, /data is writable. Without
arguments, it runs the image's command until /readyz answers, and ends it by SIGTERM, as Kubernetes does.
"""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request


def mount(*arguments):
    subprocess.run(["mount", *arguments], check=True)


def mounted(image, views, volume):
    """Mounts what a container sees."""
    mount("--bind", image, image)
    mount("-t", "proc", "proc", image / "proc")
    mount("-t", "tmpfs", "-o", "mode=755", "tmpfs", image / "dev")
    for name in ["null", "zero", "urandom"]:
        (image / "dev" / name).touch()
        mount("--bind", f"/dev/{name}", image / "dev" / name)
    for source, target, mode in [(views, image / "views", "ro"), (volume, image / "data", "rw")]:
        mount("--bind", source, target)
        mount("-o", f"remount,bind,{mode}", target)
    mount("-o", "remount,bind,ro", image)


def served(process):
    """Waits until the probe answers, at most 30 seconds."""
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    last = None
    for _ in range(300):
        if process.poll() is not None:
            sys.exit(f"run: it ended with {process.returncode} before it was ready")
        try:
            with urllib.request.urlopen("http://127.0.0.1:9464/readyz", timeout=5) as answer:
                print(f"try: image: /readyz answers {answer.status}")
                return
        except (urllib.error.URLError, OSError) as error:
            last = error
        time.sleep(0.1)
    sys.exit(f"run: it was not ready within 30 seconds: {last}")


def main():
    image, configuration, views, volume = (pathlib.Path(argument) for argument in sys.argv[1:5])
    made = json.loads(configuration.read_text(encoding="utf-8"))
    mounted(image, views, volume)
    user, group = (int(part) for part in made["user"].split(":"))
    command = [*made["entrypoint"], *(sys.argv[5:] or made["command"])]

    def enter():
        os.chroot(image)
        os.chdir("/")
        os.setgroups([])
        os.setgid(group)
        os.setuid(user)

    process = subprocess.Popen(command, env={"PATH": "/usr/bin", **made["environment"]}, preexec_fn=enter)
    if len(sys.argv) == 5:
        served(process)
        process.send_signal(signal.SIGTERM)
    code = process.wait(timeout=300)
    if len(sys.argv) == 5:
        print(f"try: image: SIGTERM ends it with {code}")
    sys.exit(code)


main()
