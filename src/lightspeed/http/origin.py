"""Where a credential may go: origins (RFC 6454) and which of them nobody can listen in on."""

import ipaddress
from urllib.parse import urlsplit

__all__ = ["is_secure", "origin_and_path"]

_DEFAULT_PORTS = {"http": 80, "https": 443}


def origin_and_path(url: str) -> tuple[str, str]:
    """`https://api.example`, `/v1/search`: default port and user left out, host in lower case.

    Raises ValueError for what is not an absolute HTTP URL.
    """
    parts = urlsplit(url)
    scheme, host, port = parts.scheme.lower(), parts.hostname, parts.port
    if scheme not in _DEFAULT_PORTS or not host:
        raise ValueError(f"{scheme or 'no scheme'}: not an absolute HTTP URL")
    if not host.isascii():
        host = host.encode("idna").decode("ascii")
    if ":" in host:
        host = f"[{host}]"
    suffix = "" if port is None or port == _DEFAULT_PORTS[scheme] else f":{port}"
    return f"{scheme}://{host}{suffix}", parts.path or "/"


def is_secure(origin: str) -> bool:
    """TLS, or loopback, where no other machine listens."""
    parts = urlsplit(origin)
    host = parts.hostname or ""
    if parts.scheme == "https" or host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
