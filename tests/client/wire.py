"""A small HTTP/1.1 server around a handler, over any socket: the other end of the transport's wire."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from urllib.parse import parse_qsl, unquote, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from homeport.api.exchange import Handler, Request

Key = ec.EllipticCurvePrivateKey


@dataclass
class Wire:
    """Serves connections; counts them, and may hang up where told."""

    handler: Handler
    connections: int = 0
    open: int = 0
    hang_up_after: int = 10**9
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open += 1
        served = 0
        try:
            while served < self.hang_up_after and (line := await reader.readline()):
                served += 1
                await self._answer(line, reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self.open -= 1
            self.changed.set()
            writer.close()

    async def _answer(self, line: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        method, target, _ = line.decode().split()
        headers: dict[str, str] = {}
        while (raw := (await reader.readline()).decode().rstrip("\r\n")) != "":
            name, _, value = raw.partition(": ")
            headers[name] = value
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        parts = urlsplit(target)
        query = tuple(parse_qsl(parts.query, keep_blank_values=True))
        response = await self.handler(Request(method, unquote(parts.path), query, headers, body))
        if response.stream is None:
            head = f"HTTP/1.1 {response.status} X\r\ncontent-length: {len(response.body)}\r\n\r\n"
            writer.write(head.encode() + response.body)
            await writer.drain()
            return
        writer.write(f"HTTP/1.1 {response.status} X\r\ntransfer-encoding: chunked\r\n\r\n".encode())
        gone = asyncio.create_task(reader.read(1))
        stream = response.stream
        try:
            while True:
                step = asyncio.ensure_future(anext(stream, None))
                await asyncio.wait({gone, step}, return_when=asyncio.FIRST_COMPLETED)
                if gone.done():
                    step.cancel()
                    await asyncio.gather(step, return_exceptions=True)
                    raise ConnectionResetError
                chunk = step.result()
                if chunk is None:
                    break
                half = len(chunk) // 2  # documents arrive in pieces
                for piece in (chunk[:half], chunk[half:]):
                    writer.write(b"%x\r\n%s\r\n" % (len(piece), piece) if piece else b"")
                    await writer.drain()
            writer.write(b"0\r\n\r\n")
        finally:
            gone.cancel()
            await asyncio.gather(gone, return_exceptions=True)
            await stream.aclose()  # type: ignore[attr-defined]


@asynccontextmanager
async def listening(
    wire: Wire, start: Callable[..., "asyncio.Future[asyncio.Server]"], *args: object, **kwargs: object
) -> AsyncIterator[asyncio.Server]:
    server = await start(wire.serve, *args, **kwargs)
    try:
        yield server
    finally:
        server.close()


@dataclass(frozen=True)
class Authority:
    """A certificate authority for 127.0.0.1, one server and one client."""

    ca_pem: bytes
    server: ssl.SSLContext
    client_cert: bytes
    client_key: bytes


def authority(directory: str) -> Authority:
    now = datetime.now(UTC)

    def issue(name: str, issuer: x509.Name | None, signer: Key | None) -> tuple[bytes, bytes, Key]:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer or subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        )
        certificate = builder.sign(signer or key, hashes.SHA256())
        pem = certificate.public_bytes(serialization.Encoding.PEM)
        secret = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return pem, secret, key

    ca_pem, _, ca_key = issue("ca", None, None)
    root = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ca")])
    server_pem, server_key, _ = issue("server", root, ca_key)
    client_pem, client_key, _ = issue("client", root, ca_key)
    with open(f"{directory}/server.pem", "wb") as file:
        file.write(server_pem + server_key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(f"{directory}/server.pem")
    context.load_verify_locations(cadata=ca_pem.decode())
    context.verify_mode = ssl.CERT_REQUIRED
    return Authority(ca_pem, context, client_pem, client_key)
