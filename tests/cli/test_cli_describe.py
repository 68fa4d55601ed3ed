"""`soundclip describe`: the bundled clip, files, batched and one by one, the model's own encoder and another."""

import copy

import numpy as np
import pytest
from media_files import pcm_wav, write_media
from PIL import Image
from shared_data import shared_path
from transformers import LlavaConfig, LlavaForConditionalGeneration

from soundclip_hf.bundled import TINY
from soundclip_hf.data.synthetic.scenes import RATE, scene, write_mp4
from soundclip_hf.data.synthetic.sounds import mix
from soundclip_hf.modeling.modeling_soundllava import SoundLlavaForConditionalGeneration
from soundclip_hf.modeling.processing_soundllava import SoundLlavaProcessor

FIELDS = {
    "id",
    "video",
    "question",
    "answer",
    "k",
    "mode",
    "kept",
    "patches",
    "alignment",
    "alpha",
    "encoder",
    "model",
    "revision",
    "frame",
    "frame_time",
    "sound_seconds",
    "seed",
    "temperature",
    "max_new_tokens",
}


def test_the_bundled_clip_is_the_default(describe):
    outcome = describe()
    assert outcome.code == 0
    assert len(outcome.stdout.split()) > 1
    assert "synthetic scenes alone" in outcome.stderr
    assert "8 of 64 patches kept" in outcome.stderr


def test_json_is_one_object_and_nothing_else(describe):
    outcome = describe("--json", "-q", "Where is it?")
    (row,) = outcome.rows
    assert set(row) == FIELDS
    assert row["answer"]
    assert row["question"] == "Where is it?"
    assert (row["k"], row["mode"], row["kept"], row["patches"]) == (8, "zero", 8, 64)
    assert (row["alignment"], row["alpha"], row["encoder"]) == ("projected", 0.0, "whisper_clip")
    assert (row["frame"], row["frame_time"], row["sound_seconds"]) == ("middle", 1.5, 3.0)
    assert "synthetic scenes alone" in outcome.stderr


@pytest.mark.parametrize(
    "options", [(), ("--patches", "drop", "--top-k", 5), ("--temperature", 1.5, "--seed", 3), ("--alpha", 0.5)], ids=str
)
def test_batched_equals_one_by_one(describe, files, options):
    sources = [
        files / "a.mp4",
        files / "picture.png",
        files / "noise.wav",
        files / "b.mp4",
        files / "a.mp4",
        files / "tone.wav",
    ]
    batched = describe(*sources, "--json", *options)
    single = describe(*sources, "--json", "--batch-size", 1, *options)
    assert batched.code == single.code == 0
    assert len(batched.rows) == 4
    assert batched.rows == single.rows


def test_what_is_heard_and_seen(describe, tmp_path):
    rng = np.random.default_rng(0)
    for kind in ("dog", "siren"):
        sound = mix([(kind, 0.0)], rng, snr_db=20)
        (tmp_path / f"{kind}.wav").write_bytes(pcm_wav((32767 * sound[:, None]).astype(np.int16), RATE))
    shown = next(found for found in map(scene, range(20_000_000, 20_001_000)) if "dog" in found.sources[:1])
    Image.fromarray(shown.picture).save(tmp_path / "dog.png")
    write_mp4(tmp_path / "dog.mp4", [shown])
    dog, siren, picture, clip = (tmp_path / name for name in ("dog.wav", "siren.wav", "dog.png", "dog.mp4"))
    pair, silent, own, swapped = describe(picture, dog, picture, clip, clip, siren, "--json").rows
    assert (pair["mode"], pair["kept"], pair["sound_seconds"], pair["frame_time"]) == ("zero", 8, 3.0, None)
    assert (silent["mode"], silent["k"], silent["kept"], silent["sound_seconds"]) == ("silent", None, None, None)
    assert pair["answer"] == own["answer"] == "The dog."
    assert swapped["answer"] == "The siren."
    (alone,) = describe(dog, "--json").rows
    assert (alone["mode"], alone["kept"], alone["frame_time"]) == ("zero", None, None)
    assert alone["answer"] == "The dog."


def test_several_answers_are_named(describe, files):
    outcome = describe(files / "a.mp4", files / "b.mp4")
    assert [line.split(": ")[0] for line in outcome.stdout.splitlines()] == [str(files / "a.mp4"), str(files / "b.mp4")]


def test_options_reach_the_model(describe):
    (kept,) = describe("--json", "--top-k", 7, "--patches", "drop", "--alignment", "raw", "--frame", "first").rows
    assert (kept["k"], kept["kept"], kept["mode"], kept["alignment"], kept["alpha"]) == (7, 7, "drop", "raw", None)
    assert kept["frame_time"] == 0.0
    assert describe("--json", "--frame", 0.5).rows[0]["frame_time"] == 0.5
    assert describe("--json", "--top-k", 0).rows[0]["kept"] == 0
    assert (
        describe("--json", "--top-k", 64, "--patches", "zero").answers
        == describe("--json", "--top-k", 64, "--patches", "drop").answers
    )


def test_sampling_follows_the_seed(describe):
    def sample(seed):
        return describe("--json", "--temperature", 20, "--seed", seed).answers

    assert sample(0) == sample(0) != sample(1)
    assert describe("--json", "--temperature", 0).answers == describe("--json", "--temperature", 1e-4).answers


def test_half_precision(describe):
    outcome = describe("--json", "--dtype", "bfloat16", "--device", "cpu")
    assert outcome.code == 0
    assert outcome.answers[0]


def test_silence_is_allowed_with_a_warning(describe, files):
    outcome = describe(files / "picture.png", files / "zeros.wav")
    assert outcome.code == 0
    assert any(line.startswith("warning: ") and "zero" in line for line in outcome.stderr.splitlines())


def test_another_encoder_is_raw_unless_said_otherwise(describe, whisper):
    outcome = describe("--encoder", whisper, "--json")
    (row,) = outcome.rows
    assert (row["alignment"], row["encoder"], row["alpha"]) == ("raw", str(whisper), None)
    assert "no projector was trained" in outcome.stderr
    assert row["answer"] != describe("--json").answers[0]
    projected = describe("--encoder", whisper, "--alignment", "projected", "--json")
    assert projected.rows[0]["alignment"] == "projected"
    assert "warning: no projector was trained" in projected.stderr
    # The random projection is the seed's.
    assert projected.rows == describe("--encoder", whisper, "--alignment", "projected", "--json").rows


@pytest.fixture(scope="module")
def stock(tmp_path_factory):
    """A LLaVA without an audio encoder, of the bundled model's shape."""
    folder = tmp_path_factory.mktemp("llava")
    model = SoundLlavaForConditionalGeneration.from_pretrained(TINY)
    own = model.config
    config = LlavaConfig(
        vision_config=own.vision_config,
        text_config=own.text_config,
        image_token_index=own.image_token_index,
        image_seq_length=own.image_seq_length,
    )
    llava = LlavaForConditionalGeneration(config)
    llava.load_state_dict(model.state_dict(), strict=False)
    llava.generation_config = copy.deepcopy(model.generation_config)
    llava.save_pretrained(folder)
    SoundLlavaProcessor.from_pretrained(TINY).stock_processor.save_pretrained(folder)
    return folder


def test_a_stock_llava_needs_an_encoder(describe, stock, whisper):
    outcome = describe("--model", stock)
    assert outcome.code == 1
    assert "LLaVA without an audio encoder; add --encoder" in outcome.error
    heard = describe("--model", stock, "--encoder", whisper, "--top-k", 9, "--json")
    assert heard.code == 0
    assert (heard.rows[0]["model"], heard.rows[0]["alignment"], heard.rows[0]["kept"]) == (str(stock), "raw", 9)
    # The base is that of the bundled model, and so is the answer.
    assert heard.answers == describe("--encoder", whisper, "--top-k", 9, "--json").answers


def test_an_adapter(describe, stock, tmp_path):
    model = SoundLlavaForConditionalGeneration.from_pretrained(TINY)
    model.config.base_model_name_or_path = str(stock)
    model.save_pretrained(tmp_path, adapter_only=True)
    SoundLlavaProcessor.from_pretrained(TINY).save_pretrained(tmp_path)
    outcome = describe("--model", tmp_path, "--json")
    assert outcome.code == 0
    assert outcome.answers == describe("--json").answers
    assert "synthetic scenes alone" not in outcome.stderr


def test_real_clips_with_real_whisper(soundclip):
    clips = sorted(shared_path("clips").glob("*.mp4"))
    encoder = shared_path("weights/whisper-tiny.en")
    options = ("--encoder", encoder, "--json", "--max-new-tokens", 12)
    batched = soundclip("describe", *clips, *options)
    assert batched.code == 0
    assert len(batched.rows) == len(clips) == 4
    assert all(batched.answers)
    single = [row for clip in clips for row in soundclip("describe", clip, *options).rows]
    assert batched.rows == single


@pytest.mark.parametrize("name", ["muted.mp4", "muted.m4a", "zeros.wav"])
def test_silence_is_told_once_with_the_name_of_its_file(soundclip, files, tmp_path, name):
    path = files / name
    if name.startswith("muted"):
        path = tmp_path / name
        frames = [np.full((48, 64, 3), value, np.uint8) for value in range(0, 250, 10)]
        picture = {"video": "libx264", "frames": frames} if name.endswith(".mp4") else {}
        write_media(path, audio="aac", samples=np.zeros((1, 48000), np.float32), **picture)
    for command in (("describe", path), ("embed", path, "-o", tmp_path / "e.safetensors")):
        done = soundclip(*command)
        assert done.code == 0, done.stderr
        (said,) = [line for line in done.stderr.splitlines() if line.startswith("warning:") and "zero" in line]
        assert said.startswith(f"warning: {path}: all ")
        assert said.endswith(" samples are zero: a silent sound")
