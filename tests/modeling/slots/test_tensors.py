"""Slots of several processor calls, concatenated as pipelines do with `batch_size`."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from soundclip_hf.modeling.slots.tensors import read_slots

# What one chat gives: sounds alone, pictures that share a sound, or pictures with a sound each; some pictures silent.
alone = st.integers(1, 3).map(lambda count: [(-1, sound) for sound in range(count)])
shared = st.integers(1, 3).map(lambda count: [(image, 0) for image in range(count)])
each = st.permutations(range(3)).map(lambda sounds: list(enumerate(sounds)))
last_silent = st.integers(1, 3).map(lambda count: [(0, 0), *((image, -1) for image in range(1, count))])
# A pipeline batches rows of the same keys: all have pictures, or none has.
with_pictures = st.one_of(shared, each, last_silent)
chats = st.one_of(*(st.lists(chat, min_size=1, max_size=5) for chat in (alone, with_pictures)))


def sizes(call):
    images = {image for image, _ in call if image >= 0}
    return len(images), len({sound for _, sound in call if sound >= 0})


@given(chats)
@settings(deadline=None, max_examples=200)
def test_rows_count_on_from_call_to_call(calls):
    expected, images, sounds = [], 0, 0
    for call in calls:
        expected += [
            (image + images if image >= 0 else -1, sound + sounds if sound >= 0 else -1) for image, sound in call
        ]
        images, sounds = images + sizes(call)[0], sounds + sizes(call)[1]
    joined = torch.tensor([pair for call in calls for pair in call])
    for rows in (joined, torch.tensor(expected)):
        slots = read_slots(rows, images, sounds)
        assert [(slot.image, slot.sound) for slot in slots] == expected
        assert [slot.index for slot in slots] == list(range(len(expected)))


@pytest.mark.parametrize(
    ("rows", "images", "sounds"),
    [
        ([(0, 0), (0, 0)], 1, 2),  # one picture too few for two calls
        ([(0, 0), (0, 0)], 2, 1),
        ([(0, 0), (0, 1)], 2, 2),  # the second call would begin with its sound 1
        ([(1, 0), (1, 0)], 2, 2),
        ([(0, -1), (0, -1)], 2, 1),
    ],
)
def test_what_fits_no_reading_is_refused(rows, images, sounds):
    with pytest.raises(ValueError, match="sound_slots names the"):
        read_slots(torch.tensor(rows), images, sounds)
