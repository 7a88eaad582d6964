"""The certificate authority of one local control plane. Its keys stay in the control plane's folder."""

from __future__ import annotations

import base64
import datetime
import ipaddress
import json
import os
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

VALID_DAYS = 365
SERVER_NAMES = ("localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc")
SERVER_ADDRESSES = ("127.0.0.1", "10.96.0.1")


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate and its private key, as files."""

    certificate: Path
    key: Path


class Authority:
    """A certificate authority, which writes its certificates and keys into ``folder`` (0700)."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "agentjobs local control plane")])
        constraints = x509.BasicConstraints(ca=True, path_length=0)
        built = self._builder(self._name, self._key).add_extension(constraints, critical=True)
        self._certificate = built.sign(self._key, hashes.SHA256())
        self.certificate = folder / "ca.crt"
        self.certificate.write_bytes(self._certificate.public_bytes(serialization.Encoding.PEM))

    def server(self, name: str) -> Pair:
        """A certificate for a server on loopback and for its calls to peers (etcd's)."""
        addresses = [x509.IPAddress(ipaddress.ip_address(address)) for address in SERVER_ADDRESSES]
        names = x509.SubjectAlternativeName([*(x509.DNSName(each) for each in SERVER_NAMES), *addresses])
        return self._issue(name, name, (), names)

    def client(self, name: str, user: str, groups: tuple[str, ...] = ()) -> Pair:
        """A certificate by which Kubernetes knows a client as ``user``, member of ``groups``."""
        return self._issue(name, user, groups, None)

    def signing_key(self, name: str) -> Pair:
        """A key pair, without a certificate, that signs service account tokens."""
        key = ec.generate_private_key(ec.SECP256R1())
        public = self.folder / f"{name}.pub"
        public.write_bytes(
            key.public_key().public_bytes(
                serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
            )
        )
        return Pair(public, self._write_key(name, key))

    def kubeconfig(self, name: str, server: str, client: Pair) -> Path:
        """Writes ``<name>.kubeconfig`` (0600) beside the folder, with all certificates and keys inline."""

        def inline(file: Path) -> str:
            return base64.b64encode(file.read_bytes()).decode()

        cluster = {"server": server, "certificate-authority-data": inline(self.certificate)}
        user = {
            "client-certificate-data": inline(client.certificate),
            "client-key-data": inline(client.key),
        }
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "agentjobs-local", "cluster": cluster}],
            "users": [{"name": name, "user": user}],
            "contexts": [
                {"name": "agentjobs-local", "context": {"cluster": "agentjobs-local", "user": name}}
            ],
            "current-context": "agentjobs-local",
        }
        return write_private(self.folder.parent / f"{name}.kubeconfig", json.dumps(config, indent=2).encode())

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(days=VALID_DAYS))
        )

    def _issue(
        self,
        name: str,
        common_name: str,
        organizations: tuple[str, ...],
        alternatives: x509.SubjectAlternativeName | None,
    ) -> Pair:
        key = ec.generate_private_key(ec.SECP256R1())
        attributes = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, each) for each in organizations]
        subject = x509.Name([*attributes, x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
        usages = [ExtendedKeyUsageOID.CLIENT_AUTH]
        builder = self._builder(subject, key)
        if alternatives is not None:
            usages.append(ExtendedKeyUsageOID.SERVER_AUTH)
            builder = builder.add_extension(alternatives, critical=False)
        builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        certificate = self.folder / f"{name}.crt"
        certificate.write_bytes(
            builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
        )
        return Pair(certificate, self._write_key(name, key))

    def _write_key(self, name: str, key: ec.EllipticCurvePrivateKey) -> Path:
        form, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        return write_private(
            self.folder / f"{name}.key", key.private_bytes(serialization.Encoding.PEM, form, plain)
        )


def write_private(file: Path, content: bytes) -> Path:
    """Writes a file that only its owner can read, at any moment."""
    file.unlink(missing_ok=True)
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as output:
        output.write(content)
    return file
