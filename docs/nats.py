#!/usr/bin/env python3
"""A stand-in for the `nats` command, for docs/check.py only: the few of its commands that the book uses, over the plain protocol.

    nats stream add NAME --subjects S[,S] --defaults       nats stream rm NAME -f        nats stream purge NAME -f
    nats pub [-H name:value]... SUBJECT BODY               nats kv add BUCKET            nats kv put|del BUCKET KEY [VALUE]

A BODY `hex:00ff` is these bytes. It prints nothing, where the real command reports. The server is that of NATS_URL.
"""

import json
import os
import socket
import sys
from urllib.parse import urlparse


class Client:
    """One connection, one request at a time."""

    def __init__(self, url):
        address = urlparse(url)
        self.socket = socket.create_connection((address.hostname, address.port or 4222), 5)
        self.lines = self.socket.makefile("rb")
        self.lines.readline()
        self.send(b'CONNECT {"verbose":false,"pedantic":false,"headers":true,"no_responders":true}\r\nSUB answers 1\r\n')

    def send(self, data):
        self.socket.sendall(data)

    def request(self, subject, body=b"", headers=()):
        """Publishes and returns the answer of JetStream."""
        if headers:
            head = b"NATS/1.0\r\n" + b"".join(f"{name}: {value}\r\n".encode() for name, value in headers) + b"\r\n"
            self.send(f"HPUB {subject} answers {len(head)} {len(head) + len(body)}\r\n".encode() + head + body + b"\r\n")
        else:
            self.send(f"PUB {subject} answers {len(body)}\r\n".encode() + body + b"\r\n")
        while True:
            words = self.lines.readline().split()
            if words[0] == b"PING":
                self.send(b"PONG\r\n")
            elif words[0] in (b"MSG", b"HMSG"):
                body = self.lines.read(int(words[-1]) + 2)[:-2]
                if words[0] == b"HMSG":
                    sys.exit(f"nats: no stream takes {subject}")
                answer = json.loads(body)
                if "error" in answer:
                    sys.exit(f"nats: {answer['error'].get('description')}")
                return answer
            elif words[0] == b"-ERR":
                sys.exit(f"nats: {b' '.join(words[1:]).decode()}")


def option(arguments, *names):
    """Takes the values of an option out of the arguments."""
    found = []
    for name in names:
        while name in arguments:
            at = arguments.index(name)
            found.append(arguments[at + 1])
            del arguments[at : at + 2]
    return found


def main(arguments):
    headers = [tuple(header.split(":", 1)) for header in option(arguments, "-H", "--header")]
    subjects = option(arguments, "--subjects")
    retention = option(arguments, "--retention")
    duplicates = option(arguments, "--dupe-window")
    words = [word for word in arguments if word not in ("-f", "--force", "--defaults")]
    client = Client(os.environ.get("NATS_URL", "nats://127.0.0.1:4222"))
    match words:
        case ["stream", "add", name]:
            config = {"name": name, "subjects": ",".join(subjects).split(","), "storage": "file", "num_replicas": 1}
            if retention:
                config["retention"] = {"work": "workqueue"}.get(retention[0], retention[0])
            if duplicates:
                config["duplicate_window"] = int(float(duplicates[0].rstrip("s")) * 1e9)
            client.request(f"$JS.API.STREAM.CREATE.{name}", json.dumps(config).encode())
        case ["stream", "rm", name]:
            client.request(f"$JS.API.STREAM.DELETE.{name}")
        case ["stream", "purge", name]:
            client.request(f"$JS.API.STREAM.PURGE.{name}")
        case ["kv", "add", bucket]:
            config = {"name": f"KV_{bucket}", "subjects": [f"$KV.{bucket}.>"], "max_msgs_per_subject": 1, "deny_delete": True,
                      "allow_rollup_hdrs": True, "discard": "new", "storage": "file", "num_replicas": 1}
            client.request(f"$JS.API.STREAM.CREATE.KV_{bucket}", json.dumps(config).encode())
        case ["kv", "put", bucket, key, value]:
            client.request(f"$KV.{bucket}.{key}", value.encode())
        case ["kv", "del", bucket, key]:
            client.request(f"$KV.{bucket}.{key}", b"", [("KV-Operation", "DEL")])
        case ["pub", subject, *body]:
            text = " ".join(body)
            client.request(subject, bytes.fromhex(text[4:]) if text.startswith("hex:") else text.encode(), headers)
        case _:
            sys.exit(f"nats: this stand-in does not know {' '.join(words)}")


if __name__ == "__main__":
    main(sys.argv[1:])
