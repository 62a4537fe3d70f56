"""How the name of a host is looked up."""

import socket


def resolve(host, port):
    """The addresses that the name `host` has, as a list of texts. Raises OSError when it cannot be looked up.

    Blocks: MicroPython has no other name look-up. An address needs none.
    """
    addresses = []
    for entry in socket.getaddrinfo(host, port, 0, socket.SOCK_STREAM):
        # A tuple on boards, a packed sockaddr on the Unix port.
        address = entry[-1]
        if isinstance(address, tuple):
            address = address[0]
        else:
            family, packed = socket.sockaddr(address)[:2]
            address = socket.inet_ntop(family, packed)
        if address not in addresses:
            addresses.append(address)
    return addresses
