"""The part of a session that logs in: USER and PASS, who must wait, and what an account asks of its connections.

A password is checked outside of the event loop (logins.py). Until the answer is there nothing is read from the client,
and what had come already waits. The password is kept nowhere, and never logged.
"""

import time
from typing import Any

# Ahead of the others: it imports asyncore without the warning that Python 3.11 gives.
from pyftpdlib import ioloop  # noqa: F401
from pyftpdlib.utils import is_ssl_sock

from otalink_host.events import Events
from otalink_host.ftp_authorizer import Authorizer
from otalink_host.ftp_turns import TurnsMixin
from otalink_host.lockout import Lockout
from otalink_host.log_text import printable
from otalink_host.logins import Logins
from otalink_host.settings import Account, Address, plain_address


class LoginMixin(TurnsMixin):
    """Goes before any other handler of pyftpdlib's. The attributes without a value are each server's own."""

    authorizer: Authorizer
    events: Events
    logins: Logins
    lockout: Lockout

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        # A password is being checked.
        self._checking = False
        super().__init__(*arguments, **keywords)

    def may_go_on(self) -> bool:
        return not self._checking and super().may_go_on()

    def pre_process_command(self, line: str, cmd: str, arg: str) -> None:
        if self.authenticated:
            self.authorizer.take_over_changes()
            if not self.authorizer.is_current(self.username):
                self.events.warn(
                    "refused",
                    f"{self.username} at {self._client()} sent away: the account is gone or disabled",
                    **self.who(),
                    outcome="refused",
                    detail="the account is gone or disabled",
                )
                self.respond("421 This account is not served any more.")
                self.close_when_done()
                return
        super().pre_process_command(line, cmd, arg)

    def process_command(self, cmd: str, *arguments: Any, **keywords: Any) -> None:
        account = self.authorizer.account_if_any(self.username) if self.authenticated else None
        if account is not None and account.tls == "full":
            # RFC 4217 section 9: without PROT P data go in the clear.
            if cmd in ("PASV", "EPSV") and not self._is_data_protected():
                self.respond("522 This account needs TLS for data: PROT P comes first.")
                return
            if cmd == "PROT" and arguments[0].upper() != "P":
                self.respond("534 This account needs TLS for data.")
                return
        super().process_command(cmd, *arguments, **keywords)

    def ftp_USER(self, line: str) -> None:  # noqa: N802  # pyftpdlib finds a command's method by this name
        self.authorizer.take_over_changes()
        account: Account | None = self.authorizer.account_if_any(line)
        # Said here, before the password goes in the clear. That there is such an account is thereby told: less matters.
        if account is not None and account.tls is not None and not is_ssl_sock(self.socket):
            if self.authenticated:
                self.flush_account()
            self.username = ""
            self._tell_failure(line, "the account needs TLS")
            self.respond("530 This account needs TLS: AUTH TLS comes first.")
            return
        super().ftp_USER(line)

    def ftp_PASS(self, line: str) -> None:  # noqa: N802  # as above
        if self.authenticated or not self.username:
            super().ftp_PASS(line)
            return
        self.authorizer.take_over_changes()
        if not self._may_try():
            self._refuse_locked()
            return
        hash_, _ = self._login()
        self._checking = True

        def done(right: bool | None) -> None:
            self._checked(hash_, right)

        if not self.logins.check(self.username, hash_, line, self._may_try, done):
            self._checking = False
            self.events.warn(
                "refused",
                f"{self._client()} refused: too many logins wait to be checked",
                **self.who(),
                outcome="refused",
                detail="too many logins wait to be checked",
            )
            self.respond("421 Too many logins at once. Try again later.")
            self.close_when_done()
        elif self._checking:
            # Nothing is read until the answer is there.
            self.del_channel()

    def _checked(self, hash_: str, right: bool | None) -> None:
        """Goes on with what the check gave."""
        self._checking = False
        address = self._address()
        if right is not None:
            # The account may have changed meanwhile.
            now_hash, why = self._login()
            right = right and not why and now_hash == hash_
            if right:
                self.lockout.succeeded(self.username, address)
            else:
                self._count_failure(why or "no such account, or a wrong password")
        if self._closed:
            return
        if self._fileno not in self.ioloop.socket_map:
            self.add_channel()
        if right is None:
            self._refuse_locked()
        elif right:
            home = self.authorizer.get_home_dir(self.username)
            # pyftpdlib keeps the password with the session: nothing here needs it.
            self.handle_auth_success(home, "", self.authorizer.get_msg_login(self.username))
        else:
            self.username = ""
            self.attempted_logins += 1
            if self.attempted_logins >= self.max_login_attempts:
                self.respond("530 Authentication failed. Disconnecting.")
                self.close_when_done()
            else:
                self.respond("530 Authentication failed.")
        self.go_on()

    def on_login(self, username: str) -> None:
        self.events.told("login", f"{username} at {self._client()} logged in", **self.who(), tls=self.secured)

    def _login(self) -> tuple[str, str]:
        login: tuple[str, str] = self.authorizer.login(self.username, self._address(), is_ssl_sock(self.socket))
        return login

    def _may_try(self) -> bool:
        return bool(self.lockout.wait(self.username, self._address(), time.monotonic()) <= 0)

    def _count_failure(self, why: str) -> None:
        wait = self.lockout.failed(self.username, self._address(), time.monotonic())
        self._tell_failure(self.username, why)
        if wait > 0:
            text = f"must wait {round(wait)} s before the next login, after wrong ones"
            self.events.warn("lockout", f"{self._client()} {text}", address=self._client(), detail=text)

    def _tell_failure(self, username: str, why: str) -> None:
        self.events.warn(
            "login_failed",
            f"{printable(username)} at {self._client()} refused: {why}",
            account=username,
            address=self._client(),
            outcome="refused",
            detail=why,
        )

    def _refuse_locked(self) -> None:
        self.events.warn(
            "login_locked",
            f"{printable(self.username)} at {self._client()} refused: too many wrong logins",
            account=self.username,
            address=self._client(),
            outcome="refused",
        )
        # Nothing is wrong with this login: it was not looked at. So it is not 530, which says that the password is.
        self.respond("421 Too many wrong logins. Try again later.")
        self.close_when_done()

    def _is_data_protected(self) -> bool:
        return bool(getattr(self, "_prot", False))

    def _address(self) -> Address:
        return plain_address(self.remote_ip)
