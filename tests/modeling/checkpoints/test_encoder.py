"""Audio encoders by name: ours, Whispers, and other models, which are refused with the names of those that fit."""

import pytest
import torch
from tiny_encoders import ENCODERS
from tiny_models import tiny_vision_config
from transformers import (
    BertConfig,
    BertModel,
    ClapAudioConfig,
    CLIPVisionModel,
    Wav2Vec2Config,
    Wav2Vec2Model,
    WhisperConfig,
    WhisperModel,
)

from soundclip_hf import SoundClipConfig, SoundClipModel, SoundLlavaConfig, WhisperClipModel
from soundclip_hf.modeling.checkpoints.encoder import (
    NotAnAudioEncoderError,
    accepted_model_types,
    audio_encoder_config,
    load_audio_encoder,
)

FOREIGN = {
    "wav2vec2": lambda: Wav2Vec2Model(
        Wav2Vec2Config(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16)
    ),
    "bert": lambda: BertModel(
        BertConfig(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, vocab_size=20)
    ),
}


@pytest.fixture
def vision(tmp_path):
    CLIPVisionModel(tiny_vision_config()).save_pretrained(tmp_path / "vision")
    return str(tmp_path / "vision")


def test_the_accepted_types_are_the_families():
    families = {config.model_type for config, _ in ENCODERS.values()}
    assert families <= set(accepted_model_types())


@pytest.mark.parametrize("name", FOREIGN)
def test_another_model_is_refused(name, vision, tmp_path):
    model = FOREIGN[name]()
    model.save_pretrained(tmp_path / "foreign")
    message = rf"foreign is a '{name}' model \({type(model).__name__}\).*a Whisper or one of audioclip,.*whisper_clip"
    with pytest.raises(NotAnAudioEncoderError, match=message):
        audio_encoder_config(tmp_path / "foreign")
    with pytest.raises(ValueError, match=message):
        load_audio_encoder(tmp_path / "foreign")
    with pytest.raises(ValueError, match=message):
        SoundClipModel.from_audio_vision_pretrained(str(tmp_path / "foreign"), vision)


def test_another_configuration_is_refused():
    foreign = ClapAudioConfig()
    message = r"audio_config is a ClapAudioConfig \(model_type 'clap_audio_model'\), which has no embedding_dim"
    with pytest.raises(ValueError, match=message):
        SoundClipConfig(audio_config=foreign)
    with pytest.raises(ValueError, match=message):
        SoundLlavaConfig(sound_config={"audio_config": foreign.to_dict()})


def test_a_whisper(tmp_path, vision):
    small = {"d_model": 16, "encoder_layers": 2, "decoder_layers": 1, "encoder_attention_heads": 2}
    small |= {"decoder_attention_heads": 2, "encoder_ffn_dim": 32, "decoder_ffn_dim": 32, "vocab_size": 20}
    torch.manual_seed(0)
    whisper = WhisperModel(WhisperConfig(**small, pad_token_id=0, decoder_start_token_id=1, eos_token_id=2))
    whisper.save_pretrained(tmp_path / "whisper")
    encoder = load_audio_encoder(tmp_path / "whisper", dtype=torch.float32)
    assert type(encoder) is WhisperClipModel
    assert not encoder.training
    for key, value in whisper.encoder.state_dict().items():
        assert torch.equal(encoder.encoder.state_dict()[key], value), key
    model = SoundClipModel.from_audio_vision_pretrained(str(tmp_path / "whisper"), vision)
    assert type(model.audio_tower) is WhisperClipModel
