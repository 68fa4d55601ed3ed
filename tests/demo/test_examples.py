"""The clips that the page begins with."""

import numpy as np
import pytest

from soundclip_hf.bundled import CLIP
from soundclip_hf.data.synthetic import scene
from soundclip_hf.data.synthetic.sample_files import PICTURE_SCENE
from soundclip_hf.demo.examples import examples_of
from soundclip_hf.media import read_clip


def test_they_are_named_after_what_sounds(desk):
    assert [one.name for one in desk.examples][:4] == ["clock", "cow", "bird", "phone"]
    for one in desk.examples:
        found = read_clip(one.heard, sampling_rate=16000)
        assert found.waveform.any() == (one.name != "nothing sounds")
        assert desk.frame_of(one).size == (256, 256)


def test_the_bundled_clip_is_this_scene():
    """Up to H.264's losses: the picture with another sound is its picture."""
    frame = np.asarray(read_clip(CLIP).frame, dtype=float)
    assert np.abs(frame - scene(PICTURE_SCENE).picture).mean() < 10


def test_a_folder_of_ones_own(desk, example_folder, tmp_path):
    found = examples_of(example_folder)
    assert {one.name for one in found} == {one.name for one in desk.examples}
    with pytest.raises(ValueError, match="neither clips, nor pictures with sounds"):
        examples_of(tmp_path)
