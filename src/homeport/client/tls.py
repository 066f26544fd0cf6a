"""TLS as a client: whom to trust and what to show."""

import os
import ssl

from homeport.client.settings import ConnectionSettings

__all__ = ["client_context"]


def client_context(settings: ConnectionSettings) -> ssl.SSLContext:
    """Return a context for a server; raises ssl.SSLError for certificates that cannot be used."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    if settings.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif settings.ca_pem:
        context.load_verify_locations(cadata=settings.ca_pem.decode("ascii"))
    else:
        context.load_default_certs()
    if settings.cert_pem:
        _load_pair(context, settings.cert_pem + b"\n" + settings.key_pem)
    return context


def _load_pair(context: ssl.SSLContext, pem: bytes) -> None:
    """Load a certificate and its key by way of memory: OpenSSL wants a file, and a key has no business on a disk."""
    descriptor = os.memfd_create("client-certificate", os.MFD_CLOEXEC)
    try:
        os.write(descriptor, pem)
        context.load_cert_chain(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)
