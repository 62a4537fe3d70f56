"""What a session asks about accounts: who may log in, and who may do what."""

import logging
from collections.abc import Callable, Mapping

from otalink_host import passwords
from otalink_host.ftp_filesystem import REPORT_PATH
from otalink_host.settings import Account, Address

logger = logging.getLogger("otalink.server")

# Gives the accounts and the hashes of their passwords when the files that hold them have changed, else None. Raises
# nothing.
Reread = Callable[[], tuple[tuple[Account, ...], Mapping[str, str]] | None]

# By role, in pyftpdlib's letters: e changes folders, l lists, r reads; w stores, d deletes, f renames, m makes folders.
PERMISSIONS = {"board": "elr", "publisher": "elrwdfm"}


class Authorizer:
    """The accounts and the hashes of their passwords; see server.FtpServer."""

    def __init__(self, accounts: tuple[Account, ...], hashes: Mapping[str, str], reread: Reread | None = None) -> None:
        self._accounts = {account.name: account for account in accounts}
        self._hashes = dict(hashes)
        self._reread = reread
        self._is_new_turn = True

    def begin_turn(self) -> None:
        """The loop begins a turn: what has changed since the one before is to be seen in it."""
        self._is_new_turn = True

    def take_over_changes(self) -> None:
        """Reads the accounts anew if their files have changed; it looks once in a turn, in which many may ask."""
        found = self._reread() if self._reread is not None and self._is_new_turn else None
        self._is_new_turn = False
        if found is not None:
            accounts, hashes = found
            self._accounts = {account.name: account for account in accounts}
            self._hashes = dict(hashes)
            logger.info("the accounts have changed: %d are known now", len(accounts))

    def account(self, username: str) -> Account:
        return self._accounts[username]

    def account_if_any(self, username: str) -> Account | None:
        return self._accounts.get(username)

    def login(self, username: str, address: Address, secure: bool) -> tuple[str, str]:
        """(the hash that a password must be of, why none is right or "") for a login of `username` from `address`.

        `secure` says that the control connection has TLS. Whoever may not log in has a hash, too: that of no password,
        so that the answer takes as long.
        """
        account = self._accounts.get(username)
        if account is None or username not in self._hashes:
            why = "no such account, or a wrong password"
        elif account.disabled:
            why = "the account is disabled"
        elif not account.may_come_from(address):
            why = "the account may not log in from there"
        elif account.tls is not None and not secure:
            why = "the account needs TLS"
        else:
            return self._hashes[username], ""
        return passwords.dummy_hash(), why

    def is_current(self, username: str) -> bool:
        """False when the account was removed or disabled since it logged in."""
        account = self._accounts.get(username)
        return account is not None and not account.disabled

    # What follows pyftpdlib asks.

    def get_home_dir(self, username: str) -> str:
        return str(self._accounts[username].folder)

    def has_perm(self, username: str, perm: str, path: str | None = None) -> bool:
        # A board writes its report, and nothing else.
        is_report = perm == "w" and path == REPORT_PATH
        return perm in self.get_perms(username) or (is_report and self._accounts[username].role == "board")

    def get_perms(self, username: str) -> str:
        return PERMISSIONS[self._accounts[username].role]

    def get_msg_login(self, username: str) -> str:
        return "Login successful."

    def get_msg_quit(self, username: str) -> str:
        return "Goodbye."

    def impersonate_user(self, username: str, password: str) -> None:
        pass

    def terminate_impersonation(self, username: str) -> None:
        pass
