"""TLS for outputs: certificates are verified, the peer's name too, version 1.2 at least.

Source: https://docs.python.org/3/library/ssl.html#security-considerations.
"""

from __future__ import annotations

import os

from adamas import Output, log, option

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    import ssl


class Tls(Output):
    """An output whose connection may be encrypted."""

    ca_file: str = option("", "The authorities that vouch for the server, as PEM (default: this machine's)")
    cert_file: str = option("", "The certificate that this agent shows, as PEM")
    key_file: str = option("", "The key of that certificate, where it is in a file of its own")
    server_name: str = option("", "The name that the server's certificate must have (default: the address's host)")
    verify: bool = option(True, "Check the server's certificate and name")

    def check(self) -> list[str]:
        """The files must be there, and a key has a certificate."""
        wrong = super().check()
        for name in ("ca_file", "cert_file", "key_file"):
            path = os.path.expanduser(getattr(self, name))
            if path and not os.path.isfile(path):
                wrong.append(f"{name}: there is no file {path}")
        if self.key_file and not self.cert_file:
            wrong.append("key_file: a key needs its certificate, cert_file")
        return wrong

    def context(self) -> ssl.SSLContext:
        """What connections are wrapped with, made anew: certificates are replaced on disk. OSError where they cannot be read."""
        import ssl

        made = ssl.create_default_context(cafile=os.path.expanduser(self.ca_file) or None)
        made.minimum_version = ssl.TLSVersion.TLSv1_2
        if not self.verify:
            log.warning(self.instance, "does not check whom it talks to: verify = false")
            made.check_hostname = False
            made.verify_mode = ssl.CERT_NONE
        if self.cert_file:
            made.load_cert_chain(os.path.expanduser(self.cert_file), os.path.expanduser(self.key_file) or None)
        return made

    def encrypted(self, sock: socket.socket, host: str) -> socket.socket:
        """The connection, encrypted; the peer is `server_name`, or else the host that was connected to."""
        import ssl

        try:
            return self.context().wrap_socket(sock, server_hostname=self.server_name or host)
        except ssl.SSLCertVerificationError as error:
            raise ConnectionError(f"the server's certificate is not accepted: {error.verify_message}") from None
