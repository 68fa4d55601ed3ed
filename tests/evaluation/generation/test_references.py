"""Which texts of a row are its reference, and which names its sources."""

import pytest

from soundclip_hf.evaluation.generation.references import find_references, reference_of, sources_of
from soundclip_hf.evaluation.samples import Sample, Samples

FULL = {"audio_visual_label": "a dog ", "video_caption": "A dog.", "audio_caption": "Barking."}


def samples(*rows: dict) -> Samples:
    ids = [f"s{number}" for number in range(len(rows))]
    return Samples("mine", lambda index: Sample(ids[index], ids[index], rows[index]), ids, ids)


@pytest.mark.parametrize(
    ("row", "choice", "expected"),
    [
        (FULL, "auto", ("a dog", "audio_visual_label")),
        ({**FULL, "audio_visual_label": " "}, "auto", ("A dog. Barking.", "video+audio")),
        ({"video_caption": "A dog.", "audio_caption": None}, "auto", None),
        (FULL, "video_caption", ("A dog.", "video_caption")),
        (FULL, "audio_caption", ("Barking.", "audio_caption")),
        (FULL, "video+audio", ("A dog. Barking.", "video+audio")),
        ({}, "audio_caption", None),
    ],
)
def test_reference_of_a_row(row, choice, expected):
    assert reference_of(row, choice) == expected


def test_references_of_a_set_say_what_was_used():
    rows = [FULL, {**FULL, "audio_visual_label": None}]
    texts, used = find_references(samples(*rows), rows, "auto")
    assert texts == ["a dog", "A dog. Barking."]
    assert used == {"audio_visual_label": 1, "video+audio": 1}
    assert find_references(samples({}, {}), [{}, {}], "auto") == ([], {})


def test_missing_references_are_counted():
    rows = [FULL, {}, {"video_caption": "x"}]
    with pytest.raises(ValueError, match=r"reference='auto': 2 of 3 rows of mine have no audio_visual_label, .* s1"):
        find_references(samples(*rows), rows, "auto")
    with pytest.raises(ValueError, match="1 of 3 rows of mine have no video_caption; the first is s1"):
        find_references(samples(*rows), rows, "video_caption")
    with pytest.raises(ValueError, match="3 of 3 rows of mine have no audio_caption"):
        find_references(samples({}, {}, {}), [{}, {}, {}], "audio_caption")
    with pytest.raises(ValueError, match="reference='title': must be one of auto, "):
        find_references(samples(), [], "title")


def test_sources_are_those_that_sound():
    row = {"visible_active_sources": ["dog"], "invisible_active_sources": ["bell"], "visible_silent_objects": ["car"]}
    assert sources_of(row) == ["dog", "bell"]
    assert sources_of({"visible_active_sources": None}) == []
