"""HTML of the page: what comes from visitors and files is text, never markup."""

from PIL import Image

from soundclip_hf.demo import markup
from soundclip_hf.demo.hearing import Hearing
from soundclip_hf.demo.searching import Found

EVIL = "<img src=x onerror='alert(1)'>"


def test_nothing_of_a_visitor_is_markup():
    same = {"answer": EVIL, "moved": 0.25, "change": 1.0, "kept_overlap": 0.5}
    hearing = Hearing(EVIL, {"silent": same, "swapped": same, "none": None}, None, None, EVIL, 1e-3)
    found = Found(0.5, EVIL, Image.new("RGB", (8, 8)), None, EVIL)
    pages = [markup.hearing_table(hearing), markup.cards([found]), markup.line(EVIL, [EVIL]), markup.empty(EVIL)]
    assert not [page for page in pages if "<img src=x" in page]
    assert all("&lt;img src=x" in page for page in pages)


def test_numbers_of_the_table():
    found = {"answer": "A dog.", "moved": 0.254, "change": 1.0, "kept_overlap": 0.5}
    hearing = Hearing("A cat.", {"silent": found, "swapped": found, "none": None}, None, None, "dog", 1e-3)
    table = markup.hearing_table(hearing)
    assert table.count("25 %") == 3  # the sentence and two rows
    assert table.count("width: 25.4%") == 2
    assert table.count("50 %") == 2
    assert "the same as its own sound" in table
