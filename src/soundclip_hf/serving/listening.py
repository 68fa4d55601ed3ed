"""Takes the port of a server."""

import socket


def listen(host: str, port: int) -> socket.socket:
    """
    Take a port, before a model is loaded for it.

    Raises:
        OSError: If it is in use or may not be taken, or the host is not one of this machine.
    """
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    taken = socket.socket(family, kind, protocol)
    try:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(address)
        # Two sockets can be bound to one port as long as neither listens.
        taken.listen()
    except OSError:
        taken.close()
        raise
    return taken


__all__ = ["listen"]
