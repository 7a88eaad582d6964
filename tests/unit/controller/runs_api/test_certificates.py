"""Certificates of the runs API: what is made, what is found wrong, how one follows another."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from agentjobs.controller.runs_api.certificates import (
    TRUSTED_AT_MOST,
    joined,
    make,
    plan,
    problem,
    renewal,
    trusted,
)
from agentjobs.controller.runs_api.trust import Trust

HOST = "agentjobs-web.agents.svc"
AT = datetime(2026, 11, 1, 12, 0, 0, tzinfo=UTC)
LIFE = timedelta(days=90)


def stored(at: datetime = AT, host: str = HOST, life: timedelta = LIFE) -> dict[str, bytes]:
    made = make(host, at, life)
    return {"tls.crt": made.certificate, "tls.key": made.key, "ca.crt": made.authority}


def verifies(certificate: bytes, authorities: bytes, at: datetime, host: str = HOST) -> bool:
    """Whether a strict verifier accepts it: cryptography's, by the web's rules."""
    roots = x509.load_pem_x509_certificates(authorities)
    store = x509.verification.Store(roots)
    builder = x509.verification.PolicyBuilder().store(store).time(at)
    verifier = builder.build_server_verifier(x509.DNSName(host))
    try:
        verifier.verify(x509.load_pem_x509_certificate(certificate), [])
    except x509.verification.VerificationError:
        return False
    return True


def test_a_certificate_is_valid_for_the_services_name_alone_and_since_an_hour_ago() -> None:
    data = stored()
    assert problem(data, ("tls.crt", "tls.key"), HOST, AT) == ""
    assert verifies(data["tls.crt"], data["ca.crt"], AT)
    assert verifies(data["tls.crt"], data["ca.crt"], AT - timedelta(minutes=59)), "a clock that is behind"
    assert not verifies(data["tls.crt"], data["ca.crt"], AT, "other.agents.svc")
    assert not verifies(data["tls.crt"], stored()["ca.crt"], AT)


def test_openssl_takes_the_pair(tmp_path: Path) -> None:
    data = stored()
    for key, value in data.items():
        (tmp_path / key).write_bytes(value)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "tls.crt", tmp_path / "tls.key")


def test_the_authoritys_key_is_nowhere() -> None:
    made = make(HOST, AT, LIFE)
    assert b"PRIVATE KEY" not in made.certificate + made.authority
    assert made.key.count(b"BEGIN PRIVATE KEY") == 1
    (authority,) = x509.load_pem_x509_certificates(made.authority)
    key = ssl.PEM_cert_to_DER_cert(made.certificate.decode())
    assert authority.public_key() != x509.load_der_x509_certificate(key).public_key()


UNKNOWN_KEY = b"-----BEGIN PRIVATE KEY-----\nMA8CAQAwBQYDKgMEBANhYmM=\n-----END PRIVATE KEY-----\n"
"""PKCS #8 with an algorithm that nobody has."""


@pytest.mark.parametrize(
    ("title", "change", "says"),
    [
        ("deleted key", {"tls.key": b""}, "has no tls.key"),
        ("deleted authority", {"ca.crt": b""}, "has no ca.crt"),
        ("garbage", {"tls.crt": b"garbage"}, "cannot be read"),
        ("garbage as key", {"tls.key": b"garbage"}, "cannot be read"),
        ("a key of an unknown kind", {"tls.key": UNKNOWN_KEY}, "cannot be read"),
        ("another's key", {"tls.key": make(HOST, AT, LIFE).key}, "is not the key"),
        ("another's authority", {"ca.crt": make(HOST, AT, LIFE).authority}, "of no authority"),
        ("garbage as authority", {"ca.crt": b"garbage"}, "of no authority"),
    ],
)
def test_a_damaged_secret_is_made_again(title: str, change: dict[str, bytes], says: str) -> None:
    made = plan({**stored(), **change}, HOST, AT, LIFE)
    assert made.data is not None, title
    assert says in made.why
    assert problem(made.data, ("tls.crt", "tls.key"), HOST, AT) == ""


def test_one_that_is_expired_not_yet_valid_or_for_another_name_is_made_again() -> None:
    for data in (stored(AT - LIFE), stored(AT + timedelta(hours=2)), stored(host="old.agents.svc")):
        made = plan(data, HOST, AT, LIFE)
        assert made.data is not None
        assert problem(made.data, ("tls.crt", "tls.key"), HOST, AT) == ""


def test_a_deleted_secret_is_made_again_and_what_servers_still_show_stays_trusted() -> None:
    before = stored(AT - timedelta(days=10))
    made = plan(None, HOST, AT, LIFE, earlier=before["ca.crt"])
    assert made.data is not None
    assert verifies(made.data["tls.crt"], made.trusted, AT)
    assert verifies(before["tls.crt"], made.trusted, AT)


def test_it_is_left_alone_for_two_thirds_of_its_life() -> None:
    data = stored()
    assert renewal(data["tls.crt"]) == AT + timedelta(days=60)
    assert plan(data, HOST, AT + timedelta(days=60, seconds=-1), LIFE).data is None
    assert plan(data, HOST, AT + timedelta(days=60), LIFE).data is not None


def test_in_a_rotation_every_certificate_that_a_server_may_show_is_trusted_at_each_step() -> None:
    """Two rotations, step by step: what was in use before, and what is in use now, against what is trusted."""
    data, at, shown, served = stored(), AT, [], []
    for _ in range(2):
        at = renewal(data["tls.crt"])
        first = plan(data, HOST, at, LIFE)
        assert first.data is not None
        assert first.data["tls.crt"] == data["tls.crt"], "first it is trusted"
        assert first.waits
        again = plan(first.data, HOST, at + timedelta(minutes=1), LIFE)
        assert again.data is None
        assert again.waits == first.waits
        second = plan(first.data, HOST, at + timedelta(minutes=2), LIFE, settled=True)
        assert second.data is not None
        assert second.data["tls.crt"] == first.data["next.crt"], "then it is shown"
        assert set(second.data) == {"tls.crt", "tls.key", "ca.crt"}
        for step in (first, second):
            shown += [
                verifies(data["tls.crt"], step.trusted, at),
                verifies(second.data["tls.crt"], step.trusted, at),
            ]
        data = dict(second.data)
        served.append(data["tls.crt"])
    assert all(shown)
    assert len(set(served)) == 2


def test_a_next_one_that_is_damaged_is_made_anew_and_the_one_in_use_stays() -> None:
    first = plan(stored(), HOST, AT + timedelta(days=61), LIFE)
    assert first.data is not None
    again = plan({**first.data, "next.key": b"x"}, HOST, AT + timedelta(days=61), LIFE, settled=True)
    assert again.data is not None
    assert again.data["tls.crt"] == first.data["tls.crt"]
    assert again.data["next.crt"] != first.data["next.crt"]


def test_expired_and_unreadable_authorities_are_dropped_and_few_are_kept() -> None:
    new, old = stored()["ca.crt"], stored(AT - LIFE - timedelta(days=1))["ca.crt"]
    assert trusted(new + b"garbage\n-----END CERTIFICATE-----\n" + old + new, AT) == new
    many = joined(AT, new, *(stored()["ca.crt"] for _ in range(9)))
    assert many.count(b"BEGIN") == TRUSTED_AT_MOST
    assert many.startswith(new)


def test_a_next_certificate_waits_until_the_api_server_has_trusted_it_for_long() -> None:
    import base64

    trust, new = Trust(), b"NEW"
    assert not trust.settled(new, 0.0, 60.0), "nobody has looked yet"
    trust.saw(base64.b64encode(b"OLD").decode(), 0.0)
    assert not trust.settled(new, 100.0, 60.0)
    trust.saw(base64.b64encode(b"NEW OLD").decode(), 100.0)
    trust.saw(base64.b64encode(b"NEW OLD").decode(), 150.0)
    assert not trust.settled(new, 159.0, 60.0)
    assert trust.settled(new, 160.0, 60.0)
    trust.saw(None, 161.0)
    assert trust.settled(b"ANY", 161.0, 60.0), "nothing is registered, so nobody can be refused"


def test_what_was_to_be_trusted_stays_so_before_the_api_server_was_seen_to_trust_it() -> None:
    trust, first, second = Trust(), make(HOST, AT, LIFE).authority, make(HOST, AT, LIFE).authority
    trust.saw(None, 0.0)
    trust.wanted = joined(AT, first, trust.earlier)
    # the APIService was made with it, and nobody has looked at it since
    trust.wanted = joined(AT, second, trust.earlier)
    assert first in trust.wanted
    assert second in trust.wanted
    trust.saw(trust.bundle, 1.0)
    assert joined(AT, second, trust.earlier) == trust.wanted, "each once"
