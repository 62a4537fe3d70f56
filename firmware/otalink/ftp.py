"""The FTP client: what its sessions have, and the commands that no update needs (RFC 959)."""

from micropython import const

from otalink.ftp_listing import FtpListing

# Large pieces of what is done with leave room for the growing list.
_CHUNK = const(512)


class FtpClient(FtpListing):
    """A client of one FTP server; FtpSession says what its arguments are."""

    async def noop(self):
        """Asks the server for nothing; the session lives on."""
        await self._run(self._command, "NOOP")

    async def cwd(self, folder):
        """Makes `folder` the one that later paths are relative to, in later sessions too."""
        await self._run(self._command, "CWD " + folder)
        self.folder = folder if folder[:1] == "/" or self.folder is None else f"{self.folder}/{folder}"

    async def nlst(self):
        """The names in the current folder, as a list; folders' names too, which NLST cannot tell apart."""
        from otalink.ftp_facts import parse_nlst_line

        return await self._run(self._entries, "NLST", parse_nlst_line, _CHUNK)

    async def mlsd(self):
        """The current folder as a list of (name, type, size, modify); see ftp_facts.parse_mlsd_line.

        FtpError when the server lacks MLSD (code 500 to 504): `nlst` is what is left.
        """
        from otalink.ftp_facts import parse_mlsd_line

        return await self._run(self._entries, "MLSD", parse_mlsd_line, _CHUNK)

    async def store(self, path, source, buffer):
        """Sends what `source.readinto(buffer)` gives until it gives 0, as the file `path`. Returns its bytes."""
        from otalink.ftp_store import store

        return await self._run(store, self, path, source, buffer)
