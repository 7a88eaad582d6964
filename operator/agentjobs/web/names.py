"""Names of the runs API. This module imports nothing, since the kubectl plugin starts anew for each command."""

from __future__ import annotations

GROUP = "runs.agentjobs.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
ROOT = f"/apis/{GROUP}/{VERSION}"

NO_OBJECT = "-"
"""The pseudo namespace of jobs without an object, whose names are their uids. No Role can be made in it, so only
cluster-wide rights reach it."""
