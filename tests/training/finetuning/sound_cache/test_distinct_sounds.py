"""Sounds of rows are told apart without opening them."""

import os

import pytest
import torch
from media_files import pcm_wav
from tiny_processors import sound

from soundclip_hf.modeling.slots.slot import VideoSound
from soundclip_hf.training.finetuning.rows import Rows, SyntheticRows
from soundclip_hf.training.finetuning.sound_cache.distinct_sounds import DistinctSounds
from soundclip_hf.training.settings_parser import ArgumentsError

CONTENT = pcm_wav(sound(0.3, seed=9)[:, None], 16_000)


def numbers_of(sounds, part):
    starts, numbers = sounds.of(part)
    return [numbers[starts[row] : starts[row + 1]].tolist() for row in range(len(part.rows))]


def test_each_distinct_sound_has_one_number(forms, collator_of, processor):
    rows, expected = zip(*forms)
    sounds = DistinctSounds([Rows(rows)], collator_of(processor))
    assert numbers_of(sounds, Rows(rows)) == list(expected)
    assert len(sounds) == 8
    assert isinstance(sounds[2].source, VideoSound)
    assert sounds[7].rate == 8_000
    # The order of a data set counts, not which of its rows are held out.
    marked = torch.arange(len(rows)) % 3 == 0
    whole = Rows(rows)
    parts = DistinctSounds([whole.part(~marked), whole.part(marked)], collator_of(processor))
    assert parts.identity() == sounds.identity()


def test_a_row_that_is_no_conversation_has_no_sound(collator_of, processor):
    rows = [
        {"audio": "0.wav"},
        {"messages": [{"role": "user", "content": [{"type": "audio"}]}, {"role": "assistant", "content": "A."}]},
        {"question": "What?", "answer": "A.", "audio": "1.wav"},
    ]
    sounds = DistinctSounds([Rows(rows)], collator_of(processor))
    assert numbers_of(sounds, Rows(rows)) == [[], [], [0]]


def test_the_identity_changes_with_the_files(collator_of, processor, tmp_path):
    rows = [{"question": "What?", "answer": "A.", "audio": "s.wav"}]
    path = tmp_path / "s.wav"
    path.write_bytes(CONTENT)
    found = {DistinctSounds([Rows(rows)], collator_of(processor, media_folder=tmp_path)).identity()}
    os.utime(path, ns=(1, 1))
    found.add(DistinctSounds([Rows(rows)], collator_of(processor, media_folder=tmp_path)).identity())
    path.write_bytes(CONTENT + b"\0\0")
    found.add(DistinctSounds([Rows(rows)], collator_of(processor, media_folder=tmp_path)).identity())
    more = [*rows, {**rows[0], "audio": CONTENT}]
    found.add(DistinctSounds([Rows(more)], collator_of(processor, media_folder=tmp_path)).identity())
    assert len(found) == 4


def test_synthetic_scenes_are_known_without_drawing_them(collator_of, processor, monkeypatch):
    rows = Rows(SyntheticRows(7))
    monkeypatch.setattr(SyntheticRows, "__getitem__", lambda self, index: pytest.fail("drawn"))
    assert numbers_of(DistinctSounds([rows], collator_of(processor)), rows) == [[0]] * 3 + [[1]] * 3 + [[2]]


def test_a_sound_of_an_unknown_kind_is_refused(collator_of, processor):
    class Decoder:
        def get_all_samples(self):
            raise AssertionError

    rows = [{"question": "What?", "answer": "A.", "audio": Decoder()}]
    with pytest.raises(ArgumentsError, match="row 0 has a sound of type Decoder, which cannot be told from others"):
        DistinctSounds([Rows(rows)], collator_of(processor))
