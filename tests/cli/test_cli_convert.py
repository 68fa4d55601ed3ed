"""`soundclip convert`: a folder that is checked, whole and loadable, or one line and no folder."""

import hashlib
import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from shared_data import shared_path
from transformers import AutoFeatureExtractor, AutoModel

import soundclip_hf  # noqa: F401  registers the Auto classes
from soundclip_hf.cli.convert import Encoder
from soundclip_hf.conversion import ORIGINS, to_original
from soundclip_hf.conversion.card import PROVENANCE
from soundclip_hf.modeling.audio_encoders.audioclip.configuration_audioclip import AudioClipConfig
from soundclip_hf.modeling.audio_encoders.clap.configuration_clap import SoundClapConfig
from soundclip_hf.modeling.audio_encoders.imagebind.configuration_imagebind import ImageBindAudioConfig
from soundclip_hf.modeling.audio_encoders.msclap.configuration_msclap import MsClapConfig
from soundclip_hf.modeling.audio_encoders.wav2clip.configuration_wav2clip import Wav2ClipConfig
from soundclip_hf.modeling.audio_encoders.whisperclip.configuration_whisperclip import WhisperClipConfig

HTSAT = {"depths": [1, 1], "num_attention_heads": [2, 4], "patch_embeds_hidden_size": 8, "hidden_size": 16}
# What `convert` reads off a checkpoint, and what --set must tell it of a reduced one.
REDUCED = {
    "imagebind": (
        ImageBindAudioConfig,
        {},
        {"hidden_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32},
    ),
    "audioclip": (
        AudioClipConfig,
        {},
        {"depths": [1, 1, 1, 1], "channels": [4, 6, 8, 10], "cardinality": 2, "base_width": 32, "projection_dim": 24},
    ),
    "wav2clip": (Wav2ClipConfig, {}, {"depths": [1, 1, 1, 1], "channels": [4, 8, 8, 16], "projection_dim": 24}),
    "clap": (SoundClapConfig, {**HTSAT, "projection_dim": 12, "initializer_factor": 10.0}, {}),
    "msclap": (MsClapConfig, {**HTSAT, "projection_dim": 12, "initializer_factor": 10.0}, {}),
    "whisper": (WhisperClipConfig, {"d_model": 64, "encoder_layers": 2, "encoder_attention_heads": 1}, {}),
}
# Entries of other parts of each file.
OTHERS = {
    "imagebind": ["modality_trunks.vision.blocks.0.norm_1.weight", "modality_heads.text.proj.1.weight"],
    "audioclip": ["visual.layer1.0.conv1.weight", "logit_scale"],
    "wav2clip": ["image_transform.sequential.0.weight"],
    "clap": ["text_model.embeddings.word_embeddings.weight"],
    "msclap": ["caption_encoder.base.wte.weight"],
    "whisper": ["model.decoder.embed_tokens.weight"],
}


def reduced(name):
    """A small original of random weights, and the options that it needs."""
    config_class, read, told = REDUCED[name]
    torch.manual_seed(0)
    state = to_original(AutoModel.from_config(config_class(**read, **told)))
    options = [option for key, value in told.items() for option in ("--set", f"{key}={json.dumps(value)}")]
    return {key: value.clone() for key, value in state.items()}, options


@pytest.fixture(scope="module")
def wav2clip(tmp_path_factory):
    state, options = reduced("wav2clip")
    path = tmp_path_factory.mktemp("wav2clip") / "Wav2CLIP.pt"
    torch.save(state, path)
    return path, state, options


@pytest.fixture
def convert(soundclip, wav2clip, tmp_path):
    """The reduced Wav2CLIP to tmp_path/ears."""

    def run(*arguments):
        return soundclip("convert", "wav2clip", wav2clip[0], tmp_path / "ears", *wav2clip[2], *arguments)

    return run


def test_every_origin_can_be_named():
    assert list(Encoder.__members__) == list(ORIGINS) == list(PROVENANCE)


def test_help(soundclip):
    text = soundclip("convert", "--help").stdout
    assert all(word in text for word in ("--json", "--debug", "--golden", "--overwrite", *ORIGINS))


@pytest.mark.parametrize("name", REDUCED)
def test_a_converted_folder_loads_and_gives_the_same(soundclip, tmp_path, name):
    state, options = reduced(name)
    others = dict.fromkeys(OTHERS[name], torch.ones(2))
    path = tmp_path / ("original.safetensors" if name in ("clap", "whisper") else "original.pth")
    if path.suffix == ".safetensors":
        save_file({**state, **others}, path)
    else:
        torch.save({"state_dict": {**state, **others}, "epoch": 3}, path)
    done = soundclip("convert", name, path, tmp_path / "made" / "ears", *options, "--json")
    assert done.code == 0, done.stderr
    (row,) = done.rows
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert row["sha256"] == digest
    assert row["round_trip"]["left_behind"] == len(others)
    assert row["round_trip"]["equal"] + row["round_trip"]["computed"] == len(state)
    assert row["round_trip"]["equal"] > 10

    folder = tmp_path / "made" / "ears"
    assert [entry.name for entry in folder.parent.iterdir()] == ["ears"]
    model, extractor = AutoModel.from_pretrained(folder), AutoFeatureExtractor.from_pretrained(folder)
    for key, value in to_original(model).items():
        assert torch.equal(value, state[key]), key
    rate = extractor.sampling_rate
    sound = np.random.default_rng(0).uniform(-0.1, 0.1, 2 * rate).astype(np.float32)
    with torch.no_grad():
        z = model(**extractor(sound, sampling_rate=rate, return_tensors="pt")).pooler_output
    assert list(z.shape) == row["embedding"]["shape"]
    card = (folder / "README.md").read_text()
    assert digest in card
    assert PROVENANCE[name].url in card
    assert f"license: {PROVENANCE[name].licence_id}\n" in card
    assert ("non-commercial" in done.stderr) == (name == "imagebind")
    assert ("not verified against the original" in card) == ("not verified" in done.stderr) == (name == "msclap")


def test_half_precision_is_widened_and_told_equal(soundclip, tmp_path):
    state, _ = reduced("whisper")
    save_file({key: value.half() for key, value in state.items()}, tmp_path / "half.safetensors")
    arguments = ["--set", "layer_fusion=final", "--set", "window=short"]
    done = soundclip("convert", "whisper", tmp_path / "half.safetensors", tmp_path / "ears", *arguments)
    assert done.code == 0, done.stderr
    assert f"round trip: {len(state)} tensors equal\n" in done.stdout
    model = AutoModel.from_pretrained(tmp_path / "ears")
    assert model.dtype == torch.float32
    assert (model.config.layer_fusion, model.config.window) == ("final", "short")
    assert "`layer_fusion='final'`" in (tmp_path / "ears" / "README.md").read_text()


def test_problems_of_the_file(soundclip, wav2clip, tmp_path):
    path, state, options = wav2clip
    first = next(key for key in state if key.endswith("weight"))
    files = {
        "unknown": {**state, "audio_encoder.surprise": torch.ones(1)},
        "missing": {key: value for key, value in state.items() if key != first},
        "damaged": {**state, first: torch.full_like(state[first], torch.nan)},
        "double": {**state, first: state[first].double() + 1e-12},
        "other": {"a": torch.ones(1)},
    }
    for name, content in files.items():
        torch.save(content, tmp_path / f"{name}.pt")
    (tmp_path / "corrupt.pt").write_bytes(path.read_bytes()[:1000])
    (tmp_path / "empty.safetensors").write_bytes(b"")
    for file, words in (
        ("unknown.pt", ["1 unknown: audio_encoder.surprise"]),
        ("missing.pt", [f"1 missing: {first}"]),
        ("damaged.pt", ["damaged.pt", first, "NaN or Inf"]),
        ("double.pt", ["round trip: 1 tensors are not those of the file", first]),
        ("other.pt", ["no encoder known here"]),
        ("corrupt.pt", ["corrupt.pt", "cannot be read as a file of weights alone"]),
        ("empty.safetensors", ["empty.safetensors", "cannot be read"]),
        ("none.pt", ["none.pt", "no such file"]),
        (".", ["is a folder"]),
    ):
        done = soundclip("convert", "wav2clip", tmp_path / file, tmp_path.parent / "ears", *options)
        assert (done.code, done.stdout) == (1, ""), file
        assert "Traceback" not in done.stderr
        assert all(word in done.error for word in words), done.error
        assert not (tmp_path.parent / "ears").exists()
        assert not list(tmp_path.parent.glob(".ears*"))


def test_another_encoders_file_says_what_it_is(soundclip, wav2clip, tmp_path):
    done = soundclip("convert", "imagebind", wav2clip[0], tmp_path / "ears")
    assert done.code == 1
    assert done.error.endswith("This is no checkpoint of imagebind: it looks like wav2clip.")


def test_bad_command_lines(soundclip, wav2clip, tmp_path):
    path = wav2clip[0]
    for arguments, words in (
        (["vggish", path, tmp_path / "ears"], ["vggish", "imagebind"]),
        (["wav2clip", path], ["DST"]),
        (["wav2clip", path, tmp_path / "ears", "--set", "depths"], ["--set depths", "FIELD=VALUE"]),
        (["wav2clip", path, tmp_path / "ears", "--set", "depht=1"], ["depht", "no such field"]),
        (["wav2clip", path, path.parent, "--overwrite"], ["holds SRC"]),
        (["msclap", path, tmp_path / "ears", "--golden", tmp_path], ["no golden vectors of msclap"]),
    ):
        done = soundclip("convert", *arguments)
        assert done.code == 2, done.stderr
        assert all(word in done.error for word in words), done.error
    assert path.is_file()
    done = soundclip("convert", "wav2clip", path, tmp_path / "ears", "--golden", tmp_path)
    assert done.code == 1
    assert "wav2clip.npz is not there" in done.error


def test_what_is_there_stays(convert, tmp_path):
    ears = tmp_path / "ears"
    ears.mkdir()
    assert convert().code == 0, "an empty folder is as good as none"
    before = (ears / "README.md").stat().st_ino
    done = convert()
    assert done.code == 1
    assert "is not empty; give another folder, or --overwrite" in done.error
    assert (ears / "README.md").stat().st_ino == before
    (ears / "stale.txt").touch()
    assert convert("--overwrite").code == 0
    assert not (ears / "stale.txt").exists()
    (ears / ".git").mkdir()
    assert ".git in it" in convert("--overwrite").error
    shutil.rmtree(ears)
    ears.mkdir()
    (ears / "thesis.tex").touch()
    assert "has no config.json" in convert("--overwrite").error
    assert (ears / "thesis.tex").exists()
    shutil.rmtree(ears)
    ears.touch()
    assert "is a file" in convert("--overwrite").error


@pytest.mark.parametrize("error", [OSError("No space left on device"), KeyboardInterrupt()])
def test_a_stop_in_the_middle_leaves_what_was_there(convert, tmp_path, monkeypatch, error):
    from soundclip_hf.modeling.audio_encoders.wav2clip.feature_extraction_wav2clip import Wav2ClipFeatureExtractor

    def stop(*args, **kwargs):
        raise error

    # The model is already on the disk by then.
    monkeypatch.setattr(Wav2ClipFeatureExtractor, "save_pretrained", stop)
    done = convert()
    assert done.code == (1 if isinstance(error, OSError) else 130)
    assert list(tmp_path.iterdir()) == []
    monkeypatch.undo()
    assert convert().code == 0
    before = (tmp_path / "ears" / "model.safetensors").read_bytes()
    monkeypatch.setattr(Wav2ClipFeatureExtractor, "save_pretrained", stop)
    assert convert("--overwrite").code != 0
    assert [entry.name for entry in tmp_path.iterdir()] == ["ears"]
    assert (tmp_path / "ears" / "model.safetensors").read_bytes() == before


def test_debug_shows_the_traceback(convert, soundclip, tmp_path):
    assert "Traceback" in soundclip("convert", "clap", tmp_path / "none.pt", tmp_path / "ears", "--debug").stderr


# ---- golden vectors ----


@pytest.fixture(scope="module")
def vectors(tmp_path_factory):
    """A copy of Wav2CLIP's golden vectors, and the weights as a file."""
    folder = tmp_path_factory.mktemp("golden")
    for name in ("wav2clip.npz", "wav2clip.keys.json", "meta.json", "fill.py"):
        shutil.copyfile(shared_path(f"golden/{name}"), folder / name)
    return folder


def test_agreement_is_printed_per_stage(convert, vectors):
    done = convert("--golden", vectors)
    assert done.code == 0, done.stderr
    for array in ("spectrogram", "stem_sub", "layer4_sub", "pooled_batch", "embedding_single"):
        (line,) = [line for line in done.stdout.splitlines() if line.split()[0] == array]
        assert line.split()[-1] == "ok"
    assert "golden vectors: 15 of 15 within tolerance" in done.stdout


def test_a_vector_that_is_not_met_fails(convert, vectors, tmp_path):
    shutil.copytree(vectors, tmp_path / "golden")
    arrays = dict(np.load(vectors / "wav2clip.npz"))
    arrays["layer3_sub"] = arrays["layer3_sub"] + 2e-4
    np.savez(tmp_path / "golden" / "wav2clip.npz", **arrays)
    done = convert("--golden", tmp_path / "golden", "--json")
    assert done.code == 1
    assert "1 of 15 golden vectors are not met" in done.error
    (row,) = done.rows
    assert row["destination"] is None
    (failed,) = [one for one in row["golden"] if not one["ok"]]
    assert (failed["array"], failed["atol"]) == ("layer3_sub", 1e-4)
    assert 1e-4 < failed["difference"] < 3e-4  # what was added, and what the tolerance leaves to rounding
    assert not (tmp_path / "ears").exists()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["imagebind", "audioclip", "clap", "whisper"])
def test_full_size_with_golden_vectors(soundclip, tmp_path, name):
    from golden import load_golden

    from soundclip_hf.conversion.golden import GOLDEN

    golden = load_golden(GOLDEN[name][0])
    torch.save({**golden.state_dict, **dict.fromkeys(OTHERS[name], torch.ones(2))}, tmp_path / "original.pth")
    done = soundclip("convert", name, tmp_path / "original.pth", tmp_path / "ears", "--golden", golden.folder, "--json")
    assert done.code == 0, done.stderr
    (row,) = done.rows
    assert {one["golden"] for one in row["golden"]} == set(GOLDEN[name])
    assert row["round_trip"]["equal"] + row["round_trip"]["computed"] == len(golden.spec["keys"])
