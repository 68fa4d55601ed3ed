"""The dual encoder's processor: every kind of sound, pictures, frames, clips; SoundLlava's files read too."""

import numpy as np
import pytest
import torch
from media_files import tone, write_media
from PIL import Image
from rounding import assert_equal_inputs
from tiny_dual import tiny_dual
from tiny_encoders import ENCODERS
from tiny_models import VARIANTS
from tiny_processors import picture, sound, tiny_feature_extractor, tiny_image_processor, tiny_sound_processor
from transformers import AutoProcessor, CLIPImageProcessor

from soundclip_hf import SoundClipProcessor, read_clip
from soundclip_hf.media import MediaError


@pytest.fixture
def processor():
    return SoundClipProcessor(tiny_image_processor("llava"), tiny_feature_extractor())


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("media")
    frames = [np.full((48, 64, 3), 9 * number, np.uint8) for number in range(25)]
    write_media(folder / "a.mp4", video="libx264", audio="aac", frames=frames, samples=tone(1, 48000))
    write_media(folder / "silent.mp4", video="libx264", frames=frames)
    write_media(folder / "tone.wav", audio="pcm_s16le", samples=tone(0.5, 16000), rate=16000)
    return folder


def test_sounds_and_pictures(processor):
    waveform = sound(0.3)
    inputs = processor(audio=[waveform, sound(0.5)], images=[picture()], sampling_rate=16000, return_tensors="pt")
    assert set(inputs) == {"input_features", "input_features_mask", "pixel_values"}
    assert inputs["input_features"].shape[:2] == (2, 1)
    assert inputs["pixel_values"].shape == (1, 3, 28, 28)
    expected = tiny_feature_extractor()([waveform, sound(0.5)], sampling_rate=16000, return_tensors="pt")
    torch.testing.assert_close(inputs["input_features"], expected["input_features"])
    expected = tiny_image_processor("llava")(picture(), return_tensors="pt")
    assert torch.equal(inputs["pixel_values"], expected["pixel_values"])
    assert set(processor(images=picture())) == {"pixel_values"}
    assert set(processor(audio=waveform, sampling_rate=16000)) == {"input_features", "input_features_mask"}


def test_every_kind_of_sound(processor, folder):
    path = folder / "tone.wav"
    samples = read_clip(path).waveform
    kinds = [
        path,
        str(path),
        path.read_bytes(),
        samples,
        samples[None],
        torch.from_numpy(samples.copy()),
        samples.tolist(),
        (samples, 16000),
        (16000, samples),
        {"array": samples, "sampling_rate": 16000},
        {"bytes": path.read_bytes(), "path": None},
    ]
    expected = processor(audio=samples, sampling_rate=16000, return_tensors="pt")["input_features"]
    for kind in kinds:
        for argument in (kind, [kind]):
            found = processor(audio=argument, sampling_rate=16000, return_tensors="pt")["input_features"]
            torch.testing.assert_close(found, expected)
    together = processor(audio=kinds, sampling_rate=16000, return_tensors="pt")["input_features"]
    torch.testing.assert_close(together, expected.expand_as(together))
    other_rate = processor(audio=sound(0.5, rate=44100), sampling_rate=44100, return_tensors="pt")
    assert other_rate["input_features"].shape == expected.shape


def test_every_kind_of_picture(processor, tmp_path):
    """A file, its bytes and the open image are the same picture; 16 bits and transparency go as `load_picture` says."""
    exif = Image.Exif()
    exif[0x112] = 3
    path = tmp_path / "turned.png"
    picture().transpose(Image.Transpose.ROTATE_180).save(path, exif=exif)
    expected = processor(images=picture(), return_tensors="pt")["pixel_values"]
    for kind in (path, str(path), path.read_bytes(), Image.open(path), [path]):
        assert torch.equal(processor(images=kind, return_tensors="pt")["pixel_values"], expected)
    grey = np.asarray(picture().convert("L"))
    twins = processor(images=[Image.fromarray(grey), Image.fromarray(grey.astype(np.uint16) * 257)])["pixel_values"]
    np.testing.assert_array_equal(twins[0], twins[1])
    with pytest.raises(MediaError, match=r"gone.png: no such file; pass a picture"):
        processor(images=str(tmp_path / "gone.png"))


def test_clips(processor, folder):
    clip = read_clip(folder / "a.mp4", sampling_rate=16000)
    apart = processor(audio=(clip.waveform, 16000), images=clip.frame, return_tensors="pt")
    for videos in (folder / "a.mp4", [str(folder / "a.mp4")], clip, (folder / "a.mp4").read_bytes()):
        together = processor(videos=videos, return_tensors="pt")
        assert set(together) == set(apart)
        assert_equal_inputs(together, {key: apart[key] for key in together})
    alone = processor(audio=[folder / "a.mp4"], return_tensors="pt")["input_features"]
    torch.testing.assert_close(alone, apart["input_features"])
    first = processor(videos=folder / "a.mp4", frame="first", return_tensors="pt")["pixel_values"]
    assert not torch.equal(first, apart["pixel_values"])
    several = processor(videos=2 * [folder / "a.mp4"], num_frames=3, return_tensors="pt")["pixel_values"]
    assert several.shape == (2, 3, 3, 28, 28)
    frames = read_clip(folder / "a.mp4", frames=3).frames
    assert torch.equal(several[1], processor(images=list(frames), return_tensors="pt")["pixel_values"])
    with pytest.raises(MediaError, match=r"silent\.mp4: has no audio stream"):
        processor(videos=[folder / "a.mp4", folder / "silent.mp4"])


def test_arguments_in_the_dictionaries_of_transformers(processor, folder):
    """As sentence-transformers hands them over; what is in them counts as beside them."""
    nested = {
        "text_kwargs": {"padding": True, "truncation": "longest_first"},
        "images_kwargs": {},
        "audio_kwargs": {"padding": True},
        "videos_kwargs": {},
        "common_kwargs": {"return_tensors": "pt"},
    }
    for call in ({"audio": [folder / "tone.wav"]}, {"images": [picture()]}, {"videos": [folder / "a.mp4"]}):
        assert_equal_inputs(processor(**call, **nested), processor(**call, return_tensors="pt"))
    waveform = sound(0.5, rate=44100)
    rated = processor(audio=[waveform], audio_kwargs={"sampling_rate": 44100}, common_kwargs={"return_tensors": "pt"})
    assert_equal_inputs(rated, processor(audio=[waveform], sampling_rate=44100, return_tensors="pt"))
    videos = {"videos": folder / "a.mp4", "return_tensors": "pt"}
    for name, value in (("num_frames", 3), ("num_frames", np.int64(3)), ("frame", "first")):
        found = processor(**videos, videos_kwargs={name: value})
        assert_equal_inputs(found, processor(**videos, **{name: value}))


@pytest.mark.parametrize(
    ("nested", "message"),
    [
        ({"text_kwargs": {"paddin": True}}, "'paddin' in text_kwargs. Did you mean 'padding'"),
        ({"images_kwargs": {"zoom": 2}}, "'zoom' in images_kwargs"),
        ({"audio_kwargs": {"sample_rate": 8}}, "'sample_rate' in audio_kwargs. Did you mean 'sampling_rate'"),
        ({"videos_kwargs": {"frames": 2}}, "'frames' in videos_kwargs"),
        ({"common_kwargs": {"return_tensor": "pt"}}, "'return_tensor' in common_kwargs"),
        ({"common_kwargs": "pt"}, "common_kwargs='pt': must be a dictionary"),
        ({"audios": []}, "audios"),
        ({"sound": []}, "sound"),
    ],
)
def test_unknown_arguments(processor, nested, message):
    with pytest.raises(TypeError, match=message):
        processor(images=picture(), **nested)


@pytest.mark.parametrize(
    ("nested", "message"),
    [
        ({"videos_kwargs": {"fps": 2}}, "fps=2 in videos_kwargs would not be used: videos_kwargs takes frame and num"),
        ({"videos_kwargs": {"do_resize": False}}, "do_resize=False in videos_kwargs"),
        ({"common_kwargs": {"do_resize": False}}, "do_resize=False in common_kwargs"),
        (
            {"common_kwargs": {"sampling_rate": 8000}},
            "sampling_rate=8000 in common_kwargs .* of sounds in audio_kwargs",
        ),
    ],
)
def test_values_that_would_not_be_used(processor, folder, nested, message):
    with pytest.raises(ValueError, match=message):
        processor(videos=folder / "a.mp4", **nested)
    unset = {where: dict.fromkeys(values) for where, values in nested.items()}
    assert_equal_inputs(
        processor(videos=folder / "a.mp4", **unset, return_tensors="pt"),
        processor(videos=folder / "a.mp4", return_tensors="pt"),
    )


def test_frames_of_pictures(processor):
    pictures = [[picture(seed=0), picture(seed=1)], [picture(seed=2), picture(seed=3)]]
    pixels = processor(images=pictures, return_tensors="pt")["pixel_values"]
    assert pixels.shape == (2, 2, 3, 28, 28)
    flat = processor(images=[*pictures[0], *pictures[1]], return_tensors="pt")["pixel_values"]
    assert torch.equal(pixels.flatten(0, 1), flat)
    with pytest.raises(ValueError, match=r"clips of \[1, 2\] frames"):
        processor(images=[pictures[0], [picture()]])


def test_errors(processor, folder):
    with pytest.raises(ValueError, match="Nothing to process"):
        processor()
    with pytest.raises(ValueError, match="`videos`, which have both"):
        processor(videos=folder / "a.mp4", images=picture())
    with pytest.raises(ValueError, match="empty list"):
        processor(audio=[])
    with pytest.raises(MediaError, match=r"sound 1: .*no such file"):
        processor(audio=[folder / "tone.wav", folder / "missing.wav"])
    with pytest.raises(MediaError, match=r"sound 0: .*sampling rate is missing"):
        processor(audio=[sound()])


@pytest.mark.parametrize("name", ENCODERS)
def test_round_trip_with_every_extractor(name, tmp_path):
    processor = SoundClipProcessor(tiny_image_processor("llava"), ENCODERS[name][1])
    processor.save_pretrained(tmp_path)
    for again in (SoundClipProcessor.from_pretrained(tmp_path), AutoProcessor.from_pretrained(tmp_path)):
        assert type(again) is SoundClipProcessor
        assert again.to_dict() == processor.to_dict()


@pytest.mark.parametrize("variant", VARIANTS)
def test_reads_the_processor_of_a_sound_llava(variant, tmp_path):
    llava = tiny_sound_processor(variant)
    llava.save_pretrained(tmp_path)
    processor = SoundClipProcessor.from_pretrained(tmp_path)
    assert type(processor.image_processor) is CLIPImageProcessor
    assert type(processor.feature_extractor) is type(llava.feature_extractor)
    for size in ((40, 60), (90, 30), (28, 28)):
        pixels = llava.image_processor(picture(*size), return_tensors="pt")["pixel_values"]
        base = pixels[:, 0] if variant == "llava_next" else pixels
        assert torch.equal(processor(images=picture(*size), return_tensors="pt")["pixel_values"], base)
    processor.save_pretrained(tmp_path / "own")
    assert SoundClipProcessor.from_pretrained(tmp_path / "own").to_dict() == processor.to_dict()


def test_the_model_takes_it_all(processor, folder):
    with torch.no_grad():
        output = tiny_dual()(**processor(videos=2 * [folder / "a.mp4"], return_tensors="pt"), return_loss=True)
    assert output.logits_per_audio.shape == (2, 2)
    assert output.loss.isfinite()
