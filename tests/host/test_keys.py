"""Release keys: how they are kept, what boards get of them, and that boards verify what they sign."""

import hashlib
import json
import os
import stat
from base64 import b64decode
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from otalink.config import configure
from otalink.signature import decode_key, key_id, verify
from otalink_host.cli import main
from otalink_host.cli_options import PASSPHRASE_VARIABLE
from otalink_host.errors import UserError
from otalink_host.keys import Key, create, for_boards, load_all, load_public, load_signer
from otalink_host.private import check_apart

Run = Callable[..., tuple[int, str, str]]


def never(path: Path) -> bytes:
    raise AssertionError(f"asked for the passphrase of {path}")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Key]:
    """A keys folder with one key, `release`; tests only read it."""
    folder = tmp_path_factory.mktemp("server") / "keys"
    return folder, create(folder, "release")


@pytest.fixture(scope="module")
def protected(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A keys folder with one key, `vault`, whose passphrase is `open sesame`."""
    folder = tmp_path_factory.mktemp("server") / "keys"
    create(folder, "vault", b"open sesame")
    return folder


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command line in an empty folder: (exit status, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(PASSPHRASE_VARIABLE, raising=False)

    def command(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        status = main(list(arguments))
        output = capsys.readouterr()
        return status, output.out, output.err

    return command


def write_key(path: Path, private: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> Path:
    path.write_bytes(
        private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    path.chmod(0o600)
    return path


def test_a_key_is_rsa_with_3072_bits_in_pkcs8(made: tuple[Path, Key]) -> None:
    folder, key = made
    private = serialization.load_pem_private_key((folder / "release.pem").read_bytes(), None)
    assert isinstance(private, rsa.RSAPrivateKey)
    numbers = private.public_key().public_numbers()
    assert (private.key_size, numbers.e) == (3072, 65537)
    assert key.modulus == numbers.n.to_bytes(384, "big")
    assert key.id == key_id(key.modulus) == hashlib.sha256(key.modulus).hexdigest()[:16]


@pytest.mark.skipif(os.name != "posix", reason="Windows has no such bits")
def test_only_its_owner_can_read_a_private_key(made: tuple[Path, Key]) -> None:
    folder, _ = made
    assert stat.S_IMODE((folder / "release.pem").stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


@pytest.mark.skipif(os.name != "posix", reason="Windows has no such bits")
def test_a_private_key_is_never_readable_for_a_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[tuple[str, int, int]] = []
    real = os.open

    def watched(path: str | Path, flags: int, mode: int = 0o777) -> int:
        opened.append((Path(path).name, flags, mode))
        return real(path, flags, mode)

    monkeypatch.setattr(os, "open", watched)
    before = os.umask(0)
    try:
        create(tmp_path, "release")
    finally:
        os.umask(before)
    name, flags, mode = opened[0]
    assert (name, mode) == ("release.pem", 0o600)
    assert flags & os.O_EXCL
    assert stat.S_IMODE((tmp_path / "release.pem").stat().st_mode) == 0o600


@pytest.mark.parametrize("name", ["release.pem", "release.pub"])
def test_a_key_is_never_overwritten(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("precious")
    with pytest.raises(UserError, match="is there already"):
        create(tmp_path, "release")
    assert (tmp_path / name).read_text() == "precious"
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_link_in_the_place_of_a_key_is_not_followed(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.mkdir()
    (keys / "release.pem").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UserError, match="is there already"):
        create(keys, "release")
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize("name", ["", "../release", "a/b", ".hidden", "-x", "a.pem", "x" * 33])
def test_a_name_that_is_no_file_name_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match="letters, digits"):
        create(tmp_path, name)
    assert list(tmp_path.iterdir()) == []


def test_what_a_key_signs_verifies_on_a_board(made: tuple[Path, Key], on_board: Callable[..., object]) -> None:
    folder, key = made
    signer = load_signer(folder, "release", never)
    signature = signer.sign(b"what the board is to run")
    digest = hashlib.sha256(b"what the board is to run").digest()
    assert verify(key.modulus, digest, signature)
    assert not verify(key.modulus, hashlib.sha256(b"other").digest(), signature)
    on_board(
        "from otalink.signature import decode_key, verify\n"
        f"modulus = decode_key({key.id!r}, {for_boards([key])[key.id]!r})\n"
        f"assert verify(modulus, {digest!r}, {signature!r})\n"
        f"assert not verify(modulus, {digest[::-1]!r}, {signature!r})\n",
        heap="128k",
    )


def test_a_private_key_that_others_can_read_is_refused(made: tuple[Path, Key], tmp_path: Path) -> None:
    loose = tmp_path / "loose.pem"
    loose.write_bytes((made[0] / "release.pem").read_bytes())
    loose.chmod(0o640)
    with pytest.raises(UserError, match="chmod 600"):
        load_signer(tmp_path, "loose", never)


def test_a_passphrase_protects_the_private_key_and_only_that(protected: Path) -> None:
    assert b"ENCRYPTED" in (protected / "vault.pem").read_bytes()
    assert load_signer(protected, "vault", lambda path: b"open sesame").key.id == load_all(protected)[0].id
    assert load_public(protected, "vault").encrypted
    assert load_public(protected, str(protected / "vault.pem")).id == load_all(protected)[0].id
    with pytest.raises(UserError, match="passphrase is wrong"):
        load_signer(protected, "vault", lambda path: b"open barley")


def test_a_key_is_found_by_name_or_file(made: tuple[Path, Key], tmp_path: Path) -> None:
    folder, key = made
    assert load_public(folder, "release").id == key.id
    assert load_public(tmp_path, str(folder / "release.pub")).id == key.id
    assert load_public(tmp_path, str(folder / "release.pem")).id == key.id
    assert load_signer(tmp_path, str(folder / "release.pem"), never).key.id == key.id
    copy = tmp_path / "somewhere.txt"
    copy.write_bytes((folder / "release.pub").read_bytes())
    assert load_public(folder, str(copy)).id == key.id
    for load in (load_public, lambda *found: load_signer(*found, never)):
        with pytest.raises(UserError, match="there is no key other"):
            load(folder, "other")


def test_a_public_key_signs_nothing(made: tuple[Path, Key], tmp_path: Path) -> None:
    (tmp_path / "release.pub").write_bytes((made[0] / "release.pub").read_bytes())
    (tmp_path / "release.pub").chmod(0o600)
    with pytest.raises(UserError, match="holds no private key"):
        load_signer(tmp_path, str(tmp_path / "release.pub"), never)
    assert load_all(tmp_path)[0].private is None


def test_other_keys_are_refused(tmp_path: Path) -> None:
    weak = write_key(tmp_path / "weak.pem", rsa.generate_private_key(public_exponent=65537, key_size=1024))
    odd = write_key(tmp_path / "odd.pem", rsa.generate_private_key(public_exponent=3, key_size=2048))
    curve = write_key(tmp_path / "curve.pem", ec.generate_private_key(ec.SECP256R1()))
    for path, reason in ((weak, "2048 to 4096"), (odd, "exponent"), (curve, "no RSA key")):
        for load in (load_public, lambda *found: load_signer(*found, never)):
            with pytest.raises(UserError, match=reason):
                load(tmp_path, str(path))
    (tmp_path / "text.pem").write_text("hello")
    (tmp_path / "text.pem").chmod(0o600)
    with pytest.raises(UserError, match="no private key"):
        load_signer(tmp_path, "text", never)


def test_keys_stay_out_of_the_folders_that_are_served(tmp_path: Path) -> None:
    served = tmp_path / "releases"
    served.mkdir()
    (tmp_path / "link").symlink_to(served)
    for folder in (served, served / "keys", served / "a" / "b", tmp_path / "link" / "keys"):
        with pytest.raises(UserError, match="which boards read"):
            check_apart([folder], [served])
    check_apart([tmp_path / "keys", tmp_path / "releases-keys"], [served])


def test_boards_get_the_modulus_under_its_id(made: tuple[Path, Key]) -> None:
    _, key = made
    ((identity, text),) = for_boards([key]).items()
    assert b64decode(text) == decode_key(identity, text) == key.modulus


def test_a_board_takes_what_is_exported(made: tuple[Path, Key], run: Run) -> None:
    folder, key = made
    status, printed, _ = run("keys", "export", "--keys", str(folder))
    assert status == 0
    values = {"name": "thermostat", "host": "localhost", **json.loads(printed)}
    assert configure(values).keys == for_boards([key])


# The commands


def test_new_list_and_export(run: Run, tmp_path: Path) -> None:
    assert "no key in keys" in run("keys", "export")[2]
    assert "No key in keys" in run("keys", "list")[1]
    status, printed, _ = run("keys", "new", "--name", "fleet")
    assert status == 0
    assert "keys/fleet.pem" in printed
    assert (tmp_path / "keys" / "fleet.pem").is_file()
    (key,) = load_all(tmp_path / "keys")
    assert key.id in printed
    status, printed, _ = run("keys", "list")
    assert status == 0
    assert printed.splitlines()[1].split() == ["fleet", key.id, "3072", "here"]
    status, printed, _ = run("keys", "export")
    assert status == 0
    assert json.loads(printed) == {"keys": for_boards([key])}
    assert run("keys", "export", "fleet")[1] == printed
    status, printed, error = run("keys", "new", "--name", "fleet")
    assert status == 1
    assert error == "otalink: keys/fleet.pem is there already: choose another name with --name\n"


def test_new_refuses_a_keys_folder_that_is_served(run: Run) -> None:
    run("init")
    status, _, error = run("keys", "new", "--keys", "releases/keys")
    assert status == 1
    assert "lies in releases, which boards read" in error
    assert run("keys", "new", "--keys", "elsewhere")[0] == 0


def test_a_passphrase_comes_from_the_environment_or_a_descriptor(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    status, _, error = run("keys", "new", "--passphrase")
    assert status == 1
    assert f"--passphrase-fd or in {PASSPHRASE_VARIABLE}" in error
    read, write = os.pipe()
    os.write(write, b"open sesame\n")
    os.close(write)
    assert run("keys", "new", "--passphrase-fd", str(read))[0] == 0
    assert "with a passphrase" in run("keys", "list")[1]
    monkeypatch.setenv(PASSPHRASE_VARIABLE, "open sesame")
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "a_1.0.py").write_text("print(1)\n")
    assert run("release", "build", "app")[0] == 0
    monkeypatch.setenv(PASSPHRASE_VARIABLE, "wrong")
    status, _, error = run("release", "build", "app")
    assert status == 1
    assert "the passphrase is wrong" in error
    assert "with a passphrase" in run("keys", "new", "--name", "second")[1]
    monkeypatch.setenv(PASSPHRASE_VARIABLE, "")
    assert "is empty" in run("release", "build", "app", "--key", "release")[2]
    assert "descriptor 987" in run("release", "build", "app", "--key", "release", "--passphrase-fd", "987")[2]
