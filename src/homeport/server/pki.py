"""One cluster's certificates: an authority, the server's certificate, clients', and the token key.

Elliptic-curve keys (P-256): made in a millisecond. Private keys are written 0600 before anything else may read them.
"""

import os
import random
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from homeport.clock import Clock

__all__ = ["Credential", "Pki", "server_context"]

_YEARS: Final = timedelta(days=3650)
_SKEW: Final = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Credential:
    """A certificate and its key, both PEM."""

    certificate: bytes
    key: bytes


class Pki:
    """The certificates kept in one folder; what is missing is made, what is there stays."""

    def __init__(self, folder: Path, clock: Clock, rng: random.Random) -> None:
        self._folder, self._clock, self._rng = folder, clock, rng
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._ca_key, self._ca = self._authority()

    @property
    def ca_pem(self) -> bytes:
        return self._ca.public_bytes(Encoding.PEM)

    @property
    def ca_path(self) -> Path:
        return self._folder / "ca.crt"

    def server(self, names: Sequence[str], file: str = "apiserver", user: str = "kube-apiserver") -> Credential:
        """Return a server's credential for these names and addresses, kept under `file`; made anew when they change."""
        wanted = "\n".join(names)
        listed = self._folder / f"{file}.names"
        found = self._read(file)
        if found is not None and listed.exists() and listed.read_text() == wanted:
            return found
        made = self._issue(user, (), names, ExtendedKeyUsageOID.SERVER_AUTH)
        self._write(file, made)
        listed.write_text(wanted)
        return made

    def client(self, file: str, user: str, groups: Sequence[str] = ()) -> Credential:
        """Return a user's credential, kept under `file`."""
        found = self._read(file)
        if found is None:
            found = self._issue(user, groups, (), ExtendedKeyUsageOID.CLIENT_AUTH)
            self._write(file, found)
        return found

    def token_key(self) -> ec.EllipticCurvePrivateKey:
        """Return the key that signs service-account tokens."""
        path = self._folder / "sa.key"
        if path.exists():
            return _load_key(path.read_bytes())
        key = ec.generate_private_key(ec.SECP256R1())
        _write_private(path, _pem(key))
        return key

    def _authority(self) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
        found = self._read("ca")
        if found is not None:
            return _load_key(found.key), x509.load_pem_x509_certificate(found.certificate)
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "homeport-ca")])
        usage = x509.KeyUsage(True, False, True, False, False, True, True, False, False)
        certificate = (
            self._builder(name, name, key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .sign(key, SHA256())
        )
        self._write("ca", Credential(certificate.public_bytes(Encoding.PEM), _pem(key)))
        return key, certificate

    def _issue(
        self, user: str, groups: Sequence[str], names: Sequence[str], purpose: x509.ObjectIdentifier
    ) -> Credential:
        key = ec.generate_private_key(ec.SECP256R1())
        attributes = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
        subject = x509.Name([*attributes, x509.NameAttribute(NameOID.COMMON_NAME, user)])
        usage = x509.KeyUsage(True, False, False, False, False, False, False, False, False)
        authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._ca_key.public_key())
        builder = (
            self._builder(subject, self._ca.subject, key.public_key())
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
            .add_extension(authority, critical=False)
        )
        if names:
            builder = builder.add_extension(
                x509.SubjectAlternativeName([_general_name(name) for name in names]), critical=False
            )
        certificate = builder.sign(self._ca_key, SHA256())
        return Credential(certificate.public_bytes(Encoding.PEM), _pem(key))

    def _builder(
        self, subject: x509.Name, issuer: x509.Name, public: ec.EllipticCurvePublicKey
    ) -> x509.CertificateBuilder:
        now = datetime.fromtimestamp(self._clock.now(), UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(public)
            .serial_number(self._rng.getrandbits(158) | 1)
            .not_valid_before(now - _SKEW)
            .not_valid_after(now + _YEARS)
        )

    def _read(self, file: str) -> Credential | None:
        certificate, key = self._folder / f"{file}.crt", self._folder / f"{file}.key"
        if not certificate.exists() or not key.exists():
            return None
        return Credential(certificate.read_bytes(), key.read_bytes())

    def _write(self, file: str, credential: Credential) -> None:
        _write_private(self._folder / f"{file}.key", credential.key)
        (self._folder / f"{file}.crt").write_bytes(credential.certificate)

    def path(self, file: str, kind: str) -> Path:
        """Return where a credential's `crt` or `key` lies."""
        return self._folder / f"{file}.{kind}"


def server_context(pki: Pki, names: Sequence[str]) -> ssl.SSLContext:
    """Return the listener's TLS: clients may show a certificate of the cluster's authority, and need not."""
    pki.server(names)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pki.path("apiserver", "crt"), pki.path("apiserver", "key"))
    context.load_verify_locations(cadata=pki.ca_pem.decode())
    context.verify_mode = ssl.CERT_OPTIONAL
    context.set_alpn_protocols(["http/1.1"])
    return context


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _load_key(pem: bytes) -> ec.EllipticCurvePrivateKey:
    key = load_pem_private_key(pem, None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return key


def _write_private(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)
