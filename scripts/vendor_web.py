"""Take the files that others wrote from the npm registry, as released: python scripts/vendor_web.py

Each is checked against the checksum here. To take another release, change its version, run this with --new, and look at
what changed.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RECORD = ROOT / "operator/agentjobs/web/ui/vendored.json"


def main(new: bool) -> int:
    """Write every file of the record. 1: one of them is not what the record says, and was not written."""
    record = json.loads(RECORD.read_text())
    wrong = 0
    with tempfile.TemporaryDirectory() as folder:
        for package in record:
            name = f"{package['package']}@{package['version']}"
            packed = subprocess.run(
                ["npm", "pack", "--silent", name], cwd=folder, check=True, capture_output=True, text=True
            )
            with tarfile.open(Path(folder) / packed.stdout.strip().splitlines()[-1]) as archive:
                for file in package["files"]:
                    member = archive.extractfile(f"package/{file['from']}")
                    content = member.read() if member else b""
                    digest = hashlib.sha256(content).hexdigest()
                    if digest != file["sha256"] and not new:
                        print(f"{name} {file['from']}: sha256 {digest}, the record says {file['sha256']}")
                        wrong = 1
                        continue
                    file["sha256"] = digest
                    (ROOT / file["to"]).write_bytes(content)
    if new:
        RECORD.write_text(json.dumps(record, indent=1) + "\n")
    return wrong


if __name__ == "__main__":
    sys.exit(main("--new" in sys.argv[1:]))
