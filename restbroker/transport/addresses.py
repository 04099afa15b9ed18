"""Which IP addresses are public, for targets that must not lead into the network that restbroker runs in.

`transport.dial` calls it before it connects. Always holds: an address that carries an IPv4 address (mapped, NAT64,
6to4) is as public as that one; an address that is not known to be public is not.
"""

from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

# IANA's registry of special-purpose addresses, with multicast and what is reserved.
_SPECIAL_4: Final = (
    "0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 192.0.0.0/24 192.0.2.0/24"
    " 192.88.99.0/24 192.168.0.0/16 198.18.0.0/15 198.51.100.0/24 203.0.113.0/24 224.0.0.0/3"
)
# Azure's own services for a machine, though the registry has it as public; other clouds' are in 169.254.0.0/16.
_AZURE: Final = "168.63.129.16/32"
_NOT_PUBLIC_4: Final = tuple(map(ip_network, (*_SPECIAL_4.split(), _AZURE)))
# All that was ever given out is in here; what else there is of IPv6 is for one link, one site, or several receivers.
_PUBLIC_6: Final = IPv6Network("2000::/3")
_NOT_PUBLIC_6: Final = tuple(map(ip_network, ("2001::/23", "2001:db8::/32", "3fff::/20")))
_NAT64: Final = IPv6Network("64:ff9b::/96")
_COMPATIBLE: Final = IPv6Network("::/96")


def is_public(address: str) -> bool:
    """Tell whether this IP address, as text, can be reached from everywhere; False for a text that is no address."""
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(found, IPv6Address):
        carried = _embedded_address(found)
        if carried is None:
            return found in _PUBLIC_6 and not any(found in network for network in _NOT_PUBLIC_6)
        found = carried
    return not any(found in network for network in _NOT_PUBLIC_4)


def _embedded_address(address: IPv6Address) -> IPv4Address | None:
    if address in _NAT64 or address in _COMPATIBLE:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address.ipv4_mapped or address.sixtofour
