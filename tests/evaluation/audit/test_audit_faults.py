"""Faults that are built into models that hear: the audit catches each, and names it."""

import pytest
from audit_subjects import (
    blank_first_row,
    bundled,
    drop_first_row,
    feed_zeros,
    glm_asr,
    hear_presence,
    lose_every_second,
    lose_sound,
    qwen2_audio,
    scenes,
    shift_sounds,
    zero_batches,
)

from soundclip_hf.evaluation.audit import AuditReport, AuditSettings, audit

SETTINGS = AuditSettings(max_new_tokens=8, pairing=4)


def names(report: AuditReport) -> list[str]:
    return [fault.name for fault in report.faults]


def run(subject, limit: int = 4) -> AuditReport:
    return audit(subject, scenes(limit), SETTINGS)


@pytest.mark.parametrize("make", [bundled, qwen2_audio, glm_asr])
def test_a_model_that_hears_has_no_fault(make):
    report = run(make())
    assert report.faults == []
    assert report.hears["total"] > 0.01
    assert all(row["heard"] is None for row in report.pairing)


def test_both_channels_of_the_bundled_model_carry_sound():
    hears = run(bundled()).hears
    assert set(hears) == {"total", "token", "patches"}
    assert hears["token"] > 0.1
    assert hears["patches"] > 0


@pytest.mark.parametrize("fault", [drop_first_row, blank_first_row])
def test_the_token_of_the_sound_is_lost(fault):
    """The patches still follow the sound, so the total alone would not show it."""
    subject = bundled()
    fault(subject)
    report = run(subject)
    assert names(report) == ["token"]
    assert report.hears["token"] == 0
    assert report.hears["patches"] > 0
    assert report.result.metrics["total"]["swapped"]["reached"] == 1
    assert report.result.metrics["total"]["swapped"]["kept_overlap"] < 0.9


def test_the_sound_is_missing_from_the_inputs():
    subject = bundled()
    lose_sound(subject)
    report = run(subject)
    assert names(report) == ["inputs"]
    assert "without any sound" in report.faults[0].text
    assert set(report.hears.values()) == {0}
    assert report.result.metrics["total"]["none"]["reached"] == 0


@pytest.mark.parametrize("make", [qwen2_audio, glm_asr])
@pytest.mark.parametrize("fault", [lose_sound, zero_batches])
def test_any_model_whose_sound_is_missing_from_the_inputs(make, fault):
    """Its prompt keeps the placeholders of a sound, and so differs from one without."""
    subject = make()
    fault(subject)
    report = run(subject)
    assert names(report) == ["inputs"]
    assert "neither does any tensor" in report.faults[0].text
    assert report.hears == {"total": 0}


@pytest.mark.parametrize("make", [bundled, qwen2_audio])
def test_the_encoder_is_fed_zeros(make):
    subject = make()
    feed_zeros(subject)
    report = run(subject)
    assert names(report) == ["deaf"]
    assert set(report.hears.values()) == {0}


@pytest.mark.parametrize("make", [bundled, qwen2_audio])
def test_the_encoder_says_the_same_of_every_sound(make):
    subject = make()
    hear_presence(subject)
    assert names(run(subject)) == ["presence"]


@pytest.mark.parametrize("make", [bundled, qwen2_audio])
def test_some_rows_of_a_batch_lose_their_sound(make):
    subject = make()
    lose_every_second(subject)
    report = run(subject)
    assert names(report) == ["unheard", "batch"]
    second, fourth = (report.examples[index]["id"] for index in (1, 3))
    assert f"2 of 4 samples the answer does not depend on the sound ({second}, {fourth})" in report.faults[0].text


@pytest.mark.parametrize("make", [bundled, qwen2_audio, glm_asr])
@pytest.mark.parametrize("limit", [2, 4])
def test_sounds_are_paired_with_the_wrong_prompts(make, limit):
    """No condition shows it: each sound changes an answer, but not that of its own prompt."""
    subject = make()
    shift_sounds(subject)
    report = run(subject, limit)
    assert names(report) == ["pairing"]
    ids = [row["id"] for row in report.pairing]
    assert [row["heard"] for row in report.pairing] == [ids[-1], *ids[:-1]]
    assert report.result.metrics["total"]["swapped"]["reached"] == 1
