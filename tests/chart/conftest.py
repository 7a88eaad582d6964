"""What the tests of the chart share."""

from __future__ import annotations

import shutil

import pytest

from tiers import leave_out


@pytest.fixture
def promtool() -> str:
    """Prometheus' promtool, which comes with Debian's package ``prometheus``."""
    return shutil.which("promtool") or leave_out(
        "no promtool on PATH: apt-get install prometheus", always=True
    )
