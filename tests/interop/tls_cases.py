"""How each server can be set to speak TLS, and what a client gets there that cannot resume TLS sessions, as a board.

docs/interop.md has the same as a table; test_interop_docs.py compares.
"""

from dataclasses import dataclass

WORKS = "works"


@dataclass(frozen=True)
class Case:
    """`private` and `reuse` are those of servers.Tls, `setting` the lines of the configuration that make them so.

    `prot_p` and `prot_c` are what becomes of a transfer with encrypted data, and with data in the clear: WORKS, or the
    code of the server's reply.
    """

    server: str
    setting: str
    private: bool
    reuse: bool
    prot_p: str
    prot_c: str

    def __str__(self) -> str:
        return f"{self.server} {self.setting}"


CASES = tuple(
    Case(*row)
    for row in (
        # Server, what is set, private, reuse, PROT P, PROT C
        ("vsftpd", "as it comes", False, True, "522", WORKS),
        ("vsftpd", "require_ssl_reuse=NO", False, False, WORKS, WORKS),
        ("vsftpd", "require_ssl_reuse=NO, force_anon_data_ssl=YES", True, False, WORKS, "522"),
        ("ProFTPD", "TLSRequired ctrl", False, True, "425", WORKS),
        ("ProFTPD", "TLSRequired ctrl, TLSOptions NoSessionReuseRequired", False, False, WORKS, WORKS),
        ("ProFTPD", "TLSRequired on, TLSOptions NoSessionReuseRequired", True, False, WORKS, "534"),
        ("Pure-FTPd", "TLS 2", False, False, WORKS, WORKS),
        ("Pure-FTPd", "TLS 3", True, False, WORKS, "521"),
    )
)
