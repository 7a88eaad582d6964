"""`helm test`: one AgentJob with the model echo, from its creation to the answer, through the API server."""

from __future__ import annotations

import json
import os
import ssl
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
SERVER = f"https://{os.environ['KUBERNETES_SERVICE_HOST']}:{os.environ['KUBERNETES_SERVICE_PORT']}"
JOBS = f"/apis/agentjobs.dev/v1alpha1/namespaces/{os.environ['TEST_NAMESPACE']}/agentjobs"
NAME = f"helm-test-{int(time.time())}"
DEADLINE_SECONDS = 120.0


def request(method: str, path: str, body: object = None) -> Any:
    """The decoded answer of the API server."""
    asked = urllib.request.Request(
        SERVER + path,
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers={
            "Authorization": "Bearer " + (ACCOUNT / "token").read_text(),
            "Content-Type": "application/json",
        },
    )
    context = ssl.create_default_context(cafile=str(ACCOUNT / "ca.crt"))
    with urllib.request.urlopen(asked, context=context, timeout=30) as answer:
        return json.load(answer)


def main() -> str | None:
    """What is wrong; None: nothing."""
    inline = {"type": "llm", "name": "greeter", "model": "echo", "instruction": "Greet the user."}
    spec = {
        "agent": {"inline": inline},
        "message": "Hello from helm test.",
        "queue": os.environ["TEST_QUEUE"],
    }
    job = {
        "apiVersion": "agentjobs.dev/v1alpha1",
        "kind": "AgentJob",
        "metadata": {"name": NAME},
        "spec": spec,
    }
    began = time.monotonic()
    request("POST", JOBS, job)
    try:
        status: dict[str, Any] = {}
        while time.monotonic() - began < DEADLINE_SECONDS:
            status = request("GET", f"{JOBS}/{NAME}").get("status") or {}
            if status.get("state") in ("Complete", "Failed", "Cancelled", "Rejected"):
                break
            time.sleep(0.1)
        seconds = time.monotonic() - began
        print(f"{NAME}: {status.get('state')} after {seconds:.1f} s: {status.get('result')}", flush=True)
        return None if status.get("state") == "Complete" else f"not complete: {json.dumps(status)}"
    finally:
        request("DELETE", f"{JOBS}/{NAME}")


try:
    sys.exit(main())
except urllib.error.HTTPError as error:
    sys.exit(f"{error}: {error.read().decode()}")
