"""The settings of several cameras: who wins, what each gets of its own, what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.app.shared import check_apart
from edge.cameras.choose import choose_camera
from edge.config.device import FILES, FOLDERS, OF_THE_BOX, OWN, load_box, load_camera, place_of
from edge.config.edge import EdgeConfig
from edge.core.errors import ConfigError

TWO = """
queue_frames = 7
detections = "out/d.jsonl"
save_pictures = "found"
stop = {most_per_hour = 3, apart_m = 5}

[cameras.left]
camera = "loom:seed=1"
threads = 3

[cameras.right]
camera = "loom:seed=2"
queue_frames = 9
detections = "mine.jsonl"
stop = "off"
"""


@pytest.fixture
def box(tmp_path):
    def load(text=TWO, only=None, environment=None, **flags):
        file = tmp_path / "box.toml"
        file.write_text(text)
        return load_box(file, environment or {}, flags, only)

    return load


def configs(cameras):
    return {camera.name: camera.config for camera in cameras}


def test_each_camera_has_what_is_shared_and_what_is_its_own(box):
    found = configs(box())
    left, right = found["left"], found["right"]
    assert (left.camera, right.camera) == ("loom:seed=1", "loom:seed=2")
    assert (left.queue_frames, right.queue_frames) == (7, 9)
    assert (left.threads, right.threads) == (3, None)
    assert (left.stop.mode, right.stop.mode) == ("shadow", "off")
    assert left.stop.most_per_hour == right.stop.most_per_hour == 3


def test_what_is_written_gets_the_name_of_the_camera_unless_its_table_says_where(box):
    found = configs(box(summary=Path("s.json"), roll_record=Path("/srv/rolls.db")))
    assert found["left"].detections == Path("out/d-left.jsonl")
    assert found["right"].detections == Path("mine.jsonl")
    assert found["right"].save_pictures == Path("found/right")
    assert [one.summary for one in found.values()] == [Path("s-left.json"), Path("s-right.json")]
    assert found["left"].roll_record == Path("/srv/rolls-left.db")
    assert configs(box(summary=Path("/dev/stdout")))["left"].summary == Path("/dev/stdout")


def test_one_of_them_is_what_it_is_among_the_others(box):
    assert box(only="right") == box()[1:]
    with pytest.raises(ConfigError, match=r"no camera 'middle' in .*box\.toml\. It has: left, right"):
        box(only="middle")
    with pytest.raises(ConfigError, match=r"no tables \[cameras\.NAME\]"):
        box("queue_frames = 7", only="left")
    with pytest.raises(ConfigError, match="There is no camera 'left': no file"):
        load_box(None, {}, {}, "left")


def test_a_box_without_tables_is_as_ever(box):
    (camera,) = box("queue_frames = 7\ndetections = 'd.jsonl'")
    wanted = EdgeConfig(queue_frames=7, detections=Path("d.jsonl"))
    assert (camera.name, camera.config.public()) == (None, wanted.public())
    assert camera.called("loom") == "loom"


LAYERS = ("file", "camera", "environment", "flag")


@settings(max_examples=16)
@given(values=st.dictionaries(st.sampled_from(LAYERS), st.integers(1, 1024)))
def test_field_then_file_then_table_then_environment_then_flag(tmp_path_factory, values):
    file = tmp_path_factory.mktemp("box") / "box.toml"

    def line(layer):
        return f"queue_frames = {values[layer]}\n" if layer in values else ""

    file.write_text(f"{line('file')}[cameras.a]\n{line('camera')}")
    in_environment = values.get("environment")
    environment = {"LOOMSIGHT_EDGE_QUEUE_FRAMES": str(in_environment)} if in_environment else {}
    (camera,) = load_box(file, environment, {"queue_frames": values.get("flag")})
    expected = next((values[layer] for layer in reversed(LAYERS) if layer in values), None)
    assert camera.config.queue_frames == (expected or EdgeConfig().queue_frames)


NAMES = st.text("aB0_-", min_size=1, max_size=4).map("c{}".format)
PARTS = st.text("aÄ0_-. ", min_size=1, max_size=4).map("p{}p".format)


def test_each_camera_learns_articles_into_a_folder_of_its_own(tmp_path):
    file = tmp_path / "box.toml"
    tables = "[cameras.left]\n[cameras.right]\n[cameras.own]\nauto_teach = '/own'\n"
    for settings_of in ("auto_teach = '/a'\n", "[auto_teach]\nfolder = '/a'\n"):
        file.write_text(settings_of + tables)
        folders = [str(camera.config.auto_teach.folder) for camera in load_box(file, {}, {})]
        assert folders == ["/a/left", "/a/right", "/own"]


@settings(max_examples=30)
@given(name=NAMES, other=NAMES, parts=st.lists(PARTS, min_size=1, max_size=3), suffix=PARTS)
def test_places_of_two_cameras_are_two_places(name, other, parts, suffix):
    path = Path("/", *parts).with_suffix(f".{suffix}")
    for key in (*FILES, *FOLDERS):
        own = place_of(path, name, key)
        assert (own == place_of(path, other, key)) == (name == other)
        assert own.is_relative_to(path.parent)
        assert key in FOLDERS or own.suffix == path.suffix


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[cameras.left]\ncamra = '0'", "camera 'left': there is no setting 'camra'. Permitted: camera,"),
        ("[cameras.left]\npage = 8080", "camera 'left': 'page' is for all cameras; it stands at the top"),
        ("[cameras.left]\nqueue_frames = 0", r"box\.toml, camera 'left': queue_frames = 0 is not"),
        ("[cameras.left.stop]\nmode = 'never'", r"box\.toml, camera 'left': stop\.mode = 'never'"),
        ("queue_frames = 0\n[cameras.left]", r"box\.toml: queue_frames = 0"),
        ("[cameras.left]\n[cameras.right]\ncloth = 3", r"camera 'right': cloth = 3"),
        ("cameras = 3", "cameras = 3 is not permitted. Write tables"),
        ("[cameras]", "cameras = {} is not permitted"),
        ("[cameras]\nleft = '0'", r"cameras\.left = '0' is not permitted"),
        ("[cameras.'a b']", "cannot be called 'a b'"),
        ("[cameras.'../x']", r"cannot be called '../x'"),
        ("[cameras.a]\nloom = '7'\noffset_mm = 0\n[cameras.b]\nloom = '7'", "'b' looks at loom '7' beside"),
    ],
)  # fmt: skip
def test_what_is_refused_is_named_with_its_source(box, text, said):
    with pytest.raises(ConfigError, match=said) as caught:
        box(text)
    assert "\n" not in str(caught.value)


def test_one_address_for_several_cameras_is_refused(box):
    with pytest.raises(ConfigError, match="the command line: one camera is named for several"):
        box(camera="0")
    with pytest.raises(ConfigError, match="the environment: one camera"):
        box(environment={"LOOMSIGHT_EDGE_CAMERA": "0"})
    assert box(only="left", camera="0")[0].config.camera == "0"


def test_a_command_about_one_camera_wants_its_name(box, tmp_path):
    box()
    with pytest.raises(ConfigError, match=r"has the cameras left, right; this is about one\."):
        load_camera(tmp_path / "box.toml", {}, {})
    assert load_camera(tmp_path / "box.toml", {}, {}, "right").config.queue_frames == 9


def test_the_table_of_a_camera_wins_over_that_of_an_article(box):
    text = "article = 'a'\n[articles.a]\nselvedge_margin_mm = 5\ncloth_width_mm = 900\n"
    found = configs(box(f"{text}[cameras.left]\nselvedge_margin_mm = 0\n[cameras.right]\n"))
    assert [one.selvedge_margin_mm for one in found.values()] == [0, 5]
    assert found["left"].cloth_width_mm == 900


def test_each_camera_has_topics_of_its_own(box):
    text = "mqtt = {broker = 'mqtt://h', box = 'b'}\n[cameras.left]\n[cameras.right]\n"
    text += "mqtt = {camera = 'r', box = 'c'}"
    roots = [one.mqtt.root for one in configs(box(text)).values()]
    assert roots == ["loomsight/b/left", "loomsight/c/r"]
    assert EdgeConfig(mqtt={"broker": "mqtt://h", "box": "b"}).mqtt.root == "loomsight/b"


def test_every_setting_is_a_cameras_own_or_the_boxs():
    assert set(OWN) | set(OF_THE_BOX) == set(EdgeConfig.model_fields)
    assert set(OF_THE_BOX) <= set(EdgeConfig.model_fields)


def check(box, one, other):
    one, other = (text if "camera" in text else f"camera = 'loom'\n{text}" for text in (one, other))
    check_apart(
        [
            (camera, choose_camera("loom" if camera.config.camera == "loom" else "."))
            for camera in box(f"[cameras.a]\n{one}\n[cameras.b]\n{other}")
        ]
    )


@pytest.mark.parametrize(
    ("one", "other", "said"),
    [
        ("camera = '0'", "camera = '0'", "'a' and 'b' are, or may be, one device"),
        ("camera = '0'", "camera = '/dev/../dev/video0'", "one device"),
        ("camera = 'rtsp://h/1'", "camera = 'rtsp://h/1'", "one device"),
        ("camera = 'basler:'", "camera = 'basler:serial=1'", "each by its serial"),
        ("roll_record = 'r.db'", "roll_record = 'x/../r.db'", "--roll-record r.db of camera 'a' and"),
        ("save_pictures = 'p'", "summary = 'p/s.json'", "--summary p/s.json of camera 'b'"),
        ("detections = 'd'", "summary = 'd.config.json'", "the settings beside --detections"),
        (
            "camera = 'pics'",
            "save_pictures = 'pics'",
            "--save-pictures pics is in the way of --camera pics",
        ),
        ("model = 'm'", "record = 'm'", "--record m is in the way of --model m"),
    ],
)
def test_cameras_in_each_others_way(box, tmp_path, monkeypatch, one, other, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pics").mkdir()
    with pytest.raises(ConfigError) as caught:
        check(box, one, other)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("camera = 'loom'", "camera = 'loom'"),
        ("camera = '0'", "camera = '1'"),
        ("camera = 'basler:serial=1'", "camera = 'aravis:'"),
        ("camera = 'basler:serial=1'", "camera = 'basler:serial=2'"),
        ("summary = '/dev/null'", "summary = '/dev/null'"),
    ],
)
def test_cameras_beside_each_other(box, one, other):
    check(box, one, other)
