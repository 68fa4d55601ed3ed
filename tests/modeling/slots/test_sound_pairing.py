"""Pairing rules: none, one for every image, or one per image; budgets per slot."""

import numpy as np
import pytest
import torch

from soundclip_hf.modeling.slots.budget import slot_budgets
from soundclip_hf.modeling.slots.geometry import image_slot, sound_only_slot
from soundclip_hf.modeling.slots.pairing import PairedSlot, SoundPlan, is_sound, pair_sounds, plan_sounds

A, B, C = "a.wav", "b.wav", "c.wav"
WAVE = np.zeros(8)


@pytest.mark.parametrize("value", [A, b"RIFF", WAVE, {"array": WAVE}, [0.0, 0.5], (WAVE, 16000), torch.zeros(8)])
def test_one_sound_is_no_list_of_sounds(value):
    assert is_sound(value)


@pytest.mark.parametrize("value", [None, [], [A], [None], [WAVE], [[0.0, 0.5]]])
def test_lists_of_sounds(value):
    assert not is_sound(value)


@pytest.mark.parametrize(
    ("images", "sounds", "expected"),
    [
        (2, [], [-1, -1]),
        (2, [None], [-1, -1]),
        (2, [None, None], [-1, -1]),
        (0, [], []),
        (0, [None], []),
        (0, [A, B], [0, 1]),
        (1, [A], [0]),
        (3, [A], [0, 0, 0]),
        (2, [A, B], [0, 1]),
        (2, [None, B], [-1, 1]),
    ],
)
def test_pairs_of_one_sample(images, sounds, expected):
    assert pair_sounds(images, sounds, "sample 0") == expected


@pytest.mark.parametrize(
    ("images", "sounds", "message"),
    [
        (3, [A, B], "sample 4: 2 sounds for 3 images"),
        (1, [A, B], "sample 4: 2 sounds for 1 image\\."),
        (2, [A, B, C], "sample 4: 3 sounds for 2 images"),
        (0, [None, A], "sample 4: None marks a silent image, but there are 0 images and 2 sounds"),
    ],
)
def test_other_numbers_name_both_counts(images, sounds, message):
    with pytest.raises(ValueError, match=message):
        pair_sounds(images, sounds, "sample 4")


@pytest.mark.parametrize(
    ("counts", "audio", "markers", "expected"),
    [
        ([1], A, [1], [[0]]),
        ([1], [A], [1], [[0]]),
        ([1], [[A]], [1], [[0]]),
        ([2], [A, B], [2], [[0, 1]]),
        ([2], [[None, A]], [1], [[-1, 0]]),
        ([1, 1], [A, None], [1, 0], [[0], [-1]]),
        ([1, 1], [[A], []], [1, 0], [[0], [-1]]),
        ([1, 1], [[], A], [0, 1], [[-1], [0]]),
        ([2, 1, 0, 0], [[A], [None], [B, C], []], [1, 0, 2, 0], [[0, 0], [-1], [1, 2], []]),
        ([2, 1], [A, B, C], [2, 1], [[0, 1], [2]]),
        ([1, 2], [A, B], [0, 2], [[-1], [0, 1]]),
        ([1, 2], [A, B], None, [[0], [1, 1]]),
    ],
)
def test_samples_of_a_batch(counts, audio, markers, expected):
    plan = plan_sounds(counts, audio, 16000, markers)
    assert [[slot.sound for slot in sample] for sample in plan.samples] == expected
    assert all(slot.has_image == (count > 0) for sample, count in zip(plan.samples, counts) for slot in sample)
    assert len(plan.sounds) == max(max(sample, default=-1) for sample in expected) + 1


def test_one_sound_for_two_images_may_have_a_marker_each():
    assert plan_sounds([2], [[A]], None, [2]).samples == [[PairedSlot(True, 0), PairedSlot(True, 0)]]


@pytest.mark.parametrize(
    ("counts", "audio", "markers", "message"),
    [
        ([1, 1, 1], [A, B], [1, 0, 0], "`audio` has 2 entries for 3 samples"),
        ([1, 1], A, [1, 1], "`audio` has 1 entries for 2 samples"),
        ([1], None, [1], "sample 0: 1 <audio> in the text, but no sound"),
        ([1, 1], [[A], []], [1, 1], "sample 1: 1 <audio> in the text, but no sound"),
        ([1], [[A]], [0], "sample 0: 1 sound but 0 <audio> in the text"),
        ([0], [[A, B]], [1], "sample 0: 2 sounds but 1 <audio> in the text"),
        ([3], [[A]], [2], "sample 0: 1 sound but 2 <audio>"),
    ],
)
def test_batches_that_do_not_fit(counts, audio, markers, message):
    with pytest.raises(ValueError, match=message):
        plan_sounds(counts, audio, None, markers)


PLAN = SoundPlan([[PairedSlot(True, 0), PairedSlot(True)], [PairedSlot(False, 1)]], [(A, None), (B, None)])
GEOMETRIES = [image_slot(4, (40, 60), [[28, 56], [56, 56]], 28)] * 2 + [sound_only_slot(4)]


@pytest.mark.parametrize(
    ("top_k", "expected"),
    [
        (3, [3, -1, 3]),
        (0, [0, -1, 0]),
        (np.int64(16), [16, -1, 16]),
        (torch.tensor([1, 2, 3]), [1, -1, 3]),
        ([1, 999, 3], [1, -1, 3]),
        ([[1, None], [3]], [1, -1, 3]),
        ([[None, None], 3], [5, -1, 3]),
        (None, [5, -1, 5]),
    ],
)
def test_budgets(top_k, expected):
    assert slot_budgets(top_k, PLAN, GEOMETRIES, "tile", 5) == expected


def test_the_default_budget_fits_small_towers_and_a_wide_one_fits_sounds_without_image():
    assert slot_budgets(None, PLAN, GEOMETRIES, "tile", 150) == [16, -1, 16]
    assert slot_budgets(80, PLAN, GEOMETRIES, "image", 5) == [80, -1, 16]


@pytest.mark.parametrize(
    ("top_k", "message"),
    [
        (-1, "sound_top_k=-1: must be in 0..16, the patches of slot 0"),
        (17, "sound_top_k=17: must be in 0..16"),
        ([1, 2, 17], "sound_top_k=17: must be in 0..16, the patches of slot 2"),
        (1.5, "sound_top_k=1.5: must be an int"),
        (True, "sound_top_k=True: must be an int"),
        ("3", "sound_top_k='3': must be an int"),
        ([1, 2], "sound_top_k has 2 entries for 3 slots"),
        ([[1], [2]], r"sound_top_k has \[1, 1\] values per sample, the samples have \[2, 1\] slots"),
    ],
)
def test_bad_budgets(top_k, message):
    with pytest.raises(ValueError, match=message):
        slot_budgets(top_k, PLAN, GEOMETRIES, "tile", 5)
