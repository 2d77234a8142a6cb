"""The proxy that the environment has for a host: HTTPS_PROXY, HTTP_PROXY, ALL_PROXY, NO_PROXY.

NO_PROXY takes names with all that is below them, addresses, and networks, as Go does. What is on loopback has no proxy.
"""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from urllib.request import getproxies_environment, proxy_bypass_environment  # type: ignore[attr-defined]  # typeshed

from minirun.registry.address import is_loopback


def proxy_of(scheme: str, host: str, port: int) -> str:
    """The URL of the proxy that the environment has for *host*; empty: none. Loopback has none, as in Go."""
    proxies = getproxies_environment()
    proxy = proxies.get(scheme) or proxies.get("all") or ""
    if not proxy or is_loopback(host) or proxy_bypass_environment(f"{host}:{port}", proxies):
        return ""
    try:
        number = ip_address(host)
        for entry in proxies.get("no", "").split(","):
            if "/" in entry and number in ip_network(entry.strip(), strict=False):
                return ""
    except ValueError:
        pass  # no address, or no network
    return proxy if "://" in proxy else f"http://{proxy}"
