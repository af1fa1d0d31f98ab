"""What a user does wrong, or a machine breaks: one clear line, an exit code, and the rest goes on."""

from __future__ import annotations

import json
import shutil

import pytest

from distill.commands.teacher_cli import main
from distill.labels.florence.adapter import add_adapter, save_adapter
from distill.labels.florence.loading import load_teacher
from distill.labels.florence.settings import LoraSettings
from tests.unit.distill.tiny import write_tiny_dataset

QUICK = """
tasks = ["detection"]
epochs = 1
batch = 4
max_new_tokens = 12
precision = "float32"
"""
LORA = '[lora]\nr = 2\ntargets = ["q_proj"]\n'
ODD_NAME = "断纱 <3 (mm)"
"""A class with a space, parentheses, an angle bracket and Chinese characters."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("bad")
    write_tiny_dataset(root / "data", train=4, val=2)
    (root / "quick.toml").write_text(QUICK + LORA)
    return root


@pytest.fixture
def said(monkeypatch, capsys):
    """Run `loomsight teacher` and return exit code, stdout and the lines on stderr."""

    def run(*arguments):
        monkeypatch.setattr("sys.argv", ["loomsight teacher", *map(str, arguments)])
        with pytest.raises(SystemExit) as left:
            main()
        done = capsys.readouterr()
        return left.value.code, done.out, done.err.strip().splitlines()

    return run


@pytest.fixture
def teach(said, folder, base, tmp_path):
    def run(*arguments, settings=QUICK + LORA, model=base, data=None):
        (tmp_path / "given.toml").write_text(settings, encoding="utf-8")
        return said("finetune", model, data or folder / "data", "--settings", tmp_path / "given.toml",
                    "--out", tmp_path / "run", *arguments)  # fmt: skip

    return run


def assert_one_line(done, code, *words):
    exit_code, _, lines = done
    assert exit_code == code, lines
    errors = [line for line in lines if line.startswith("error: ")]
    assert len(errors) == 1
    assert "Traceback" not in "\n".join(lines)
    for word in words:
        assert word in errors[0]


def damaged(base, folder, change):
    shutil.copytree(base, folder)
    change(folder)
    return folder


def into_older_layout(folder):
    config = json.loads((folder / "config.json").read_text())
    config["auto_map"] = {"AutoConfig": "configuration_florence2.Florence2Config"}
    (folder / "config.json").write_text(json.dumps(config))


def test_a_model_of_the_older_layout(teach, base, tmp_path):
    model = damaged(base, tmp_path / "old", into_older_layout)
    assert_one_line(teach(model=model), 51, "older layout", "florence-community/Florence-2-base-ft")
    assert not (tmp_path / "run").exists()


def test_a_model_without_its_tokenizer(teach, base, tmp_path):
    model = damaged(base, tmp_path / "bare", lambda copy: (copy / "tokenizer.json").unlink())
    assert_one_line(teach(model=model), 51, "lacks its tokenizer")


def test_an_adapter_for_another_model(said, folder, base, other_base, tmp_path):
    teacher = load_teacher(str(base))
    model = add_adapter(teacher.model, LoraSettings(targets=("q_proj",)))
    (tmp_path / "adapter").mkdir()
    save_adapter(model, tmp_path / "adapter", teacher.base_fingerprint, teacher.source)
    merged = said("merge", other_base, tmp_path / "adapter", "--out", tmp_path / "merged")
    assert_one_line(merged, 51, "other weights")
    assert not list(tmp_path.glob("*merged*"))
    assert said("merge", base, tmp_path / "adapter", "--out", tmp_path / "merged")[0] == 0
    load_teacher(str(tmp_path / "merged"))


def test_a_diverging_run_names_the_step(teach):
    wild = QUICK.replace("epochs = 1", "epochs = 60\nlearning_rate = 1.0\nlora = false")
    done = teach(settings=wild + "divergence_rise = 0.1\ndivergence_patience_steps = 1\n")
    assert_one_line(done, 52, "diverges since step ", "learning_rate (now 1.0)")


def test_a_corrupt_image_is_named_and_the_rest_is_learnt(teach, folder, tmp_path):
    data = shutil.copytree(folder / "data", tmp_path / "data")
    (data / "images" / "train" / "001.png").write_bytes(b"no image")
    code, _, lines = teach(data=data)
    assert code == 0
    assert any("001.png" in line for line in lines)


def test_answers_longer_than_is_taught_are_counted_and_one_image_is_named(teach, folder, tmp_path):
    data = shutil.copytree(folder / "data", tmp_path / "many")
    rows = [f"1 {0.1 + 0.01 * number:.2f} 0.5 0.1 0.2\n" for number in range(60)]
    (data / "labels" / "train" / "001.txt").write_text("".join(rows))
    settings = QUICK.replace("max_new_tokens = 12", "max_new_tokens = 64")
    code, _, lines = teach(settings=settings + LORA, data=data)
    (warning,) = (line for line in lines if "max_new_tokens" in line)
    assert code == 0
    assert "1 of 4 answers of the split 'train' are longer than max_new_tokens = 64" in warning
    assert "001.png: the boxes behind the cut are not learnt" in warning


def test_a_teacher_that_learnt_nothing_is_published_with_a_warning(teach):
    code, out, lines = teach(settings="learning_rate = 1e-9" + QUICK + LORA)
    assert code == 0
    assert "mAP50 0.000" in out
    assert lines[-1].startswith("warning: the teacher finds next to nothing (mAP50 0.000).")


def test_labels_without_a_single_region(teach, folder, tmp_path):
    data = shutil.copytree(folder / "data", tmp_path / "data")
    for file in (data / "labels").rglob("*.txt"):
        file.write_text("")
    assert_one_line(teach(data=data), 50, "no defect")


def test_odd_names_go_in_and_come_out(teach, said, base, tmp_path):
    taxonomy = tmp_path / "taxonomy.toml"
    taxonomy.write_text(f'version = 1\nclasses = ["drop", "broken", "{ODD_NAME}"]\n', encoding="utf-8")
    data = write_tiny_dataset(tmp_path / "数据 (1)", train=4, val=2, names=("drop", ODD_NAME, "broken"))
    for kind, suffix in (("images", "png"), ("labels", "txt")):
        (data / kind / "train" / f"000.{suffix}").rename(data / kind / "train" / f"0 (1) 布.{suffix}")
    code, _, lines = teach("--taxonomy", taxonomy, data=data)
    assert code == 0, lines
    image = data / "images" / "train" / "0 (1) 布.png"
    done = said("ask", base, image, "--vocabulary", ODD_NAME, "--taxonomy", taxonomy)
    answer = json.loads(done[1])
    assert answer["image"] == str(image)
    assert {region["label"] for region in answer["regions"]} <= {ODD_NAME}
    assert answer["regions"] or ODD_NAME not in answer["text"]


def test_resuming_what_was_never_started(teach):
    assert_one_line(teach("--resume"), 51, "run")


def test_a_target_that_matches_nothing(teach):
    done = teach(settings=QUICK + '[lora]\ntargets = ["o_proj"]\n')
    assert_one_line(done, 10, "o_proj matches no layer", "q_proj")


def test_an_unknown_setting(teach, monkeypatch):
    assert_one_line(teach(settings="epoch = 3\n"), 10, "no setting 'epoch'", "epochs")
    monkeypatch.setenv("LOOMSIGHT_TEACHER_EPOCH", "3")
    assert_one_line(teach(), 10, "environment", "no setting 'epoch'")


def test_freezing_everything_by_flags(teach):
    assert_one_line(teach("--freeze-vision", "--freeze-text", "--dora"), 10, "Nothing is left to learn")


@pytest.mark.parametrize(
    ("arguments", "code", "word"),
    [
        (["--task", "count"], 10, "no task 'count'"),
        (["--task", "caption"], 10, "needs an image"),
        (["--task", "segmentation"], 10, "needs text"),
        (["--task", "detection", "none.png"], 50, "none.png"),
    ],
    ids=["unknown", "no-image", "no-text", "missing"],
)
def test_questions_that_cannot_be_asked(said, base, arguments, code, word):
    assert_one_line(said("ask", base, *arguments), code, word)


def test_an_answer_is_json_whatever_was_asked(said, base, folder):
    image = folder / "data" / "images" / "val" / "000.png"
    boxes = json.loads(said("ask", base, image, "--vocabulary", "drop")[1])
    assert (boxes["task"], boxes["size_hw_px"]) == ("detection", [64, 160])
    assert all(region["label"] == "drop" and len(region["box_xyxy_px"]) == 4 for region in boxes["regions"])
    text = json.loads(said("ask", base, "--task", "grounding", "--text", "drop.")[1])
    assert "image" not in text
    outline = json.loads(said("ask", base, image, "--task", "segmentation", "--text", "stain")[1])
    assert all(region["polygon_xy_px"] for region in outline["regions"])


def test_an_existing_file_is_not_replaced(said, base, folder, tmp_path):
    (tmp_path / "lines.jsonl").write_text("kept")
    done = said("annotate", base, folder / "data" / "images", "--out", tmp_path / "lines.jsonl")
    assert_one_line(done, 40, "exists")
    assert (tmp_path / "lines.jsonl").read_text() == "kept"
