from __future__ import annotations

from pathlib import Path

import pytest

from edge.core.errors import ConfigError
from edge.core.taxonomy import load_taxonomy


def test_the_shipped_taxonomy_begins_with_the_classes_of_the_shipped_detector():
    taxonomy = load_taxonomy()
    assert taxonomy.classes[:3] == ("wrinkle", "drop", "broken")  # further ones are appended
    assert taxonomy.class_of("broken end") == taxonomy.class_of("broken pick") == "broken"
    assert str(taxonomy.kind("nep")) == "a small hard knot of tangled fibre | nep | drop"


def test_a_mill_extends_it_by_a_file(tmp_path):
    file = tmp_path / "mill.toml"
    file.write_text(
        'version = 2\nclasses = ["wrinkle", "drop", "broken", "oil"]\n'
        '[[kinds]]\nphrase = "a dark streak"\ncategory = "oil streak"\nparent = "oil"\n'
    )
    taxonomy = load_taxonomy(file)
    assert taxonomy.class_id("oil") == 3
    assert taxonomy.class_of("oil streak") == "oil"


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("version = ", "not valid TOML"),
        ("version = 1\nclasses = []", "classes"),
        ('version = 1\nclasses = ["a", "a"]', "named twice"),
        ('version = 0\nclasses = ["a"]', "version"),
        ('version = 1\nclasses = ["a"]\ncolour = "red"', "colour"),
        (
            'version = 1\nclasses = ["a"]\n[[kinds]]\nphrase="p"\ncategory="c"\nparent="b"',
            "not a class: b",
        ),
    ],
    ids=["toml", "no-classes", "double", "version", "unknown-key", "orphan"],
)
def test_a_wrong_file_is_named(tmp_path, text, named):
    file = tmp_path / "wrong.toml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=named) as caught:
        load_taxonomy(file)
    assert "wrong.toml" in str(caught.value)


def test_unknown_names_and_files():
    with pytest.raises(ConfigError, match="Use one of: wrinkle, drop, broken"):
        load_taxonomy().class_id("brokn")
    with pytest.raises(ConfigError, match="There is no file"):
        load_taxonomy(Path("/no/such/file.toml"))


def test_a_quarter_turn_makes_a_broken_end_a_broken_pick(tmp_path):
    shipped = load_taxonomy()
    assert shipped.quarter_turned_ids() == tuple(range(len(shipped.classes)))
    kinds = "".join(
        f'[[kinds]]\nphrase = "{name}"\ncategory = "{name}"\nparent = "{parent}"\n{turn}\n'
        for name, parent, turn in (
            ("end", "end", 'quarter_turn = "pick"'),
            ("pick", "pick", 'quarter_turn = "end"'),
            ("hole", "spot", ""),
            ("warp float", "float", 'quarter_turn = "hole"'),
            ("knot", "float", ""),
        )
    )
    file = tmp_path / "mill.toml"
    file.write_text('version = 1\nclasses = ["end", "pick", "spot", "float", "other"]\n' + kinds)
    assert load_taxonomy(file).quarter_turned_ids() == (1, 0, 2, None, 4)
    file.write_text(file.read_text().replace('quarter_turn = "pick"', 'quarter_turn = "pock"'))
    with pytest.raises(ConfigError, match="quarter_turn that is not a category: pock"):
        load_taxonomy(file)
