"""The page in a real browser, served by the command as a user starts it, without any request to another machine."""

import io
import json
import os
import re
import select
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from soundclip_hf.bundled import CLIP

pytest.importorskip("gradio")
playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium, chromium-browser or google-chrome on PATH"),
]
PATIENCE = 120_000  # ms: the machine may be busy
expect = playwright.expect


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    temporary = tmp_path_factory.mktemp("temporary")
    process = subprocess.Popen(
        [sys.executable, "-m", "soundclip_hf.cli", "demo", "--port", "0", "--json"],
        stdout=subprocess.PIPE,
        env={**os.environ, "TMPDIR": str(temporary)},
        text=True,
    )
    assert process.stdout is not None
    assert select.select([process.stdout], [], [], 300)[0], "it does not start"
    yield json.loads(process.stdout.readline())["url"]
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 0
    assert not list(temporary.glob("soundclip-demo-*"))


@pytest.fixture(scope="module")
def browser():
    # The microphone of Chromium's tests plays a beep every second.
    fake = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", *fake])
        yield opened
        opened.close()


@pytest.fixture
def page(browser, url):
    opened = browser.new_page(viewport={"width": 1200, "height": 900})
    opened.set_default_timeout(PATIENCE)
    faults, asked = [], []
    opened.on("pageerror", lambda error: faults.append(str(error)))
    opened.on("request", lambda request: asked.append(request.url))
    opened.goto(url)
    expect(opened.locator("#ask")).to_be_visible(timeout=PATIENCE)
    yield opened
    opened.close()
    assert not faults
    own = (url, "data:", f"blob:{url}")
    assert not [address for address in asked if not address.startswith(own)]


def upload(page, place, path):
    page.locator(f"{place} input[type=file]").set_input_files(str(path))


def pixels(page):
    """Of the overlay, once it is drawn."""
    picture = page.locator("#overlay img")
    expect(picture).to_be_visible(timeout=PATIENCE)
    sent = page.request.get(picture.get_attribute("src")).body()
    return np.asarray(Image.open(io.BytesIO(sent)).convert("RGB"), dtype=float)


def kept(page, count):
    expect(page.locator("#legend")).to_contain_text(f"{count} of 64 patches are kept", timeout=PATIENCE)


def test_a_clip_is_asked_about(page):
    upload(page, "#clip", CLIP)
    kept(page, 8)
    before = pixels(page)
    page.locator("#ask").click()
    expect(page.locator("#answer textarea")).to_have_value("The clock.", timeout=PATIENCE)
    expect(page.locator("#about")).to_contain_text("8 of 64 patches are kept, the others are zero")

    page.locator("#k input[type=number]").fill("24")
    page.keyboard.press("Tab")
    kept(page, 24)
    assert np.abs(pixels(page) - before).mean() > 0.5
    expect(page.locator("#answer textarea")).to_have_value("The clock.")  # it is still about this clip

    page.get_by_role("tab", name="Did it hear?").click()
    page.locator("#hear").click()
    rows = page.locator("#hearing tbody tr")
    expect(rows).to_have_count(4, timeout=PATIENCE)
    expect(rows.nth(0)).to_contain_text("The clock.")
    expect(rows.nth(2)).to_contain_text("The cow.")

    page.get_by_role("tab", name="Search").click()
    page.locator("#search").click()
    expect(page.locator("#found .sc-card")).to_have_count(6, timeout=PATIENCE)
    expect(page.locator("#found")).to_contain_text("clock.mp4")
    page.get_by_label("its picture finds sounds").check()
    page.locator("#search").click()
    expect(page.locator("#found audio").first).to_have_js_property("readyState", 4, timeout=PATIENCE)


def test_a_broken_file_is_named(page, tmp_path):
    """At once in the place of the patches, and again as a message to whoever asks nevertheless."""
    (tmp_path / "broken.mp4").write_bytes(b"no clip")
    upload(page, "#clip", tmp_path / "broken.mp4")
    said = re.compile(r"broken\.mp4: cannot be read")
    expect(page.locator("#legend")).to_contain_text(said, timeout=PATIENCE)
    page.locator("#ask").click()
    expect(page.locator(".toast-body", has_text=said)).to_be_visible(timeout=PATIENCE)
    expect(page.get_by_text("Error", exact=True)).to_be_hidden()
    assert str(tmp_path) not in page.locator("body").inner_text()
    assert "gradio/" not in page.locator("body").inner_text()
    # The page goes on.
    page.get_by_label("Thumbnail 1 of").click()
    kept(page, 8)


def test_nothing_given_is_said(page):
    page.locator("#ask").click()
    expect(page.locator(".toast-body").first).to_contain_text("There is no picture and no sound", timeout=PATIENCE)


def test_an_example_of_a_picture_with_another_sound(page):
    """New media take the old answer away."""
    page.get_by_label("Thumbnail 1 of").click()
    kept(page, 8)
    page.locator("#ask").click()
    expect(page.locator("#answer textarea")).to_have_value("The clock.", timeout=PATIENCE)
    page.get_by_label("Thumbnail 9 of").click()
    expect(page.locator("#answer textarea")).to_have_value("")
    expect(page.locator("#sound")).to_be_visible()
    page.locator("#ask").click()
    expect(page.locator("#answer textarea")).to_have_value("The piano.", timeout=PATIENCE)


def test_the_microphone(page):
    page.get_by_label("A picture and a sound").check()
    sound = page.locator("#sound")
    sound.get_by_label("Record audio").click()
    sound.get_by_role("button", name="Record", exact=True).click()
    page.wait_for_timeout(2500)
    sound.get_by_role("button", name="Stop", exact=True).click()
    expect(page.locator("#legend")).to_contain_text("There is no picture", timeout=PATIENCE)
    page.locator("#ask").click()
    expect(page.locator("#about")).to_contain_text("s of sound · without a picture", timeout=PATIENCE)


@pytest.mark.parametrize("width", [400, 1200])
def test_nothing_is_wider_than_the_window(page, width):
    page.set_viewport_size({"width": width, "height": 900})
    page.get_by_label("Thumbnail 1 of").click()
    kept(page, 8)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
