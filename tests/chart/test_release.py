"""The chart's archive, as `make release` builds it."""

from __future__ import annotations

import tarfile
from pathlib import Path

import yaml

from charts import LEAST, Helm
from release_builds import built, checkout


def test_the_charts_archive_renders_what_the_folder_does(helm: Helm, tmp_path: Path) -> None:
    dist = built(checkout(tmp_path), HELM_BIN=str(helm.binary))
    archive = dist / "agentjobs-0.1.0.tgz"
    packed = helm.run(
        "template", "agentjobs", str(archive), "--namespace=agents", "--kube-version=1.34.0", values=LEAST
    )
    assert packed.returncode == 0, packed.stderr
    assert list(yaml.safe_load_all(packed.stdout)) == list(yaml.safe_load_all(helm.text()))
    with tarfile.open(archive) as files:
        assert files.getnames()[0] == "agentjobs/Chart.yaml"
    assert archive.name in (dist / "SHA256SUMS").read_text()
