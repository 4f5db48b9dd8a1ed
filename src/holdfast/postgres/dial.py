"""How asyncpg reaches the server that libpq reached, with no less security than libpq was told to use.

asyncpg reads libpq's environment by itself but knows only some of its options. So it is told everything here,
and for options that it cannot honour (`needs_libpq`) it is not used at all.
"""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

from holdfast.domain.errors import UsageError
from holdfast.postgres.address import ServerAddress
from holdfast.postgres.connection import CONNECT_TIMEOUT_SECONDS

_LIBPQ_ONLY = (
    "requirepeer",
    "require_auth",
    "scram_client_key",
    "scram_server_key",
    "oauth_issuer",
    "sslcrldir",
)


def needs_libpq(address: ServerAddress) -> bool:
    """Whether the address asks for something that only libpq can do (asyncpg 0.32 has no channel binding)."""
    return (
        address.host.startswith("@")
        or address.get("channel_binding") == "require"
        or address.get("gssencmode") == "require"
        or address.get("sslcertmode") == "require"
        or any(address.get(name) for name in _LIBPQ_ONLY)
    )


def keywords_for(address: ServerAddress, *, application_name: str) -> dict[str, Any]:
    """asyncpg.connect's keywords for a pinned address; none is left for it to look up in the environment."""
    settings = {"application_name": application_name}
    options = address.get("options")
    if options:
        settings["options"] = options
    timeout = float(address.get("connect_timeout") or CONNECT_TIMEOUT_SECONDS)
    return {
        "host": address.get("hostaddr") or address.host,
        "port": address.port,
        "user": address.user,
        "password": address.password or "",
        "database": address.database,
        "ssl": _context(address) if address.tls else False,
        "direct_tls": address.get("sslnegotiation") == "direct",
        "server_settings": settings,
        "target_session_attrs": "any",
        "krbsrvname": address.get("krbsrvname") or "postgres",
        "gsslib": "gssapi",
        "timeout": timeout or None,
        "statement_cache_size": 0,  # nothing is asked twice, and poolers lose named statements
    }


class _NamedContext(ssl.SSLContext):
    """A context for one host: asyncpg dials its address, but the certificate is made out to its name."""

    host_name: str | None = None

    def wrap_bio(
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = False,  # noqa: FBT001, FBT002 - the standard library's signature
        server_hostname: str | bytes | None = None,
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLObject:
        del server_hostname
        return super().wrap_bio(incoming, outgoing, server_side, self.host_name, session)


def _context(address: ServerAddress) -> ssl.SSLContext:
    """libpq's TLS options, with libpq's defaults."""
    home = Path.home() / ".postgresql"
    context = _NamedContext(ssl.PROTOCOL_TLS_CLIENT)
    context.set_alpn_protocols(["postgresql"])
    root = address.get("sslrootcert")
    context.check_hostname = address.sslmode == "verify-full" or root == "system"
    context.host_name = (
        None if address.get("sslsni") == "0" and not context.check_hostname else address.host or None
    )
    try:
        context.verify_mode = _load_authorities(context, address, root, home)
        _load_own_certificate(context, address, home)
    except (OSError, ssl.SSLError) as error:
        raise UsageError(f"a certificate or key of {address.display()} cannot be read: {error}") from error
    context.minimum_version = _tls_version(address.get("ssl_min_protocol_version"), ssl.TLSVersion.TLSv1_2)
    context.maximum_version = _tls_version(
        address.get("ssl_max_protocol_version"), ssl.TLSVersion.MAXIMUM_SUPPORTED
    )
    return context


def _load_authorities(
    context: ssl.SSLContext, address: ServerAddress, root: str | None, home: Path
) -> ssl.VerifyMode:
    """As libpq: wherever there is a root certificate, the server's is checked against it, whatever the mode."""
    revoked = Path(address.get("sslcrl") or home / "root.crl")
    if root == "system":
        context.load_default_certs()
    elif root or (home / "root.crt").is_file():
        context.load_verify_locations(cafile=root or home / "root.crt")
    elif address.sslmode in ("verify-ca", "verify-full"):
        raise FileNotFoundError(f"no root certificate in {home / 'root.crt'}")
    else:
        return ssl.CERT_NONE
    if revoked.is_file():
        context.load_verify_locations(cafile=revoked)
        context.verify_flags |= ssl.VERIFY_CRL_CHECK_CHAIN
    return ssl.CERT_REQUIRED


def _load_own_certificate(context: ssl.SSLContext, address: ServerAddress, home: Path) -> None:
    certificate = Path(address.get("sslcert") or home / "postgresql.crt")
    key = Path(address.get("sslkey") or home / "postgresql.key")
    if address.get("sslcertmode") == "disable" or not (address.get("sslcert") or certificate.is_file()):
        return
    context.load_cert_chain(certificate, key, password=address.get("sslpassword") or "")


def _tls_version(name: str | None, default: ssl.TLSVersion) -> ssl.TLSVersion:
    return ssl.TLSVersion[name.replace(".", "_")] if name else default
