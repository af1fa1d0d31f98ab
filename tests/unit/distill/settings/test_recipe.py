from __future__ import annotations

import pytest

from distill.settings.recipe import SHIPPED_RECIPES, Recipe, load_recipe
from distill.settings.tables import Augmentation
from edge.core.errors import ConfigError


@pytest.mark.parametrize("name", SHIPPED_RECIPES)
def test_shipped_recipes_load(name):
    assert load_recipe(name, {}, {}).epochs > 0


def test_order_is_field_file_environment_flag(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text("epochs = 5\nbatch = 4\nseed = 1\n")
    recipe = load_recipe(
        str(file),
        {"LOOMSIGHT_DISTILL_BATCH": "6", "LOOMSIGHT_DISTILL_SEED": "2"},
        {"seed": 3, "epochs": None},
    )
    assert (recipe.learning_rate, recipe.epochs, recipe.batch, recipe.seed) == (
        Recipe().learning_rate, 5, 6, 3,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "key", "permitted"),
    [
        pytest.param("epoch = 3", "epoch", "epochs", id="unknown-key"),
        pytest.param("[augmentation]\nflip = 1", "augmentation.flip", "flip_share", id="unknown-nested"),
        pytest.param("epochs = 0", "epochs", "greater than or equal to 1", id="out-of-range"),
        pytest.param("epochs = 'many'", "epochs", "integer", id="wrong-type"),
        pytest.param("scale = 'x'", "scale", "'p', 'n', 's', 'm' or 'l'", id="unknown-scale"),
        pytest.param("input_size_hw_px = [250, 256]", "input_size_hw_px.0", "32", id="not-multiple-of-32"),
        pytest.param("overlap_px = 256", "overlap_px", "smaller", id="overlap-too-large"),
        pytest.param("enhancement = {kind = 'magic'}", "enhancement", "clahe", id="unknown-enhancement"),
    ],
)
def test_bad_settings_name_source_key_and_what_is_permitted(tmp_path, text, key, permitted):
    file = tmp_path / "bad.toml"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_recipe(str(file), {}, {})
    for part in ("bad.toml", key, permitted):
        assert part in str(caught.value)


def test_a_misspelt_name_in_the_environment_is_refused():
    with pytest.raises(ConfigError, match=r"environment.*'epoch'"):
        load_recipe("smoke", {"LOOMSIGHT_DISTILL_EPOCH": "3"}, {})


def test_bad_environment_and_flag_are_named_as_the_source():
    with pytest.raises(ConfigError, match="environment"):
        load_recipe("smoke", {"LOOMSIGHT_DISTILL_EPOCHS": "-1"}, {})
    with pytest.raises(ConfigError, match="command line"):
        load_recipe("smoke", {}, {"epochs": 0})


@pytest.mark.parametrize(
    ("name", "content"), [("no-such", None), ("broken.toml", "epochs = ")], ids=["missing", "not-toml"]
)
def test_unreadable_recipes_are_refused(tmp_path, name, content):
    path = tmp_path / name
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConfigError, match=name):
        load_recipe(str(path), {}, {})


def test_recipes_survive_json():
    recipe = Recipe(augmentation=Augmentation(flip_share=0.1), mm_per_px=0.3)
    assert Recipe.model_validate(recipe.model_dump(mode="json")) == recipe
