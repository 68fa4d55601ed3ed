"""The page in a real browser, from file://: it loads, plays, filters, turns pages, and runs no caption's script."""

import shutil

import pytest
from ave2_rows import rows
from media_files import grey_frames, tone, write_media

from soundclip_hf.data.ave2.tables import write_parquet
from soundclip_hf.data.viewer.view import write_page

pytest.importorskip("pyarrow")
playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium, chromium-browser or google-chrome on PATH"),
]
EVIL = "<script>window.hacked = 1</script><img src=x onerror='window.hacked = 1'>"


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def made():
    given = rows(10_000)
    for row in given[::5]:
        row["audio_caption"] = f"{EVIL} a dog barks"
    given[2]["visible_active_sources"] = [EVIL]
    return given


@pytest.fixture(scope="module")
def page(browser, made, tmp_path_factory):
    folder = tmp_path_factory.mktemp("look at this")
    write_parquet(made, folder / "t.parquet")
    options = {"samples": tone(3, 16000), "rate": 16000, "frames": grey_frames(15), "fps": 5}
    # Codecs that every build of Chromium plays.
    write_media(folder / "video-00000_01.mp4", video="libvpx-vp9", audio="libopus", **options | {"rate": 48000})
    (folder / "video-00000_02.mp4").write_bytes(b"no clip")
    write_page(folder / "t.parquet", folder / "page", media=folder)
    opened = browser.new_page(viewport={"width": 1280, "height": 1000})
    opened.faults, opened.asked = [], []
    opened.on("console", lambda message: opened.faults.append(message.text))
    opened.on("pageerror", lambda error: opened.faults.append(str(error)))
    opened.on("request", lambda request: opened.asked.append(request.url))
    opened.goto((folder / "page" / "index.html").as_uri())
    expect_count(opened, "1–20 of 10,000 rows")
    return opened


@pytest.fixture(autouse=True)
def _clear(page):
    page.click("button[type=reset]")
    expect_count(page, "1–20 of 10,000 rows")


def expect_count(page, text):
    playwright.expect(page.locator("#count")).to_have_text(text, timeout=20_000)


def count_of(matching):
    return f"1–{min(20, len(matching))} of {len(matching):,} rows"


def test_it_loads_only_its_own_files(page):
    assert {url.split(":")[0] for url in page.asked} == {"file"}
    assert page.locator("article").count() == 20
    assert page.locator("h2").first.inner_text().startswith("video-00000_01")


def test_clips_play_and_broken_ones_say_so(page):
    video = page.locator("video").first
    playwright.expect(video).to_have_js_property("readyState", 4)
    assert video.evaluate("clip => clip.duration") == pytest.approx(3, abs=0.2)
    playwright.expect(page.locator("article").nth(1)).to_contain_text("this clip cannot be played")
    playwright.expect(page.locator("article").nth(2)).to_contain_text("no clip here (missing)")
    page.check("[name=clips]")
    expect_count(page, "1–2 of 2 rows")


def test_captions_are_text(page):
    playwright.expect(page.locator("article").first).to_contain_text(EVIL)
    playwright.expect(page.locator("article").nth(2).locator("li").first).to_have_text(EVIL)
    assert page.evaluate("window.hacked") is None
    assert page.locator("main img, main script").count() == 0


def test_filters(page, made):
    page.fill("[name=min-0]", "8")
    matching = [row for row in made if (row["temporal_alignment_score"] or 0) >= 8]
    expect_count(page, count_of(matching))
    page.select_option("[name=type]", "visible_silent")
    matching = [row for row in matching if row["segment_type"] == "visible_silent"]
    expect_count(page, count_of(matching))
    page.fill("[name=text]", "DOG barks")
    matching = [row for row in matching if "a dog barks" in row["audio_caption"]]
    expect_count(page, count_of(matching))
    page.fill("[name=min-5]", "9.9")
    expect_count(page, "0 rows")
    playwright.expect(page.locator("main")).to_have_text("No row fits these filters.")
    page.click("button[type=reset]")
    page.select_option("[name=type]", "none")
    expect_count(page, count_of([row for row in made if row["segment_type"] is None]))
    page.fill("[name=min-0]", "0")
    expect_count(page, "0 rows")  # no score is not a score of 0


def test_order_and_pages(page, made):
    overall = [row["overall_score"] for row in made if row["overall_score"] is not None]
    for order, value in (("best", max(overall)), ("worst", min(overall))):
        page.select_option("[name=order]", order)
        playwright.expect(page.locator(".scores b").nth(5)).to_have_text(f"{value:.1f}")
    page.select_option("[name=order]", "")
    page.click("#next")
    expect_count(page, "21–40 of 10,000 rows")
    assert page.locator("h2").first.inner_text().startswith(made[20]["sample_id"])
    page.fill("#page", "9999")
    page.press("#page", "Enter")
    expect_count(page, "9981–10000 of 10,000 rows")
    assert page.locator("#next").is_disabled()
    page.fill("[name=text]", made[7]["sample_id"])
    expect_count(page, "1–1 of 1 rows")


def test_nothing_went_wrong(page):
    assert [fault for fault in page.faults if "ERR_" not in fault] == []
