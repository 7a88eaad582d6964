"""What is in an image and what it was made of, as files beside it: `image_records.py IMAGE BASE_IMAGE TARGET FOLDER`.

FOLDER gets NAME-TAG.sbom.json, the image's packages (CycloneDX 1.6), and NAME-TAG.provenance.json (an in-toto statement with a
SLSA provenance, unsigned). `scripts/image.sh` calls it for each image that it builds.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple
from uuid import NAMESPACE_URL, uuid5

from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL

ROOT = Path(__file__).parents[1]
LOCKS = {"agentjobs-dev-postgres": ("dev-postgres",)}
"""The locks that an image is installed from, where they are not those of the others."""

# run inside of the image, whose Python may be any from 3.11 on and which may have no dpkg
LIST_PACKAGES = """
import glob, importlib.metadata, json, shutil, subprocess, sys
folders = [*sys.path, *glob.glob('/opt/*/lib/python*/site-packages'), '/opt/postgres']
python = {(d.metadata['Name'], d.version) for d in importlib.metadata.distributions(path=folders) if d.metadata['Name']}
found = [['pypi', *each, ''] for each in sorted(python)]
if shutil.which('dpkg-query'):
    listed = subprocess.check_output(['dpkg-query', '-W', '-f', '${Package}\\t${Version}\\t${Architecture}\\n'], text=True)
    found += [['deb', *line.split('\\t')] for line in listed.splitlines()]
print(json.dumps(found))
"""


class Package(NamedTuple):
    """A package in an image; ``kind`` is the type of its package URL."""

    kind: str
    name: str
    version: str
    architecture: str = ""


class Source(NamedTuple):
    """The sources: their commit, and whether they have been changed since."""

    commit: str
    changed: bool


def packages_in(image: str) -> list[Package]:
    """The Python distributions and Debian packages of an image, as the image itself lists them."""
    command = ["docker", "run", "--rm", "--network=none", "--entrypoint=python3", image, "-c", LIST_PACKAGES]
    return [Package(*each) for each in json.loads(subprocess.check_output(command))]


def sbom(image: str, digest: str, packages: list[Package]) -> str:
    """A CycloneDX document of an image's packages."""
    name, _, tag = image.rpartition(":")
    described = Component(type=ComponentType.CONTAINER, name=name, version=tag, bom_ref=f"{image}@{digest}")
    return document(described, packages)


def document(described: Component, packages: Iterable[Package], made: datetime | None = None) -> str:
    """A CycloneDX document of what something contains or installs.

    :param made: its time, and then its serial number follows from what is described; absent: now, and a random one.
    """
    components = [_component(package) for package in packages]
    found = Bom(components=components)
    if made:
        contents = "\n".join(
            [
                str(described.bom_ref),
                *(each.content for each in described.hashes),
                *sorted(str(c.purl) for c in components),
            ]
        )
        found.serial_number = uuid5(NAMESPACE_URL, contents)
        found.metadata.timestamp = made
    found.metadata.component = described
    found.register_dependency(described, components)
    return JsonV1Dot6(found).output_as_string(indent=2)


def _component(package: Package) -> Component:
    kind, name, version, architecture = package
    url = PackageURL(
        type=kind,
        namespace="debian" if kind == "deb" else None,
        name=name,
        version=version,
        qualifiers={"arch": architecture} if architecture else None,
    )
    return Component(type=ComponentType.LIBRARY, name=name, version=version, purl=url, bom_ref=str(url))


def provenance(
    image: str,
    digest: str,
    base: str,
    base_digest: str,
    target: str,
    source: Source,
    locks: Mapping[str, str],
) -> dict[str, Any]:
    """An in-toto statement: which sources, base image and locks the image was built from.

    :param digest: of the image, ``sha256:…``. :param locks: the SHA-256 of each lock, by its path.
    https://slsa.dev/spec/v1.0/provenance
    """
    return {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": image, "digest": _digest(digest)}],
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {
            "buildDefinition": {
                "buildType": "https://agentjobs.dev/make-image/v1",
                "externalParameters": {"target": target, "baseImage": base},
                "resolvedDependencies": [
                    {
                        "name": "source",
                        "digest": {"gitCommit": source.commit},
                        "annotations": {"changed": source.changed},
                    },
                    {"name": base, "digest": _digest(base_digest)},
                    *({"name": path, "digest": {"sha256": sha}} for path, sha in locks.items()),
                ],
            },
            "runDetails": {
                "builder": {"id": "https://agentjobs.dev/make-image/v1"},
                "metadata": {"finishedOn": datetime.now(UTC).isoformat(timespec="seconds")},
            },
        },
    }


def _digest(text: str) -> dict[str, str]:
    algorithm, _, value = text.rpartition(":")
    return {algorithm or "sha256": value}


def digest_of(image: str) -> str:
    """The digest by which a registry knows the image, or, as long as none does, the id of the image."""
    asked = ["docker", "image", "inspect", "-f", "{{json .RepoDigests}} {{.Id}}", image]
    digests, _, own = subprocess.check_output(asked, text=True).strip().rpartition(" ")
    known = json.loads(digests)
    return str(known[0]).rpartition("@")[2] if known else own


def _output(*command: str) -> str:
    return subprocess.check_output(command, text=True, cwd=ROOT).strip()


def _source() -> Source:
    changed = _output("git", "status", "--porcelain", "--untracked-files=no")
    return Source(_output("git", "rev-parse", "HEAD"), bool(changed))


def _written(image: str, base: str, target: str, folder: Path) -> Iterator[Path]:
    name = image.rsplit("/", 1)[-1]
    of_name = LOCKS.get(name.rpartition(":")[0], ("image", "build"))
    locks = {
        f"locks/{lock}.txt": hashlib.sha256((ROOT / "locks" / f"{lock}.txt").read_bytes()).hexdigest()
        for lock in of_name
    }
    digest = digest_of(image)
    statement = provenance(image, digest, base, digest_of(base), target, _source(), locks)
    folder.mkdir(parents=True, exist_ok=True)
    for kind, text in (
        ("sbom", sbom(image, digest, packages_in(image))),
        ("provenance", json.dumps(statement, indent=2)),
    ):
        path = folder / f"{name.replace(':', '-')}.{kind}.json"
        path.write_text(text + "\n")
        yield path


if __name__ == "__main__":
    image_name, base_image, build_target, directory = sys.argv[1:]
    for written in _written(image_name, base_image, build_target, Path(directory)):
        print(f"agentjobs: {written}")
