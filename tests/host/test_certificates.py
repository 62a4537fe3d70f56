"""The CA and the server's certificate: what is made, what is renewed, and what is said of its end."""

import ipaddress
import os
import re
import ssl
import subprocess
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from otalink_host import certificates
from otalink_host.accounts import create_server_folder
from otalink_host.cli import main
from otalink_host.errors import UserError
from otalink_host.settings import Settings, Tls, load_settings
from otalink_host.tls_context import server_context

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command line in an empty folder: (exit status, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)

    def command(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        status = main(list(arguments))
        return (status, *capsys.readouterr())

    return command


def made(folder: Path, *names: str) -> Settings:
    create_server_folder(folder)
    certificates.create(load_settings(folder / "otalink.toml"), names or ("localhost",))
    return load_settings(folder / "otalink.toml")


def extension(certificate: x509.Certificate, kind: Any) -> Any:
    return certificate.extensions.get_extension_for_class(kind).value


# --- what is made


def test_init_makes_a_ca_and_a_certificate_for_this_machine_and_the_names_given(run: Run, tmp_path: Path) -> None:
    status, out, error = run("init", "--name", "Updates.Example.com", "--name", "203.0.113.7")
    assert (status, error) == (0, "")
    assert "Made tls/ca.der: what boards check it by.\n" in out
    tls = load_settings(tmp_path / "otalink.toml").tls
    assert tls == Tls("optional", *(tmp_path / "tls" / name for name in ("server.pem", "server.key", "ca.der")))
    assert tls.certificate is not None
    names = certificates.describe(certificates.load(tls.certificate)).names
    assert {"updates.example.com", "203.0.113.7", "localhost", "127.0.0.1", "::1"} <= set(names)
    server_context(tls)


def test_the_certificate_says_what_a_client_may_take_it_for(tmp_path: Path) -> None:
    tls = made(tmp_path, "updates.example.com", "192.0.2.1", "2001:db8::1").tls
    assert tls.certificate is not None
    assert tls.ca is not None
    root, leaf = certificates.load(tls.ca), certificates.load(tls.certificate)
    leaf.verify_directly_issued_by(root)
    for each in (root, leaf):
        key = each.public_key()
        assert isinstance(key, ec.EllipticCurvePublicKey)
        assert key.curve.name == "secp256r1"
        assert each.version is x509.Version.v3
    assert extension(root, x509.BasicConstraints) == x509.BasicConstraints(ca=True, path_length=0)
    assert extension(leaf, x509.BasicConstraints) == x509.BasicConstraints(ca=False, path_length=None)
    assert extension(root, x509.KeyUsage).key_cert_sign
    assert not extension(leaf, x509.KeyUsage).key_cert_sign
    assert list(extension(leaf, x509.ExtendedKeyUsage)) == [ExtendedKeyUsageOID.SERVER_AUTH]
    names = extension(leaf, x509.SubjectAlternativeName)
    assert names.get_values_for_type(x509.DNSName) == ["updates.example.com"]
    assert names.get_values_for_type(x509.IPAddress) == [
        ipaddress.ip_address("192.0.2.1"), ipaddress.ip_address("2001:db8::1"),
    ]  # fmt: skip
    now = datetime.now(timezone.utc)
    for each, days in ((root, 7300), (leaf, 730)):
        assert each.not_valid_before_utc < now - timedelta(hours=23)
        assert abs((each.not_valid_after_utc - now).days - days) <= 1
    assert root.serial_number != leaf.serial_number


def test_keys_are_for_their_owner_alone(tmp_path: Path) -> None:
    made(tmp_path)
    modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "tls").iterdir()}
    assert modes == {"ca.key": 0o600, "server.key": 0o600, "ca.der": 0o644, "ca.pem": 0o644, "server.pem": 0o644}


def test_openssl_and_python_take_them(tmp_path: Path) -> None:
    made(tmp_path, "localhost")
    tls = tmp_path / "tls"
    ssl.create_default_context(cafile=str(tls / "ca.pem"))
    ssl.create_default_context(cadata=(tls / "ca.der").read_bytes())
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(tls / "server.pem", tls / "server.key")
    done = subprocess.run(
        ["openssl", "verify", "-x509_strict", "-purpose", "sslserver", "-CAfile", tls / "ca.pem", tls / "server.pem"],
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, f"{tls / 'server.pem'}: OK\n")


@pytest.mark.parametrize(
    "name", ["a b", "", "http://x", "x:21", "-x", "x-", "a..b", "300.1.1.1", "ü.example", "x" * 64]
)
def test_a_name_that_is_none_is_a_wrong_command_line(run: Run, name: str) -> None:
    run("init", "--directory", "x")
    status, _, error = run("cert", "renew", "--config", "x/otalink.toml", "--name", name)
    assert status == 2
    assert "a host's name such as updates.example.com, or an IP address" in re.sub(r"[\s│]+", " ", error)


def test_a_server_of_an_older_version_gets_tls_by_cert_new(run: Run, tmp_path: Path) -> None:
    create_server_folder(tmp_path)
    assert load_settings(tmp_path / "otalink.toml").tls.mode == "off"
    status, _, error = run("cert", "renew")
    assert (status, error) == (
        1, "otalink: otalink.toml names no certificate: make one with `otalink cert new`\n",
    )  # fmt: skip
    assert run("cert", "new", "--name", "updates.example.com")[0] == 0
    assert load_settings(tmp_path / "otalink.toml").tls.mode == "optional"
    assert run("cert", "new")[1:] == (
        "", "otalink: otalink.toml names a certificate: `otalink cert renew` makes it anew\n",
    )  # fmt: skip


def test_no_file_that_is_there_is_overwritten(run: Run, tmp_path: Path) -> None:
    create_server_folder(tmp_path)
    (tmp_path / "tls").mkdir()
    (tmp_path / "tls" / "ca.key").write_text("mine")
    status, _, error = run("cert", "new")
    assert (status, error) == (
        1, "otalink: tls/ca.key is there already: move it away, or name it in [tls]\n",
    )  # fmt: skip
    assert [path.name for path in (tmp_path / "tls").iterdir()] == ["ca.key"]
    assert (tmp_path / "tls" / "ca.key").read_text() == "mine"


# --- what is renewed


def test_renewing_keeps_the_ca_and_the_names_and_makes_a_new_key(run: Run, tmp_path: Path) -> None:
    run("init", "--name", "updates.example.com")
    folder = tmp_path / "tls"
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    old = certificates.describe(certificates.load(folder / "server.pem"))
    status, out, error = run("cert", "renew")
    assert (status, error) == (0, "")
    assert f"Made tls/server.pem, for {', '.join(old.names)}: it ends on " in out
    after = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert {name for name in after if after[name] != before.get(name)} == {"server.pem", "server.key"}
    assert after.keys() == before.keys()
    certificates.load(folder / "server.pem").verify_directly_issued_by(certificates.load(folder / "ca.der"))
    assert (folder / "server.key").stat().st_mode & 0o777 == 0o600
    server_context(load_settings(tmp_path / "otalink.toml").tls)
    run("cert", "renew", "--name", "192.0.2.7")
    assert certificates.describe(certificates.load(folder / "server.pem")).names == ("192.0.2.7",)


def test_the_cas_key_may_be_elsewhere(run: Run, tmp_path: Path) -> None:
    run("init")
    (tmp_path / "stick").mkdir()
    (tmp_path / "tls" / "ca.key").rename(tmp_path / "stick" / "ca.key")
    status, _, error = run("cert", "renew")
    assert (status, error) == (
        1, "otalink: there is no tls/ca.key: bring the CA's key back, or name it with --ca-key\n",
    )  # fmt: skip
    assert run("cert", "renew", "--ca-key", "stick/ca.key")[0] == 0


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (lambda key: key.write_text("x"), "tls/ca.key holds no private key of otalink's CA: name the CA's own with"),
        (
            lambda key: key.write_bytes(key.with_name("server.key").read_bytes()),
            "tls/ca.key is not the key of tls/ca.der: name the CA's own with --ca-key",
        ),
        (lambda key: key.chmod(0o640), "tls/ca.key can be read by others: chmod 600 tls/ca.key"),
        (lambda key: key.with_name("ca.der").write_text("x"), "tls/ca.der holds no certificate in PEM or DER"),
        (lambda key: key.with_name("ca.der").unlink(), "there is no tls/ca.der: make it with `otalink cert new`"),
    ],
)
def test_without_the_right_key_nothing_is_renewed(run: Run, tmp_path: Path, broken: Any, said: str) -> None:
    run("init")
    before = (tmp_path / "tls" / "server.pem").read_bytes()
    broken(tmp_path / "tls" / "ca.key")
    status, _, error = run("cert", "renew")
    assert status == 1
    assert error.startswith(f"otalink: {said}")
    assert error.count("\n") == 1
    assert (tmp_path / "tls" / "server.pem").read_bytes() == before


def test_a_certificate_of_another_ca_is_not_renewed_here(run: Run, tmp_path: Path) -> None:
    run("init")
    config = tmp_path / "otalink.toml"
    config.write_text(config.read_text().replace('ca = "tls/ca.der"\n', ""))
    assert run("cert", "renew")[2].startswith("otalink: [tls] names no ca: only a certificate of otalink's own CA")
    assert run("cert", "show")[0] == 0


# --- what is said


def test_show_says_for_whom_and_until_when(run: Run) -> None:
    run("init", "--name", "updates.example.com")
    status, out, _ = run("cert", "show")
    assert status == 0
    assert re.search(
        r"^tls/server\.pem: CN=otalink server\n  for      updates\.example\.com, .*\n"
        r"  ends     \d{4}-\d\d-\d\d, in 729 days\n  SHA-256  [0-9a-f]{64}\n"
        r"tls/ca\.der: CN=otalink CA of updates\.example\.com\n  ends     \d{4}-\d\d-\d\d, in 7299 days\n",
        out,
    )


@pytest.mark.parametrize(
    ("days", "said"),
    [(-1, r"server\.pem ended on .*: boards refuse it; run `otalink cert renew`"),
     (12, r"server\.pem ends on \d{4}-\d\d-\d\d, in 11 days: run `otalink cert renew`"), (40, None)],
)  # fmt: skip
def test_a_server_warns_of_the_end_when_it_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, days: int, said: str | None
) -> None:
    from otalink_host.server import BackgroundServer

    monkeypatch.setattr(certificates, "SERVER_DAYS", days)
    settings = made(tmp_path)
    with BackgroundServer(settings) as server:
        deadline = datetime.now(timezone.utc) + timedelta(seconds=5)
        while not caplog.records and said is not None and datetime.now(timezone.utc) < deadline:
            pass
        ends = server.events.counters.total("certificate_expires")
    assert abs(ends - datetime.now(timezone.utc).timestamp() - days * 86400) < 100
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == (said is not None)
    assert said is None or re.search(said, lines[0])


@pytest.mark.parametrize("key", ["server.key", "ca.key"])
def test_a_private_key_in_a_folder_that_boards_read_is_refused(run: Run, tmp_path: Path, key: str) -> None:
    run("init")
    moved = {"server.key": "server.key", "ca.key": "ca.der"}[key]
    for name in {key, moved}:
        os.rename(tmp_path / "tls" / name, tmp_path / "releases" / name)
    config = tmp_path / "otalink.toml"
    config.write_text(config.read_text().replace(f"tls/{moved}", f"releases/{moved}"))
    status, _, error = run("serve", "--port", "0")
    assert (status, error) == (
        1, f"otalink: releases/{key} lies in releases, which boards read: give one of them another folder\n",
    )  # fmt: skip


def test_a_certificate_that_is_missing_is_said_before_the_server_starts(run: Run, tmp_path: Path) -> None:
    run("init")
    (tmp_path / "tls" / "server.pem").unlink()
    status, out, error = run("serve", "--port", "0")
    assert (status, out) == (1, "")
    assert error == "otalink: there is no tls/server.pem: make it with `otalink cert new`\n"
    with pytest.raises(UserError):
        server_context(load_settings(tmp_path / "otalink.toml").tls)
