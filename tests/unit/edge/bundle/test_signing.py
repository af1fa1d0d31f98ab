"""Signed bundles: what minisign signs is taken here, what is signed here is taken by minisign."""

from __future__ import annotations

import base64
import shutil
import stat
import subprocess

import pytest

from edge.bundle.install import install
from edge.bundle.manifest import MANIFEST_NAME, SIGNATURE_NAME
from edge.bundle.minisign import public_key, secret_key, signature
from edge.bundle.opening import open_bundle
from edge.bundle.signing import check_trusted, make_key, sign_bundle, signer_of
from edge.bundle.store import bundle_path
from edge.config.edge import config_of
from edge.core.errors import ConfigError, ModelError, OutputError, SignatureError

MINISIGN = shutil.which("minisign")
needs_minisign = pytest.mark.skipif(not MINISIGN, reason="no minisign here: `apt-get install minisign`")


@pytest.fixture
def key(tmp_path):
    file = tmp_path / "keys" / "mill.key"
    make_key(file)
    return file


def text_of(key):
    return key.with_name(f"{key.name}.pub").read_text().splitlines()[1]


def checked(bundle, *keys, revoked=()):
    return check_trusted(
        open_bundle(bundle), [text_of(key) for key in keys], [text_of(key) for key in revoked]
    )


def test_a_key_is_for_its_owner_only_and_made_once(key):
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    secret, public = secret_key(key.read_text()), public_key(text_of(key))
    assert secret.public == public
    assert secret.file_text == key.read_text()
    for taken in (key, key.with_name("mill.key.pub")):
        with pytest.raises(OutputError, match=r"exists\. Name another file"):
            make_key(taken if taken == key else key)


def test_a_bundle_that_is_signed_by_a_key_of_the_device(bundle, key, tmp_path):
    other = tmp_path / "other.key"
    make_key(other)
    assert checked(bundle) is None  # nothing is asked for
    assert sign_bundle(bundle, key).text == text_of(key)
    assert checked(bundle, other, key).text == text_of(key)
    assert signer_of(bundle) == public_key(text_of(key)).name
    sign_bundle(bundle, other)  # signed again
    assert checked(bundle, other).text == text_of(other)


def test_a_signing_that_was_killed_is_made_up_for_by_signing_again(bundle, key):
    (bundle / f".{SIGNATURE_NAME}-q3rcajm9").write_text("half a signa")
    sign_bundle(bundle, key)
    assert checked(bundle, key).text == text_of(key)


def test_what_is_refused(bundle, key, tmp_path):
    other = tmp_path / "other.key"
    make_key(other)
    with pytest.raises(
        SignatureError, match=r"is not signed, and \[trust\] asks .*Sign it: `loomsight bundle sign"
    ):
        checked(bundle, key)
    sign_bundle(bundle, key)
    with pytest.raises(
        SignatureError, match=r"signed by the key [0-9A-F]{16}, which this device does not trust"
    ):
        checked(bundle, other)
    with pytest.raises(
        SignatureError, match=r"signed by the key [0-9A-F]{16}, which is revoked\. Use a bundle"
    ):
        checked(bundle, key, other, revoked=[key])
    with pytest.raises(SignatureError, match="bare ONNX file, which cannot be signed"):
        check_trusted(open_bundle(bundle / "model.onnx"), [text_of(key)])


def test_a_signature_of_another_bundle(bundle, key, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(bundle, other)
    text = (other / MANIFEST_NAME).read_text()
    (other / MANIFEST_NAME).write_text(text.replace("{", "{ ", 1))
    (other / f"{MANIFEST_NAME}.sha256").unlink()
    sign_bundle(other, key)
    shutil.copy(other / SIGNATURE_NAME, bundle / SIGNATURE_NAME)
    with pytest.raises(
        SignatureError, match=r"is wrong: bundle.json or the signature was changed\. Fetch it again"
    ):
        checked(bundle, key)


def test_a_key_that_only_has_the_id_of_a_trusted_one(bundle, key, tmp_path):
    thief = tmp_path / "thief.key"
    make_key(thief)
    own, trusted = secret_key(thief.read_text()), public_key(text_of(key))
    forged = own._replace(public=own.public._replace(key_id=trusted.key_id))
    thief.write_text(forged.file_text)
    sign_bundle(bundle, thief)
    with pytest.raises(SignatureError, match="is wrong"):
        checked(bundle, key)


def test_a_file_beside_the_model_that_the_signature_does_not_cover(bundle, key):
    sign_bundle(bundle, key)
    (bundle / "weights.bin").write_bytes(b"1")
    with pytest.raises(
        SignatureError, match=r"has the file weights\.bin, which its signature does not cover"
    ):
        checked(bundle, key)
    with pytest.raises(SignatureError):
        sign_bundle(bundle, key)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda text: "", "it is no signature of minisign"),
        (lambda text: text.replace("trusted comment", "comment"), "it is no signature of minisign"),
        (lambda text: text + "more\n", "it is no signature of minisign"),
        (lambda text: text.replace("=\n", "\n"), "it is no signature of minisign"),
        (lambda text: text.replace("timestamp:", "timestamp:1"), "is wrong"),
    ],
)
def test_a_damaged_signature(bundle, key, damage, said):
    sign_bundle(bundle, key)
    file = bundle / SIGNATURE_NAME
    file.write_text(damage(file.read_text()))
    with pytest.raises(SignatureError, match=said):
        checked(bundle, key)


def test_what_is_no_key(bundle, key, tmp_path):
    with pytest.raises(ConfigError, match=r"Cannot read .*Check --key"):
        sign_bundle(bundle, tmp_path / "none")
    public = key.with_name("mill.key.pub")
    public.chmod(0o600)
    with pytest.raises(ConfigError, match=r"cannot be used: it is no secret key of minisign\. Make one"):
        sign_bundle(bundle, public)
    lines = key.read_text().splitlines()
    data = bytearray(base64.b64decode(lines[1]))
    data[70] ^= 1
    key.write_text(f"{lines[0]}\n{base64.b64encode(data).decode()}\n")
    with pytest.raises(ConfigError, match="cannot be used: it is damaged"):
        sign_bundle(bundle, key)
    key.chmod(0o644)
    with pytest.raises(ConfigError, match="Others may read --key"):
        sign_bundle(bundle, key)
    assert not (bundle / SIGNATURE_NAME).exists()


def test_a_damaged_bundle_is_not_signed(bundle, key):
    (bundle / "model.onnx").write_bytes(b"1")
    with pytest.raises(ModelError):
        sign_bundle(bundle, key)


def test_a_store_keeps_the_signature_also_of_a_copy_that_was_there_before(bundle, key, tmp_path):
    store = tmp_path / "store"
    install(bundle, store, lambda _: None)
    sign_bundle(bundle, key)
    install(bundle, store, lambda _: None)
    assert checked(bundle_path(store), key).text == text_of(key)
    install(bundle, tmp_path / "second", lambda _: None)
    assert checked(bundle_path(tmp_path / "second"), key).text == text_of(key)
    install(store, tmp_path / "third", lambda _: None)
    assert checked(bundle_path(tmp_path / "third"), key).text == text_of(key)


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"keys": ["RWR"]}, r"trust.keys.0 = 'RWR' is not permitted. it is no public key of minisign"),
        ({"keys": [""]}, "it is no public key"),
        ({"keys": "RWR"}, "trust.keys = 'RWR' is not permitted"),
        ({"key": []}, "there is no setting 'trust.key'. Permitted: keys, revoked"),
        ({"revoked": [base64.b64encode(b"Ed" + bytes(40)).decode()]}, "trust.keys names none that is not"),
    ],
)
def test_a_table_of_trust_that_is_wrong(table, said):
    with pytest.raises(ConfigError, match=said):
        config_of({"box.toml": {"trust": table}})


def minisign(*words):
    return subprocess.run(
        [MINISIGN, *map(str, words)], capture_output=True, text=True, check=False, input=""
    )


@needs_minisign
def test_minisign_verifies_what_is_signed_here(bundle, key):
    sign_bundle(bundle, key)
    done = minisign("-V", "-m", bundle / MANIFEST_NAME, "-p", f"{key}.pub")
    assert done.returncode == 0, done.stderr
    assert "omment signature verified" in done.stdout
    (bundle / MANIFEST_NAME).write_text("{}")
    assert minisign("-V", "-m", bundle / MANIFEST_NAME, "-p", f"{key}.pub").returncode != 0


@needs_minisign
def test_minisign_signs_with_a_key_that_was_made_here(bundle, key):
    done = minisign("-S", "-s", key, "-m", bundle / MANIFEST_NAME, "-t", "signed by hand, Größe 1")
    assert done.returncode == 0, done.stderr
    assert checked(bundle, key).text == text_of(key)
    assert signature((bundle / SIGNATURE_NAME).read_text()).comment == "signed by hand, Größe 1"


@needs_minisign
@pytest.mark.parametrize("flags", [[], ["-l"]], ids=["prehashed", "legacy"])
def test_keys_and_signatures_of_minisign_are_taken(bundle, tmp_path, flags):
    key = tmp_path / "theirs.key"
    assert minisign("-G", "-W", "-p", f"{key}.pub", "-s", key).returncode == 0
    done = minisign("-S", *flags, "-s", key, "-m", bundle / MANIFEST_NAME)
    assert done.returncode == 0, done.stderr
    assert signature((bundle / SIGNATURE_NAME).read_text()).is_prehashed != bool(flags)
    printed = minisign("-R", "-s", key, "-p", tmp_path / "again.pub")
    assert printed.returncode == 0, printed.stderr
    assert checked(bundle, key).text == (tmp_path / "again.pub").read_text().splitlines()[1]
    key.chmod(0o600)
    sign_bundle(bundle, key)
    assert checked(bundle, key).text == text_of(key)


@needs_minisign
def test_a_key_with_a_password_is_left_to_minisign(bundle, tmp_path):
    key = tmp_path / "theirs.key"
    done = subprocess.run(
        [MINISIGN, "-G", "-p", f"{key}.pub", "-s", str(key)],
        capture_output=True,
        text=True,
        input="pw\npw\n",
        check=False,
    )
    assert done.returncode == 0, done.stderr
    key.chmod(0o600)
    with pytest.raises(
        ConfigError, match=r"it has a password\. Sign with `minisign -S -s .*theirs\.key -m"
    ):
        sign_bundle(bundle, key)
