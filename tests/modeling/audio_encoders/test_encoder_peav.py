"""PE-AV's audio encoder behind our interface: against transformers' own class, lengths, loading, bad input."""

import json

import numpy as np
import pytest
import torch
from encoder_checks import check_loaded
from golden import assert_close
from safetensors.torch import load_file, save_file
from transformers import AutoFeatureExtractor, AutoModel, PeAudioConfig, PeAudioFeatureExtractor, PeAudioModel

import soundclip_hf  # noqa: F401  registers the Auto classes
from soundclip_hf.modeling.audio_encoders.peav.configuration_peav import PeAvAudioConfig
from soundclip_hf.modeling.audio_encoders.peav.feature_extraction_peav import PeAvFeatureExtractor
from soundclip_hf.modeling.audio_encoders.peav.modeling_peav import PeAvAudioModel

RATE = 48000
HOP = 16
TINY = {
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "head_dim": 8,
    "initializer_range": 0.3,
    "dac_config": {"downsampling_ratios": [2, 8], "encoder_hidden_size": 4, "codebook_dim": 8, "hidden_size": 16},
}


def tiny():
    """A model and an extractor with frames of 16 samples and windows of 640."""
    model = PeAvAudioModel(PeAvAudioConfig(**TINY, projection_dim=12)).eval()
    return spread(model), PeAvFeatureExtractor(hop_length=HOP, max_length_s=640 / RATE)


def spread(model):
    """Weights of unit scale: with the library's small ones, all sounds have the same embedding."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(0, parameter[0].numel() ** -0.5)
    return model


def sound(samples, seed=0):
    return (0.3 * np.random.RandomState(seed).randn(samples)).astype(np.float32)


@torch.no_grad()
def embed(model, extractor, sounds):
    return model(**extractor(sounds, sampling_rate=RATE, return_tensors="pt")).pooler_output


@pytest.fixture
def stock():
    text = {"model_type": "modernbert", "hidden_size": 12, "num_hidden_layers": 1, "num_attention_heads": 2}
    text |= {"intermediate_size": 16, "vocab_size": 20}
    text |= dict.fromkeys(("pad_token_id", "cls_token_id", "sep_token_id", "bos_token_id", "eos_token_id"), 1)
    return spread(PeAudioModel(PeAudioConfig(audio_config=dict(TINY), text_config=text)).eval())


def test_equals_transformers(stock, tmp_path, monkeypatch):
    stock.save_pretrained(tmp_path)
    warned = []
    monkeypatch.setattr("transformers.configuration_utils.logger.warning", lambda *args: warned.append(args))
    model, info = PeAvAudioModel.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(info.values()), info
    assert warned == []
    assert model.config.embedding_dim == 12
    extractor = PeAvFeatureExtractor(hop_length=HOP, max_length_s=640 / RATE)
    for samples in (320, 333, 640):
        one = sound(samples)
        inputs = PeAudioFeatureExtractor(hop_length=HOP)(one, sampling_rate=RATE, return_tensors="pt")
        with torch.no_grad():
            theirs = stock.get_audio_embeds(inputs["input_values"])
        assert_close(embed(model.eval(), extractor, one), theirs, 1e-6, f"{samples} samples")


def test_loads_the_audio_part_of_the_whole_model(stock, tmp_path):
    stock.save_pretrained(tmp_path)
    state = {f"audio_model.{key}": value for key, value in load_file(tmp_path / "model.safetensors").items()}
    for key in ("video_model.video_encoder.norm.weight", "audio_video_head.proj.weight", "text_model.norm.weight"):
        state[key] = torch.ones(2)
    save_file(state, tmp_path / "model.safetensors", metadata={"format": "pt"})
    config = {"model_type": "pe_audio_video", "text_config": {"hidden_size": 12}}
    (tmp_path / "config.json").write_text(json.dumps({**config, "audio_video_config": {"audio_config": TINY}}))
    model, info = PeAvAudioModel.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(info.values()), info
    assert torch.equal(model.audio_head.proj.weight, stock.audio_head.proj.weight)


def test_batch_equals_single_and_long_is_the_mean_over_windows():
    model, extractor = tiny()
    sounds = [sound(samples, i) for i, samples in enumerate((320, 16, 640, 333, 1500))]
    together = embed(model, extractor, sounds)
    alone = torch.cat([embed(model, extractor, one) for one in sounds])
    assert_close(together, alone, 1e-5, "batch and single")
    assert min((a - b).abs().max() for i, a in enumerate(alone) for b in alone[:i]) > 1e-2
    parts = [embed(model, extractor, sounds[4][start : start + 640]) for start in (0, 640, 1280)]
    assert_close(together[4:], torch.cat(parts).mean(0, keepdim=True), 1e-5, "mean over windows")


def test_frames_and_mask():
    batch = PeAvFeatureExtractor()([sound(RATE), sound(1920, 1)], RATE, return_tensors="pt")
    assert batch["input_features"].shape == (2, 1, 25, 1920)
    assert batch["input_features_mask"].sum(-1).tolist() == [[25], [1]]


def test_round_trip_through_auto_classes(tmp_path):
    model, extractor = tiny()
    model.save_pretrained(tmp_path)
    extractor.save_pretrained(tmp_path)
    again, features = AutoModel.from_pretrained(tmp_path), AutoFeatureExtractor.from_pretrained(tmp_path)
    assert type(again) is PeAvAudioModel
    assert type(features) is PeAvFeatureExtractor
    check_loaded(again, features, model, extractor, sound(320))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision(dtype):
    model, extractor = tiny()
    expected = embed(model, extractor, [sound(320), sound(100)])
    z = embed(model.to(dtype), extractor, [sound(320), sound(100)])
    assert z.dtype == dtype
    assert torch.nn.functional.cosine_similarity(z.float(), expected).min() > 0.99


def test_hidden_states_and_attention_implementation():
    model, extractor = tiny()
    inputs = extractor(sound(320), RATE, return_tensors="pt")
    with torch.no_grad():
        expected = model(**inputs)
        model.set_attn_implementation("eager")
        output = model(**inputs, output_hidden_states=True, output_attentions=True)
    assert_close(output.pooler_output, expected.pooler_output, 1e-5, "eager and sdpa")
    assert len(output.hidden_states) == 3
    assert [a.shape for a in output.attentions] == 2 * [(1, 2, 21, 21)]


@pytest.mark.filterwarnings("ignore:.gradient_checkpointing_enable")
def test_gradient_checkpointing_gives_the_same_gradients():
    model, extractor = tiny()
    inputs = extractor([sound(320)], RATE, return_tensors="pt")
    model.train()
    gradients = []
    for checkpointing in (False, True):
        if checkpointing:
            model.gradient_checkpointing_enable()
        model.zero_grad()
        model(**inputs).pooler_output.square().sum().backward()
        gradients.append(model.audio_encoder.layers[0].mlp.gate_proj.weight.grad.clone())
    assert gradients[0].abs().sum() > 0
    assert_close(gradients[1], gradients[0], 1e-5 * float(gradients[0].abs().max()), "gradients")


def test_bad_input():
    model, extractor = tiny()
    with pytest.raises(ValueError, match="sampling_rate is missing: PeAvFeatureExtractor"):
        extractor(sound(320))
    with pytest.raises(ValueError, match=r"sampling_rate=16000.*48000"):
        extractor(sound(320), sampling_rate=16000)
    with pytest.raises(ValueError, match="shorter than one frame of 16 samples"):
        extractor(sound(15), sampling_rate=RATE)
    with pytest.raises(ValueError, match="20 frames of 8 samples, expected at least one frame of 16"):
        model(torch.zeros(1, 20, 8))
    with pytest.raises(ValueError, match=r"max_length_s=0.05: must be a multiple of one frame, 1920 / 48000 s"):
        PeAvFeatureExtractor(max_length_s=0.05)
