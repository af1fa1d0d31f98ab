"""The article on the page, in a real headless browser beside a real run: what is known, sheet, naming."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing

from typer.testing import CliRunner

from edge.commands.roll_cli import app as roll_app
from edge.teach.article_file import open_article
from tests.integration.articles import FRAMES
from tests.integration.browsing import edge_run, needs_chromium, tab_of, until

LIVE = f"loom:seed=7,defects_per_m=8,difficulties=obvious,live=true,frames_hz=2,speed_m_min=8,{FRAMES}"


def width_of(tab):
    return tab.evaluate("document.documentElement.scrollWidth")


def exported(folder, defect):
    done = CliRunner().invoke(roll_app, ["export", str(folder / "rolls.db"), "--format", "jsonl"])
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    return next(row for row in rows if row.get("event_id") == defect)


def reviews(folder):
    with closing(sqlite3.connect(folder / "rolls.db")) as db:
        named = "reviews LEFT JOIN namings USING (review_id)"
        return db.execute(f"SELECT verdict, class_name FROM {named} ORDER BY reviews.rowid").fetchall()


@needs_chromium
def test_what_no_detector_has_a_name_for_is_named_in_the_list_and_on_its_image(
    browser, article, detector, tmp_path
):
    more = ["--camera", LIVE, "--model", detector, "--reference", article]
    with edge_run(tmp_path, "0", *more) as (_, address), tab_of(browser, address, 1280, 800) as desk:
        until(desk, "document.querySelector('#article strong').textContent === 'twill 220: taught.'")
        assert desk.inner_text("#article .more").startswith("At most 100 false alarms per 100 m, from 0.")
        card = desk.locator("#defects li", has_text="unclassified").first
        defect = card.get_attribute("data-id")
        card = desk.locator(f"#defects [data-id='{defect}']")
        card.get_by_role("button", name="It is broken").click()
        desk.wait_for_selector(f"[data-id='{defect}'].confirmed")
        assert card.locator(".stamp").inner_text() == "✓ broken"
        assert (exported(tmp_path, defect)["verdict"], exported(tmp_path, defect)["named"]) == (
            "confirmed",
            "broken",
        )
        with tab_of(browser, address, 360, 760) as phone:
            phone.locator(f"[data-id='{defect}'] .image[src^=blob]").tap()
            large = phone.locator("#large")
            assert large.locator("#large-name").inner_text().startswith("unclassified: ")
            assert large.locator("img").evaluate("image => image.naturalWidth") > 0
            large.get_by_role("button", name="Undo").tap()
            large.get_by_role("button", name="It is wrinkle").tap()
            phone.wait_for_selector("#large.confirmed")
            desk.wait_for_selector(f"[data-id='{defect}'] .stamp:text('wrinkle')")  # told to the other one
            assert width_of(phone) <= 360
            large.get_by_role("button", name="Undo").tap()
            large.get_by_role("button", name="Reject").tap()
            phone.wait_for_selector("#large.rejected")
            large.get_by_role("button", name="Close").tap()
            assert not large.is_visible()
            assert phone.locator(f"#defects [data-id='{defect}'].rejected").count() == 1
            assert phone.errors == []
        assert desk.errors == []
        assert reviews(tmp_path) == [
            ("confirmed", "broken"), ("undone", None), ("confirmed", "wrinkle"), ("undone", None),
            ("rejected", None),
        ]  # fmt: skip
        assert "named" not in exported(tmp_path, defect)


@needs_chromium
def test_a_tap_on_the_contact_sheet_leaves_a_place_out_at_the_desk_and_on_the_phone(
    browser, article, detector, tmp_path
):
    more = ["--camera", LIVE, "--model", detector, "--reference", article]
    with edge_run(tmp_path, "0", *more) as (_, address), tab_of(browser, address, 1280, 800) as desk:
        desk.get_by_role("link", name="Contact sheet").click()
        desk.wait_for_selector("#places button")
        assert desk.locator("#places button").count() == len(open_article(article).manifest.places) > 3
        drawn = "canvas => new Set(canvas.getContext('2d').getImageData(0, 0, 224, 224).data).size"
        assert desk.locator("#places canvas").first.evaluate(drawn) > 20  # cloth, and not one colour
        assert not desk.locator("#again").is_visible()
        desk.locator("#places button").nth(2).click()
        desk.wait_for_selector("#places [data-number='3'][aria-pressed=true]")
        assert desk.inner_text("#again code").endswith(f"--out {article} --leave-out 3")
        with tab_of(browser, address, 360, 760) as phone:
            phone.get_by_role("link", name="Contact sheet").tap()
            phone.wait_for_selector("#places [data-number='3'][aria-pressed=true]")
            phone.locator("#places [data-number='1']").tap()
            phone.wait_for_selector("#places [data-number='1'][aria-pressed=true]")
            phone.locator("#places [data-number='3']").tap()
            phone.wait_for_selector("#places [data-number='3'][aria-pressed=false]")
            assert phone.inner_text("#again code").endswith("--leave-out 1")
            assert width_of(phone) <= 360
            assert phone.errors == []
            phone.get_by_role("link", name="Back").tap()
            phone.wait_for_selector("#article:not([hidden])")
        assert desk.errors == []
    marks = json.loads((article.parent / "twill.leave-out.json").read_text())
    assert (marks["article"], marks["leave_out"]) == ("twill 220", [1])
    assert open_article(article).manifest.struck_out == ()  # the article file in use is as it was


@needs_chromium
def test_an_article_that_nobody_taught_is_said_and_a_roll_of_a_taught_one_begins_with_its_promise(
    browser, article, detector, tmp_path
):
    settings = tmp_path / "edge.toml"
    settings.write_text(f'[articles."twill 220"]\nreference = "{article}"\n[articles.denim]\n')
    more = ["--camera", LIVE, "--model", detector, "--config", settings, "--article", "denim"]
    with edge_run(tmp_path, "0", *more) as (_, address), tab_of(browser, address, 360, 760) as phone:
        said = "document.querySelector('#article strong').textContent"
        until(phone, f"{said} === 'denim: not taught yet.'")
        assert not phone.locator("#article a").is_visible()
        phone.locator("#next summary").tap()
        phone.fill("#next-article", "twill 220")
        phone.locator("#next button").tap()
        until(phone, f"{said} === 'twill 220: taught.'")
        assert phone.locator("#article a").is_visible()
        assert width_of(phone) <= 360
        assert phone.errors == []


@needs_chromium
def test_teaching_is_started_cancelled_and_started_again_at_the_desk_and_watched_on_the_phone(
    browser, detector, tmp_path
):
    settings = tmp_path / "edge.toml"
    settings.write_text(
        f'[auto_teach]\nfolder = "{tmp_path / "articles"}"\nstart = "asked"\n'
        "metres = 0.64\nfalse_alarms_per_100m = 100\n"
    )
    more = ["--camera", LIVE, "--model", detector, "--config", settings, "--article", "denim"]
    with edge_run(tmp_path, "0", *more) as (_, address), tab_of(browser, address, 1280, 800) as desk:
        said = "document.querySelector('#article strong').textContent"
        until(desk, f"{said} === 'denim: not taught yet.'")
        with tab_of(browser, address, 360, 760) as phone:
            desk.get_by_role("button", name="Teach this article").click()
            until(desk, f"{said} === 'denim is being learnt.'")
            assert "Until it is learnt, nothing stops the machine." in desk.inner_text("#article .more")
            phone.get_by_role("button", name="Cancel").tap()
            until(phone, f"{said} === 'denim: not taught yet.'")
            phone.get_by_role("button", name="Teach this article").tap()
            until(phone, "document.querySelector('#article progress').value > 0")
            assert phone.get_attribute("#article progress", "max") == "0.64"
            assert width_of(phone) <= 360
            until(phone, f"{said} === 'denim: taught.'")
            assert phone.inner_text("#article .more").startswith("At most 100 false alarms per 100 m")
            assert phone.get_by_role("button", name="Teach again").is_visible()
            assert phone.errors == []
        desk.get_by_role("link", name="Contact sheet").click()
        desk.wait_for_selector("#places button")
        assert desk.errors == []
    assert open_article(tmp_path / "articles" / "denim").manifest.article == "denim"


@needs_chromium
def test_cloth_that_was_taught_is_recognised_and_its_roll_started_at_the_desk_and_on_the_phone(
    browser, article, detector, tmp_path
):
    settings = tmp_path / "edge.toml"
    settings.write_text(f'[articles."twill 220"]\nreference = "{article}"\n[articles.denim]\n')
    clean = LIVE.replace("seed=7", "seed=3").replace("defects_per_m=8", "defects_per_m=0")
    camera = clean.replace("frames_hz=2", "frames_hz=4").replace("min=8", "min=16")
    more = ["--camera", camera, "--model", detector, "--config", settings, "--article", "denim"]
    with edge_run(tmp_path, "0", *more) as (_, address), tab_of(browser, address, 1280, 800) as desk:
        trouble = desk.locator(
            "#troubles li", has_text="This cloth looks like twill 220, which was taught."
        )
        trouble.get_by_role("button", name="New roll of twill 220").click()
        assert desk.input_value("#next-article") == "twill 220"
        assert desk.locator("#next button").evaluate("button => button === document.activeElement")
        with tab_of(browser, address, 360, 760) as phone:
            phone.get_by_role("button", name="New roll of twill 220").tap()
            assert width_of(phone) <= 360
            phone.locator("#next button").tap()
            said = "document.querySelector('#article strong').textContent"
            until(phone, f"{said} === 'twill 220: taught.'")
            until(phone, "!document.querySelector('#troubles').textContent.includes('looks like')")
            assert phone.errors == []
        assert desk.errors == []
