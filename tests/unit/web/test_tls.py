"""What the aggregated door reads in a client's certificate."""

from __future__ import annotations

from typing import Any

import pytest

from agentjobs.web.front_proxy import Peer
from agentjobs.web.tls import peer_of

EXPIRY = {"notAfter": "Jan  5 09:34:43 2018 GMT"}


@pytest.mark.parametrize(
    ("certificate", "peer"),
    [
        (None, None),
        ({}, None),
        ({"subject": (), **EXPIRY}, Peer(None, 1515144883)),
        (
            {"subject": ((("organizationName", "x"),), (("commonName", "a"),)), **EXPIRY},
            Peer("a", 1515144883),
        ),
        ({"subject": ((("commonName", "a"),), (("commonName", "b"),)), **EXPIRY}, Peer(None, 1515144883)),
    ],
)
def test_a_certificate_with_exactly_one_common_name_names_a_peer(
    certificate: dict[str, Any] | None, peer: Peer | None
) -> None:
    assert peer_of(certificate) == peer
