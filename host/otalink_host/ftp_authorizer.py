"""What pyftpdlib asks about accounts."""

import logging
from collections.abc import Callable, Mapping
from typing import Any

from pyftpdlib.exceptions import AuthenticationFailed

from otalink_host.accounts import password_matches
from otalink_host.ftp_filesystem import REPORT_PATH
from otalink_host.settings import Account

logger = logging.getLogger("otalink.server")

# Gives the accounts and their passwords when the files that hold them have changed, else None. Raises nothing.
Reread = Callable[[], tuple[tuple[Account, ...], Mapping[str, str]] | None]


class Authorizer:
    """The accounts and their passwords; see server.FtpServer."""

    def __init__(
        self, accounts: tuple[Account, ...], passwords: Mapping[str, str], reread: Reread | None = None
    ) -> None:
        self._accounts = {account.name: account for account in accounts}
        self._passwords = {account.name: passwords[account.name] for account in accounts if account.name in passwords}
        self._reread = reread

    def account(self, username: str) -> Account:
        return self._accounts[username]

    def validate_authentication(self, username: str, password: str, handler: Any) -> None:
        self._take_over_changes()
        if not password_matches(password, self._passwords.get(username)):
            raise AuthenticationFailed("Authentication failed.")

    def _take_over_changes(self) -> None:
        found = self._reread() if self._reread is not None else None
        if found is None:
            return
        accounts, passwords = found
        # Who is logged in keeps the account that is not there any more; nobody logs in with it.
        self._accounts |= {account.name: account for account in accounts}
        self._passwords = dict(passwords)
        logger.info("the accounts have changed: %d are known now", len(accounts))

    def get_home_dir(self, username: str) -> str:
        return str(self._accounts[username].folder)

    def has_perm(self, username: str, perm: str, path: str | None = None) -> bool:
        # A board writes its report, and nothing else.
        is_report = perm == "w" and path == REPORT_PATH
        return perm in self.get_perms(username) or (is_report and self._accounts[username].role == "board")

    def get_perms(self, username: str) -> str:
        # What may be done with it, ftp_upload.py and upload_rules.py say.
        return "elr" if self._accounts[username].role == "board" else "elrdfmw"

    def get_msg_login(self, username: str) -> str:
        return "Login successful."

    def get_msg_quit(self, username: str) -> str:
        return "Goodbye."

    def impersonate_user(self, username: str, password: str) -> None:
        pass

    def terminate_impersonation(self, username: str) -> None:
        pass
