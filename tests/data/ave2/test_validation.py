"""Every bad row is reported with its reason, and good rows are not."""

import pytest
from ave2_rows import rows

from soundclip_hf.data.ave2.schema import SCORES, complete
from soundclip_hf.data.ave2.validation import BadRow, faults, validate

# column, value, what a reason says
FAULTS = [
    ("sample_id", "other_01", "give 'video-00000_01'"),
    ("sample_id", None, "sample_id is null"),
    ("youtube_id", "", "youtube_id is empty"),
    ("youtube_id", 7, "youtube_id=7 is int, not text"),
    ("segment", 0, "segments count from 1"),
    ("segment", 200, "does not fit into int8"),
    ("segment", "01", "segment='01' is str, not an integer"),
    ("segment_start_time", -1.0, "negative"),
    ("segment_end_time", 10.0, "lasts 10 s, not 3"),
    ("segment_end_time", float("nan"), "not a finite number"),
    ("youtube_start_time", 31.0, "clip_start_time + segment_start_time is 30"),
    ("youtube_end_time", None, "clip_start_time + segment_end_time is 33"),
    ("retrieved_at", "yesterday", "no date and time of ISO 8601"),
    ("media_sha256", "ABC", "no SHA-256"),
    ("media_status", "gone", "none of ok, missing"),
    ("media_status", 8, "none of ok, missing"),
    ("judge_mode", "guess", "none of captions, media"),
    ("judge_prompt_sha256", "0", "no SHA-256"),
    ("temporal_alignment_score", 11, "outside 0..10"),
    ("temporal_alignment_score", -1, "outside 0..10"),
    ("temporal_alignment_score", 8.5, "is float, not an integer"),
    ("temporal_alignment_score", True, "is bool, not an integer"),
    ("overall_score", 9.9, "the row's scores and lists give"),
    ("overall_score", None, "the row's scores and lists give"),
    ("segment_type", "all", "give 'visible_only'"),
    ("segment_type", None, "give 'visible_only'"),
    ("segment_type", "everything", "none of visible_only"),
    ("has_visible", False, "give True"),
    ("has_visible", 1, "not true or false"),
    ("visible_active_sources", "man, dog", "not a list of names"),
    ("visible_active_sources", ["man", " "], "is no name"),
    ("audio_caption", 3, "not text"),
]


@pytest.mark.parametrize(("column", "value", "words"), FAULTS)
def test_each_fault_has_its_reason(column, value, words):
    row = rows(1)[0] | {column: value}
    found = [reason for reason in faults(row) if words in reason]
    assert len(found) == 1
    assert column.split("_")[0] in found[0]


def test_good_rows_pass_by_name_and_by_number():
    assert list(validate(rows())) == []
    assert faults(rows(1)[0] | {"segment_type": 0, "media_status": 1}) == []


def test_every_bad_row_is_reported_with_all_its_reasons():
    given = rows(12)
    given[2] = given[2] | {"temporal_alignment_score": 12, "audio_caption": 5}
    given[5] = {name: value for name, value in given[5].items() if name != "split"} | {"splitt": "train"}
    given[7] = given[6]
    bad = list(validate(given))
    assert [row.index for row in bad] == [2, 5, 7]
    assert bad[0].reasons == (
        "audio_caption=5 is int, not text",
        "temporal_alignment_score=12 is outside 0..10",
    )
    assert bad[1].reasons == ("split is missing", "splitt is no column of the schema")
    assert bad[2] == BadRow(7, "video-00002_01", ("sample_id 'video-00002_01' is already that of row 6",))


def test_a_failed_judgement_is_null_and_a_row_of_zeros_is_a_judgement():
    failed, zeros = complete({"youtube_id": "abc", "segment": 1}), rows(10)[3]
    assert failed["segment_type"] is None
    assert faults(failed) == faults(zeros) == []
    assert failed["overall_score"] is None
    assert zeros["overall_score"] == 0
    assert len(faults(failed | dict.fromkeys(SCORES, 0))) == 1  # overall_score must follow
