from __future__ import annotations

import pytest

from distill.labels.formats import voc
from distill.labels.formats.registry import read_labels
from edge.core.errors import DatasetError, OutputError
from tests.unit.distill.labels.label_sets import TAXONOMY, label_set, region, write_image, write_images

BOX = "<bndbox><xmin>1</xmin><ymin>2</ymin><xmax>30</xmax><ymax>40.5</ymax></bndbox>"
DROP = f"<object><name>drop</name><pose>nep</pose>{BOX}</object>"
SIZE = "<size><width>200</width><height>50</height><depth>1</depth></size>"


def xml(objects=DROP, filename="a.png", size=SIZE, head=""):
    return f"{head}<annotation><filename>{filename}</filename>{size}{objects}</annotation>"


@pytest.fixture
def folder(tmp_path):
    write_image(tmp_path / "images" / "a.png", (50, 200))
    (tmp_path / "voc").mkdir()
    return tmp_path / "voc"


def write(folder, content, name="a.xml"):
    data = content if isinstance(content, bytes) else content.encode()
    (folder / name).write_bytes(data)
    return folder


def read_one(folder):
    [image] = read_labels(folder, TAXONOMY).images
    return image


def test_labelimgs_file(folder):
    image = read_one(write(folder, xml()))
    assert (image.file_name, image.size_hw_px) == ("a.png", (50, 200))
    [found] = image.regions
    assert found.box_xyxy_px == (1, 2, 30, 40.5)
    assert (found.label, found.category, found.phrase) == (
        "drop",
        "nep",
        "a small hard knot of tangled fibre",
    )


@pytest.mark.parametrize(
    ("objects", "label", "category"),
    [
        pytest.param(DROP.replace("nep", "Unspecified"), "drop", None, id="no-pose"),
        pytest.param(DROP.replace("drop", " Drop "), "drop", "nep", id="case-and-spaces"),
        pytest.param(DROP.replace("drop", "fuzzyball"), "drop", "fuzzyball", id="category-as-name"),
        pytest.param(DROP.replace("drop", "wrinkle"), "wrinkle", None, id="pose-of-another-class"),
    ],
)
def test_names(folder, objects, label, category):
    [found] = read_one(write(folder, xml(objects))).regions
    assert (found.label, found.category) == (label, category)


NAME = "油 (1).png"
HEAD = '<?xml version="1.0" encoding="{}"?>'


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(xml(filename=NAME, head=HEAD.format("gbk")).encode("gbk"), id="gbk-declared"),
        pytest.param(xml(filename=NAME).encode("gbk"), id="gbk-not-declared"),
        pytest.param(xml(filename=NAME, head=HEAD.format("utf-8")).encode("gbk"), id="gbk-as-utf-8"),
        pytest.param(xml(filename=NAME, head=HEAD.format("utf-16")).encode("utf-16"), id="utf-16"),
        pytest.param(b"\xef\xbb\xbf" + xml(filename=NAME).encode(), id="byte-order-mark"),
        pytest.param(xml(filename=NAME, head=HEAD.format("nonsense")), id="no-such-encoding"),
        pytest.param(xml(filename=r"D:\布\油 (1).png"), id="path-of-windows"),
        pytest.param(xml(filename="油 (1)"), id="no-suffix"),
        pytest.param(xml(filename="renamed.png"), id="image-renamed"),
        pytest.param(xml(filename=""), id="no-file-name"),
        pytest.param(xml(filename=NAME, size=""), id="no-size"),
        pytest.param(xml(filename=NAME, size=SIZE.replace("200", "0")), id="size-zero"),
    ],
)  # fmt: skip
def test_files_as_they_come(folder, content):
    write_image(folder.parent / "images" / "油 (1).png", (50, 200))
    label_set = read_labels(write(folder, content, "油 (1).xml"), TAXONOMY)
    assert dict(label_set.problems) == {}
    [image] = label_set.images
    assert (image.file_name, image.size_hw_px) == ("油 (1).png", (50, 200))


BOMB = '<!DOCTYPE a [<!ENTITY b "bbbbbbbbbb"><!ENTITY c "&b;&b;&b;&b;">]>' + xml(filename="&c;")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        pytest.param(xml()[:120], "damaged", id="truncated"),
        pytest.param("", "damaged", id="empty"),
        pytest.param("<annotations/>", "not LabelImg's", id="another-kind"),
        pytest.param(BOMB, "document type", id="entity-bomb"),
        pytest.param(b"<a>\xff\xfe\x81\xff</a>", "encodings", id="no-encoding"),
        pytest.param(xml(filename="gone.png", size=""), "There is no file", id="no-image-and-no-size"),
    ],
)
def test_a_bad_file_is_one_line_and_the_rest_is_read(folder, content, said):
    write(folder, xml())
    write(folder, content, "bad.xml")
    label_set = read_labels(folder, TAXONOMY)
    assert [image.file_name for image in label_set.images] == ["a.png"]
    assert list(label_set.problems) == ["bad.xml"]
    assert said in label_set.problems["bad.xml"]
    assert "\n" not in label_set.problems["bad.xml"]


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        pytest.param(DROP.replace("drop", "moth"), "'moth' is not in the taxonomy", id="unknown-class"),
        pytest.param(DROP.replace(BOX, ""), "no <bndbox>", id="no-box"),
        pytest.param(DROP.replace(">1<", ">a<"), "object 1: could not convert", id="not-a-number"),
        pytest.param(DROP.replace(">1<", ">nan<"), "not finite", id="nan"),
        pytest.param(DROP.replace("<xmin>1</xmin>", ""), "missing", id="missing-corner"),
        pytest.param(DROP.replace("drop", ""), "no name", id="no-name"),
    ],
)
def test_a_bad_object_is_one_line_and_the_others_are_read(folder, bad, said):
    label_set = read_labels(write(folder, xml(bad + DROP)), TAXONOMY)
    assert label_set.images == ()
    assert [found.category for found in label_set.left_out[0].regions] == ["nep"]
    [line] = label_set.problems.values()
    assert said in line


@pytest.mark.parametrize(
    ("own", "said"),
    [
        pytest.param('score="1.5"', "score '1.5'", id="score"),
        pytest.param('score="nan"', "score 'nan'", id="score-nan"),
        pytest.param('review="maybe"', "review 'maybe'", id="review"),
    ],
)
def test_a_bad_attribute_is_one_line_and_the_box_is_read(folder, own, said):
    label_set = read_labels(write(folder, xml(DROP.replace("</obj", f"<loomsight {own}/></obj"))), TAXONOMY)
    [found] = label_set.images[0].regions
    assert (found.score, found.review) == (None, "unreviewed")
    assert said in label_set.problems["a.xml"]


def test_labelimg_finds_what_it_looks_for(tmp_path):
    """LabelImg reads object, name, difficult and bndbox with these four corners, as whole numbers."""
    root = write_images(tmp_path / "images")
    label_set_ = label_set(root, {"0001.bmp": (region("drop", (1.0, 2.0, 3.0, 4.0), score=0.5),)})
    voc.write(label_set_, tmp_path / "voc")
    text = (tmp_path / "voc" / "0001.xml").read_text(encoding="utf-8")
    compact = "".join(text.split())
    assert "<bndbox><xmin>1</xmin><ymin>2</ymin><xmax>3</xmax><ymax>4</ymax></bndbox>" in compact
    assert "<filename>0001.bmp</filename>" in compact
    assert "<difficult>0</difficult>" in compact


def test_nothing_is_left_behind_when_writing_fails(tmp_path):
    root = write_images(tmp_path / "images")
    with pytest.raises(DatasetError, match="XML cannot hold"):
        voc.write(label_set(root, {"0001.bmp": (region("dr\x01p"),)}), tmp_path / "voc")
    assert [path.name for path in tmp_path.iterdir()] == ["images"]


def test_a_folder_that_holds_something_is_refused(tmp_path):
    root = write_images(tmp_path / "images")
    with pytest.raises(OutputError, match="not empty"):
        voc.write(label_set(root), root)


def test_a_folder_without_xml_is_refused(tmp_path):
    with pytest.raises(DatasetError, match="no XML"):
        voc.read(tmp_path)
