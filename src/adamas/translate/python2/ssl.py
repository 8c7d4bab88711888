"""ssl: sockets that give and take str, and wrap_socket as a function."""

from __future__ import annotations

import ssl
from typing import Any

from adamas.translate.python2.file import File
from adamas.translate.python2.module import stand_in
from adamas.translate.python2.text import raw, text


class SSLSocket(ssl.SSLSocket):
    """A socket with TLS."""

    def recv(self, size: int = 1024, flags: int = 0) -> Any:
        return text(super().recv(size, flags))

    def read(self, size: int = 1024, buffer: Any = None) -> Any:
        return text(super().read(size, buffer) if buffer is not None else super().read(size))

    def send(self, data: Any, flags: int = 0) -> int:
        return super().send(raw(data), flags)

    def write(self, data: Any) -> int:
        return super().write(raw(data))

    def sendall(self, data: Any, flags: int = 0) -> None:
        super().sendall(raw(data), flags)

    def makefile(self, mode: str = "r", bufsize: int = -1) -> Any:  # type: ignore[override]
        return File.of(super().makefile(mode.replace("b", "") + "b"), flush=bufsize in (0, 1) and mode[0] != "r")  # type: ignore[call-overload]


def wrap_socket(
    sock: Any,
    keyfile: Any = None,
    certfile: Any = None,
    server_side: bool = False,
    cert_reqs: int = ssl.CERT_NONE,
    ssl_version: Any = None,
    ca_certs: Any = None,
    do_handshake_on_connect: bool = True,
    suppress_ragged_eofs: bool = True,
    ciphers: Any = None,
) -> Any:
    """TLS on a socket; without `cert_reqs` nobody is verified, as it was."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if server_side else ssl.PROTOCOL_TLS_CLIENT)
    context.sslsocket_class = SSLSocket
    context.check_hostname = False
    context.verify_mode = ssl.VerifyMode(cert_reqs)
    if ca_certs:
        context.load_verify_locations(ca_certs)
    if certfile:
        context.load_cert_chain(certfile, keyfile)
    if ciphers:
        context.set_ciphers(ciphers)
    return context.wrap_socket(sock, server_side, do_handshake_on_connect, suppress_ragged_eofs)


stand_in(__name__, ssl, "wrap_socket")
