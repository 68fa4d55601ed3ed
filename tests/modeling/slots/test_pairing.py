"""Pairing rules: none, one for every image, or one per image."""

import numpy as np
import pytest
import torch

from soundclip_hf.modeling.slots.pairing import is_sound, pair_batch, pair_sounds
from soundclip_hf.modeling.slots.slot import Slot

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
    batch = pair_batch(counts, audio, 16000, markers)
    assert [[slot.sound for slot in sample] for sample in batch.samples] == expected
    assert all(slot.has_image == (count > 0) for sample, count in zip(batch.samples, counts) for slot in sample)
    assert [slot.index for slot in batch.slots] == list(range(sum(batch.sizes)))
    assert [slot.image for slot in batch.slots if slot.has_image] == list(range(sum(counts)))
    assert batch.num_images == sum(counts)
    assert len(batch.sounds) == max(max(sample, default=-1) for sample in expected) + 1


def test_one_sound_for_two_images_may_have_a_marker_each():
    assert pair_batch([2], [[A]], None, [2]).samples == [[Slot(0, image=0, sound=0), Slot(1, image=1, sound=0)]]


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
        pair_batch(counts, audio, None, markers)
