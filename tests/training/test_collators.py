"""Media become batches; what cannot be read is logged, counted and left out."""

import logging

import numpy as np
import pytest
import torch
from alignment_parts import picture, sound_bytes
from media_files import write_media
from PIL import Image
from tiny_processors import tiny_feature_extractor, tiny_image_processor

from soundclip_hf import SoundClipProcessor
from soundclip_hf.training.collators import PairCollator, collate_cached
from soundclip_hf.training.pairs import Pair


@pytest.fixture
def collate():
    return PairCollator(SoundClipProcessor(tiny_image_processor("llava"), tiny_feature_extractor()))


def test_all_kinds_of_sources(collate, tmp_path):
    clip = str(write_media(tmp_path / "a.mp4", video="libx264", audio="aac"))
    (tmp_path / "a.wav").write_bytes(sound_bytes(0))
    sound = {"array": np.zeros(8000, np.float32) + 0.1, "sampling_rate": 16000}
    pairs = [
        Pair(3, audio=sound_bytes(1), image=picture(1)),
        Pair(5, video=clip),
        Pair(6, audio=str(tmp_path / "a.wav"), video=clip),
        Pair(9, audio=sound, image=np.asarray(picture(2))),
    ]
    batch = collate(pairs)
    assert batch["rows"].tolist() == [3, 5, 6, 9]
    assert batch["bad"].tolist() == []
    assert batch["pixel_values"].shape == (4, 3, 28, 28)
    assert batch["input_features"].shape[:2] == (4, 1)
    real = batch["input_features_mask"].sum((1, 2))
    assert real[1] > real[0] == real[2]  # the row's own sound goes before the clip's


def test_photos_are_upright(collate, tmp_path):
    """A camera stores how it was held beside the pixels."""
    exif = Image.Exif()
    exif[0x112] = 6
    picture(1).save(tmp_path / "upright.png")
    picture(1).transpose(Image.Transpose.ROTATE_90).save(tmp_path / "turned.png", exif=exif)
    turned = tmp_path / "turned.png"
    kinds = [tmp_path / "upright.png", turned, str(turned), turned.read_bytes(), Image.open(turned)]
    pixels = collate([Pair(row, audio=sound_bytes(0), image=kind) for row, kind in enumerate(kinds)])["pixel_values"]
    assert pixels.shape[0] == len(kinds)
    assert torch.equal(pixels, pixels[:1].expand_as(pixels))


def test_unreadable_rows_are_left_out(collate, caplog):
    good = Pair(0, audio=sound_bytes(0), image=picture(0))
    bad = [
        Pair(1, audio=b"no sound", image=picture(0)),
        Pair(2, audio=sound_bytes(0), image=b"no picture"),
        Pair(3, audio=sound_bytes(0)),
        Pair(4, audio={"array": [0.1, float("nan")], "sampling_rate": 16000}, image=picture(0)),
        # Read, but shorter than a frame: the feature extractor refuses it.
        Pair(5, audio={"array": [0.1] * 20, "sampling_rate": 16000}, image=picture(0)),
    ]
    with caplog.at_level(logging.WARNING, "transformers.soundclip_hf.training"):
        logging.getLogger("transformers").propagate = True
        batch = collate([*bad, good])
    assert batch["rows"].tolist() == [0]
    assert batch["bad"].tolist() == [1, 2, 3, 4, 5]
    torch.testing.assert_close(batch["input_features"], collate([good])["input_features"])
    for row in range(1, 6):
        assert f"row {row} is left out" in caplog.text


def test_a_batch_without_a_readable_row(collate):
    batch = collate([Pair(1, audio=b"", image=picture(0))])
    assert set(batch) == {"rows", "bad"}
    assert len(batch["rows"]) == 0


def test_cached_batches_pass_through():
    batch = {"rows": torch.arange(2)}
    assert collate_cached(batch) is batch


def test_any_error_of_the_processor_costs_its_row_alone(collate, monkeypatch):
    """Image processors raise what they like, as a TypeError or a RuntimeError of torch."""
    processor = collate.processor.image_processor
    preprocess = processor.preprocess

    def picky(images, *arguments, **options):
        if any(np.asarray(image).max() == 0 for image in images):
            raise RuntimeError("a black picture")
        return preprocess(images, *arguments, **options)

    monkeypatch.setattr(processor, "preprocess", picky)
    pairs = [
        Pair(row, audio=sound_bytes(row), image=Image.new("RGB", (32, 32), colour))
        for row, colour in enumerate(("red", "black", "blue"))
    ]
    batch = collate(pairs)
    assert batch["rows"].tolist() == [0, 2]
    assert batch["bad"].tolist() == [1]
    assert len(batch["pixel_values"]) == 2
