"""docs/interop.md shows what the tests here run: the same configurations, the same outcomes."""

import re
import shutil
import subprocess
from pathlib import Path

import servers
from test_interop_clients import SECURITY
from tls_cases import CASES, WORKS

PAGE = (Path(__file__).parents[2] / "docs" / "interop.md").read_text(encoding="utf-8")
VALUES = {
    "port": 21,
    "passive_first": 30000,
    "passive_last": 30099,
    "folder": "/srv/releases",
    "pam_service": "otalink",
    "certificate": "/etc/ssl/private/ftp.pem",
}
BLOCKS = {
    "vsftpd": (servers.VSFTPD, servers.VSFTPD_TLS, servers.VSFTPD_NO_REUSE + servers.VSFTPD_PRIVATE),
    "ProFTPD": (
        servers.PROFTPD + servers.PROFTPD_READS,
        servers.PROFTPD_TLS + servers.PROFTPD_CLEAR,
        servers.PROFTPD_NO_REUSE,
    ),
    "Pure-FTPd": (servers.PURE_FTPD, servers.PURE_FTPD_TLS + servers.PURE_FTPD_CLEAR),
}
USERS = {"ProFTPD": "/etc/proftpd/users", "Pure-FTPd": "/etc/pure-ftpd/pureftpd.pdb"}
PAM_FILE = Path("/etc/pam.d", servers.PAM_SERVICE)


def test_the_configurations_are_those_that_the_servers_here_have():
    shown = {}
    for section in re.split(r"^### ", PAGE.split("\n## `otalink serve`")[0], flags=re.MULTILINE)[1:]:
        name = section.splitlines()[0]
        shown[name] = re.findall(r"^```\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
    expected = {
        name: [block.format(**VALUES, users=USERS.get(name)) for block in blocks] for name, blocks in BLOCKS.items()
    }
    pam = PAM_FILE.read_text().replace(str(servers.PLACE / "passwords"), "/etc/vsftpd.passwd")
    expected["vsftpd"].insert(1, pam)
    assert shown == expected


def test_the_clients_are_told_what_those_here_are():
    tls = SECURITY["tls"]
    for text in (" ".join(tls.curl), *tls.lftp):
        assert f"`{text.format(ca='ca.pem')}`" in PAGE


def test_the_table_of_tls_is_what_the_servers_do():
    rows = re.findall(r"^\| (\S+) \| (.+?) \| (works|refused: \d+) \| (works|refused: \d+) \|$", PAGE, re.MULTILINE)
    found = {(name, setting.replace("`", "")): outcomes for name, setting, *outcomes in rows}
    assert found == {
        (case.server, case.setting): [o if o == WORKS else f"refused: {o}" for o in (case.prot_p, case.prot_c)]
        for case in CASES
    }


def command(program, folder):
    """The command on the page that begins with `program`, with all of its files in `folder`."""
    found = re.search(rf"`({program} .+?)`", PAGE, re.DOTALL)[1]
    found = re.sub(r"/(srv|etc/proftpd)\b", str(folder), found).split()
    return [shutil.which(program, path=f"{servers.PLACE}/usr/sbin:{servers.PLACE}/usr/bin"), *found[1:]]


def test_the_commands_make_the_users(tmp_path):
    (tmp_path / "releases").mkdir()
    for call in (
        [*command("ftpasswd", tmp_path), "--stdin"],
        [*command("pure-pw", tmp_path), "-f", tmp_path / "pure", "-F", tmp_path / "pdb"],
    ):
        subprocess.run(call, input="a password\n" * 2, text=True, check=True, capture_output=True)
    proftpd, pure_ftpd = ((tmp_path / name).read_text().split(":") for name in ("users", "pure"))
    assert [proftpd[0], *proftpd[2:]] == ["board", "65534", "65534", "", f"{tmp_path}/releases", "/bin/false\n"]
    assert [pure_ftpd[0], *pure_ftpd[2:6]] == ["board", "65534", "65534", "", f"{tmp_path}/releases/./"]
    assert (tmp_path / "pdb").exists()
