from __future__ import annotations

import pytest

from distill.commands.options import layered
from distill.labels.florence.settings import ENVIRONMENT_PREFIX, AnnotationSettings, FinetuneSettings
from edge.core.errors import ConfigError


def test_the_defaults_are_the_mills():
    settings = FinetuneSettings()
    assert settings.tasks == ("detection", "dense_region_caption", "grounding")
    assert (settings.lora.r, settings.lora.alpha, settings.learning_rate) == (8, 16, 1e-6)
    assert set(settings.lora.targets) == {"q_proj", "k_proj", "v_proj", "lm_head", "fc1", "fc2"}
    assert not settings.freeze_vision
    assert not settings.freeze_text


def test_what_stands_later_wins(tmp_path):
    file = tmp_path / "teacher.toml"
    file.write_text('epochs = 4\nbatch = 2\nseed = 1\n[lora]\ndora = true\ntargets = ["q_proj"]\n')
    environment = {"LOOMSIGHT_TEACHER_BATCH": "3", "LOOMSIGHT_TEACHER_SEED": "2"}
    settings = layered(FinetuneSettings, file, ENVIRONMENT_PREFIX, environment, {"seed": 5, "epochs": None})
    assert (settings.epochs, settings.batch, settings.seed) == (4, 3, 5)
    assert settings.lora.dora
    assert settings.lora.r == 8


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("epoch = 3", "no setting 'epoch'.*epochs"),
        ("epochs = 0", "epochs = 0 is not permitted"),
        ('tasks = ["detect"]', "tasks.0"),
        ('tasks = ["detection", "detection"]', "each task can be named once"),
        ("[lora]\nrank = 3", "no setting 'lora.rank'.*targets"),
        ("epochs =", "not valid TOML"),
    ],
    ids=["unknown", "range", "task", "twice", "nested", "toml"],
)
def test_mistakes_are_named(tmp_path, text, said):
    file = tmp_path / "teacher.toml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=said):
        layered(FinetuneSettings, file, ENVIRONMENT_PREFIX, {}, {})


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"none\.toml"):
        layered(AnnotationSettings, tmp_path / "none.toml", ENVIRONMENT_PREFIX, {}, {})
