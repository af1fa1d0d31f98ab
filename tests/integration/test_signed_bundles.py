"""Signed bundles through the real commands: made, signed, installed, run, and refused with one line."""

from __future__ import annotations

import pytest

from tests.processes import loomsight

LOOM = "loom:seed=7,width_px=512,length_m=0.2"


@pytest.fixture
def device(tmp_path):
    """Settings of a device that trusts one key and has revoked another; the keys by name."""
    keys, texts = {}, {}
    for name in ("own", "stolen", "foreign"):
        keys[name] = tmp_path / f"{name}.key"
        made = loomsight("bundle", "key", "new", keys[name])
        assert made.returncode == 0, made.stderr
        texts[name] = made.stdout.split('"')[1]
        assert keys[name].with_name(f"{name}.key.pub").read_text().splitlines()[1] == texts[name]
    config = tmp_path / "box.toml"
    trusted = f'keys = ["{texts["own"]}", "{texts["stolen"]}"]\nrevoked = ["{texts["stolen"]}"]\n'
    config.write_text(f"[trust]\n{trusted}")
    return config, keys


def run(config, bundle):
    words = ("--camera", LOOM, "--model", bundle, "--config", config, "--threads", 1)
    return loomsight("edge-run", *words, env={"OMP_NUM_THREADS": "1"})


def last_line(done):
    return done.stderr.strip().splitlines()[-1]


def test_a_device_runs_and_installs_what_its_key_has_signed(device, bundle, tmp_path):
    config, keys = device
    store = tmp_path / "store"
    assert run(config, bundle).returncode == 33
    signed = loomsight("bundle", "sign", bundle, "--key", keys["own"])
    assert signed.returncode == 0, signed.stderr
    assert "bundle.json.minisig: signed by the key " in signed.stdout
    assert run(config, bundle).returncode == 0
    installed = loomsight("bundle", "install", bundle, store, "--config", config)
    assert installed.returncode == 0, installed.stderr
    assert run(config, store).returncode == 0


@pytest.mark.parametrize(
    ("key", "said"),
    [
        (None, "is not signed, and [trust] asks for a signature. Sign it: `loomsight bundle sign"),
        ("stolen", "which is revoked. Use a bundle that is signed by another key of [trust]."),
        ("foreign", "which this device does not trust. Add its public key to [trust] keys"),
        ("changed", "is wrong: bundle.json or the signature was changed. Fetch it again"),
    ],
)
def test_everything_else_is_refused_with_one_line(device, bundle, tmp_path, key, said):
    config, keys = device
    if key is not None:
        assert loomsight("bundle", "sign", bundle, "--key", keys.get(key, keys["own"])).returncode == 0
    if key == "changed":
        text = (bundle / "bundle.json").read_text()
        (bundle / "bundle.json").write_text(text.replace("{", "{ ", 1))
        (bundle / "bundle.json.sha256").unlink()
    for done in (
        run(config, bundle),
        loomsight("bundle", "install", bundle, tmp_path / "store", "--config", config),
        loomsight("bundle", "verify", bundle, "--config", config),
    ):
        assert done.returncode == 33, done.stderr
        assert last_line(done).startswith("error: ")
        assert said in last_line(done)
    assert not (tmp_path / "store" / "store.json").exists()
