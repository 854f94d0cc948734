"""Makes a Python wheel that brings the program and nothing else: wheel.py STAGE VERSION GLIBC FOLDER.

`pip install` puts `alluvium` on the PATH of the environment. The wheel's tag says which glibc the binary needs, so that pip refuses it where
it could not run. The file is the same, byte for byte, for the same binary and SOURCE_DATE_EPOCH.
"""

import base64
import hashlib
import os
import pathlib
import platform
import sys
import time
import zipfile

METADATA = """Metadata-Version: 2.4
Name: alluvium
Version: {version}
Summary: Materialized views of NATS JetStream streams, written as SQL files, kept as Parquet
License-Expression: Apache-2.0
License-File: LICENSE
Requires-Python: >=3.8
Description-Content-Type: text/markdown

Alluvium keeps materialized views of event streams. A view is a SQL file, the events come from NATS JetStream or from files, and the view is
Parquet that DuckDB or DataFusion reads at any time. This package brings the program `alluvium`; it has no Python module.

    alluvium init my-views
    alluvium -C my-views run --until-caught-up
    alluvium -C my-views query 'SELECT * FROM revenue_by_country'
"""

WHEEL = """Wheel-Version: 1.0
Generator: alluvium packaging
Root-Is-Purelib: false
Tag: {tag}
"""


def main():
    stage, version, glibc, folder = pathlib.Path(sys.argv[1]), sys.argv[2], sys.argv[3], pathlib.Path(sys.argv[4])
    system = f"manylinux_{glibc.replace('.', '_')}" if glibc else "linux"
    tag = f"py3-none-{system}_{platform.machine()}"
    facts, scripts = f"alluvium-{version}.dist-info", f"alluvium-{version}.data/scripts"
    files = [
        (f"{scripts}/alluvium", (stage / "alluvium").read_bytes(), 0o755),
        (f"{facts}/licenses/LICENSE", (stage / "LICENSE").read_bytes(), 0o644),
        (f"{facts}/METADATA", METADATA.format(version=version).encode(), 0o644),
        (f"{facts}/WHEEL", WHEEL.format(tag=tag).encode(), 0o644),
    ]
    record = ""
    for name, data, _ in files:
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        record += f"{name},sha256={digest},{len(data)}\n"
    record += f"{facts}/RECORD,,\n"
    files.append((f"{facts}/RECORD", record.encode(), 0o644))
    when = time.gmtime(int(os.environ.get("SOURCE_DATE_EPOCH", time.time())))[:6]
    with zipfile.ZipFile(folder / f"alluvium-{version}-{tag}.whl", "w", zipfile.ZIP_DEFLATED) as wheel:
        for name, data, mode in files:
            entry = zipfile.ZipInfo(name, when)
            entry.external_attr = (0o100000 | mode) << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            wheel.writestr(entry, data)


main()
