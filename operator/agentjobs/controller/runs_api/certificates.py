"""The serving certificate of the runs API: made, checked and renewed; pure, with the time passed in.

Each certificate has an authority of its own, whose key is thrown away at once: nobody can issue another one with it. A
renewal takes two steps, so that no request fails while it lasts. First the next pair is stored beside the one in use, and
its authority goes into ``ca.crt``, from where the operator takes the caBundle. Once the API server has trusted both for a
while, the next pair takes the place of the one in use; the old authority stays trusted until it expires.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

SKEW = timedelta(hours=1)
"""Certificates are valid since an hour ago: clocks of other machines may be behind."""
TRUSTED_AT_MOST = 4
"""Authorities in ``ca.crt``: the newest ones."""
SERVED = ("tls.crt", "tls.key")
NEXT = ("next.crt", "next.key")
AUTHORITIES = "ca.crt"
UNREADABLE = (ValueError, TypeError, UnsupportedAlgorithm, x509.ExtensionNotFound, x509.DuplicateExtension)
"""Errors of cryptography about what a Secret may hold instead of a pair."""
Data = Mapping[str, bytes]
"""The Secret's keys, decoded."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate and its key as PEM, with its authority."""

    certificate: bytes
    key: bytes
    authority: bytes


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be stored; ``data`` None: what is there already."""

    data: Data | None
    why: str
    trusted: bytes
    """``ca.crt``, PEM: what the caBundle is made of."""
    expires_at: datetime | None
    """Of the certificate in use."""
    waits: bytes = b""
    """The authority of the next pair, which the API server has to trust before that is used; empty: there is none."""


def plan(
    data: Data | None,
    host: str,
    at: datetime,
    life: timedelta,
    *,
    earlier: bytes = b"",
    settled: bool = False,
) -> Plan:
    """What follows from the Secret (None: there is none).

    ``earlier``: the PEM that the API server trusts now; a server may still show a certificate of it after the Secret was
    deleted. ``settled``: whether the API server has trusted the authority of the next pair for long enough.
    """
    found = data or {}
    authorities = trusted(found.get(AUTHORITIES, b""), at)
    why = problem(found, SERVED, host, at)
    if data is None or why:
        made = make(host, at, life)
        kept = joined(at, made.authority, found.get(AUTHORITIES, b""), earlier)
        return _stored(made, kept, "there was no Secret" if data is None else why)
    expires_at = _one(found[SERVED[0]]).not_valid_after_utc
    next_problem = problem(found, NEXT, host, at)
    if not next_problem and settled:
        new = {SERVED[0]: found[NEXT[0]], SERVED[1]: found[NEXT[1]], AUTHORITIES: authorities}
        return Plan(
            new, "the next one is trusted by now", authorities, _one(found[NEXT[0]]).not_valid_after_utc
        )
    if not next_problem:
        return Plan(None, "", authorities, expires_at, _authority_of(found[NEXT[0]], authorities))
    if at >= renewal(found[SERVED[0]]):
        made = make(host, at, life)
        kept = joined(at, made.authority, authorities)
        new = {key: found[key] for key in SERVED} | {
            NEXT[0]: made.certificate, NEXT[1]: made.key, AUTHORITIES: kept,
        }  # fmt: skip
        return Plan(new, "two thirds of its life are over", kept, expires_at, made.authority)
    return Plan(None, "", authorities, expires_at)


def _stored(made: Pair, kept: bytes, why: str) -> Plan:
    data = {SERVED[0]: made.certificate, SERVED[1]: made.key, AUTHORITIES: kept}
    return Plan(data, why, kept, _one(made.certificate).not_valid_after_utc)


def make(host: str, at: datetime, life: timedelta) -> Pair:
    """A certificate for this host, with an authority of its own."""
    authority_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    number = x509.random_serial_number()
    # a name of its own: of two authorities with one name a verifier may try the wrong one
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"agentjobs runs API {number:x}"[:64])])
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)] if len(host) <= 64 else [])
    own = x509.SubjectKeyIdentifier.from_public_key(authority_key.public_key())
    authority = (
        _builder(issuer, issuer, authority_key, at, life)
        .serial_number(number)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs=True), critical=True)
        .add_extension(own, critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    certificate = (
        _builder(subject, issuer, key, at, life)
        .serial_number(x509.random_serial_number())
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs=False), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=not subject.rdns)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    form, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return Pair(
        _pem(certificate), key.private_bytes(serialization.Encoding.PEM, form, plain), _pem(authority)
    )


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, at: datetime, life: timedelta
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .not_valid_before(at - SKEW)
        .not_valid_after(at + life)
    )


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs, key_cert_sign=signs, crl_sign=signs, content_commitment=False,
        key_encipherment=False, data_encipherment=False, key_agreement=False, encipher_only=False,
        decipher_only=False,
    )  # fmt: skip


def problem(data: Data, keys: tuple[str, str], host: str, at: datetime) -> str:
    """What is wrong with a pair of the Secret; empty: it may be served."""
    missing = [key for key in (*keys, AUTHORITIES) if not data.get(key)]
    if missing:
        return f"the Secret has no {missing[0]}"
    try:
        certificate = _one(data[keys[0]])
        key = serialization.load_pem_private_key(data[keys[1]], password=None)
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except UNREADABLE as error:
        return f"{keys[0]} or {keys[1]} cannot be read: {error}"[:200]
    if key.public_key() != certificate.public_key():
        return f"{keys[1]} is not the key of {keys[0]}"
    if host not in names.get_values_for_type(x509.DNSName):
        return f"{keys[0]} is not for {host}"
    if not certificate.not_valid_before_utc <= at < certificate.not_valid_after_utc:
        return f"{keys[0]} is valid until {certificate.not_valid_after_utc:%Y-%m-%d %H:%M:%S} UTC only"
    if not _authority_of(data[keys[0]], trusted(data[AUTHORITIES], at)):
        return f"{keys[0]} is of no authority in {AUTHORITIES}"
    return ""


def renewal(certificate: bytes) -> datetime:
    """When it is to be renewed: after two thirds of its life, which began when it was made."""
    found = _one(certificate)
    made_at = found.not_valid_before_utc + SKEW
    return made_at + (found.not_valid_after_utc - made_at) * 2 / 3


def trusted(pem: bytes, at: datetime) -> bytes:
    """The certificates of a PEM that are valid now, the newest ones, each once; those that cannot be read are left out."""
    valid = [one for one in _all(pem) if one.not_valid_after_utc > at]
    return b"".join([_pem(one) for one in dict.fromkeys(valid)][:TRUSTED_AT_MOST])


def joined(at: datetime, *pems: bytes) -> bytes:
    """The authorities of these, first those of the first."""
    return trusted(b"\n".join(pems), at)


def expiry(pem: bytes) -> datetime | None:
    """When the first certificate of a PEM expires; None: there is none that can be read."""
    found = _all(pem)
    return found[0].not_valid_after_utc if found else None


def _authority_of(certificate: bytes, authorities: bytes) -> bytes:
    """The one of these authorities that has issued the certificate, as PEM; empty: none has."""
    issued = _one(certificate)
    for authority in _all(authorities):
        try:
            issued.verify_directly_issued_by(authority)
            return _pem(authority)
        except (*UNREADABLE, InvalidSignature):
            continue
    return b""


def _one(pem: bytes) -> x509.Certificate:
    return x509.load_pem_x509_certificate(pem)


@lru_cache(maxsize=32)
def _all(pem: bytes) -> tuple[x509.Certificate, ...]:
    end = b"-----END CERTIFICATE-----"
    found = []
    for block in pem.split(end)[:-1]:
        try:
            found.append(_one(block + end + b"\n"))
        except ValueError:
            continue
    return tuple(found)


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def now() -> datetime:
    """This machine's time: certificates are checked by the clocks of machines."""
    return datetime.now(UTC)
