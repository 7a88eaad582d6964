"""Who made a change of an object, read from its annotations for the audit. Pure, of hostile input."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from agentjobs.api.act import parse
from agentjobs.api.names import ACT
from agentjobs.queue.audit import Act
from agentjobs.queue.records import AnnotatedAct


def annotated_act(annotations: Mapping[str, object]) -> AnnotatedAct | None:
    """What the annotation ``agentjobs.dev/act`` says; None: there is none.

    A value that cannot be read stands for a change by nobody: who may write the annotation may also leave it out.
    """
    text = str(annotations.get(ACT) or "")
    if not text:
        return None
    key = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]
    try:
        said = parse(text)
    except ValueError:
        return AnnotatedAct(key, None)
    act = Act(said.by, said.verb, said.reason, said.via or "object")
    return AnnotatedAct(key, act, said.at, said.origin)
