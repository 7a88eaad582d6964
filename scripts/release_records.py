"""What a wheel may install, as an SBOM (CycloneDX 1.6) on standard output: `release_records.py WHEEL LOCK`.

Its components are those of the lock: every extra for users, on every system. ``SOURCE_DATE_EPOCH`` is the document's time, so
the same wheel and lock give the same bytes. `scripts/release.sh` calls it.
"""

from __future__ import annotations

import hashlib
import os
import re
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from cyclonedx.model import HashAlgorithm, HashType
from cyclonedx.model.component import Component, ComponentType
from image_records import Package, document
from packageurl import PackageURL


def locked(lock: str) -> Iterator[Package]:
    """The packages of a lock's text; where it has several versions of one, for several systems, all of them."""
    for name, version in re.findall(r"^([\w.-]+)==([^ ;]+)", lock, re.MULTILINE):
        yield Package("pypi", name, version)


def wheel_sbom(wheel: Path, lock: str, made: datetime) -> str:
    """A CycloneDX document of a wheel and the packages of its lock."""
    name, version, *_ = wheel.name.split("-")
    url = PackageURL(type="pypi", name=name, version=version)
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    described = Component(
        type=ComponentType.LIBRARY,
        name=name,
        version=version,
        purl=url,
        bom_ref=str(url),
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=digest)],
    )
    return document(described, list(locked(lock)), made)


if __name__ == "__main__":
    built, lockfile = map(Path, sys.argv[1:])
    when = datetime.fromtimestamp(int(os.environ["SOURCE_DATE_EPOCH"]), UTC)
    print(wheel_sbom(built, lockfile.read_text(), when))
