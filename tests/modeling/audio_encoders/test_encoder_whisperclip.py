"""WhisperClip and its feature extractor: golden vectors, real Whisper weights, windows, masks, loading, bad input."""

import json

import numpy as np
import pytest
import torch
from encoder_checks import check_loaded
from golden import assert_close, assert_golden, assert_stages, fill, load_golden
from rounding import share_weights
from safetensors.torch import save_file
from shared_data import shared_path
from torch import nn
from transformers import AutoFeatureExtractor, AutoModel, WhisperConfig, WhisperFeatureExtractor, WhisperModel
from transformers import WhisperForConditionalGeneration as WhisperForGeneration

import soundclip_hf.modeling.configuration_soundclip  # noqa: F401  registers the configurations
from soundclip_hf.modeling.audio_encoders.whisperclip.configuration_whisperclip import WhisperClipConfig
from soundclip_hf.modeling.audio_encoders.whisperclip.feature_extraction_whisperclip import WhisperClipFeatureExtractor
from soundclip_hf.modeling.audio_encoders.whisperclip.modeling_whisperclip import WhisperClipModel

TINY = {
    "d_model": 32,
    "encoder_layers": 3,
    "encoder_attention_heads": 4,
    "encoder_ffn_dim": 48,
    "num_mel_bins": 16,
    "max_source_positions": 50,
    "init_std": 0.2,
}
RATE = 16000


def tiny(**kwargs):
    """A model and an extractor with windows of one second."""
    model = WhisperClipModel(WhisperClipConfig(**TINY, **kwargs)).eval()
    return model, WhisperClipFeatureExtractor(feature_size=16, chunk_length=1, window=model.config.window)


def sound(seconds, seed=0):
    return (0.1 * np.random.RandomState(seed).randn(round(RATE * seconds))).astype(np.float32)


@torch.no_grad()
def embed(model, extractor, sounds):
    return model(**extractor(sounds, sampling_rate=RATE, return_tensors="pt")).pooler_output


# ---- golden vectors ----


@pytest.fixture(scope="module")
def golden():
    return load_golden("whisper")


@pytest.fixture(scope="module")
def golden_run(golden, tmp_path_factory):
    """The golden weights as a Whisper checkpoint, loaded; its front end's output; one pass that keeps everything."""
    folder = tmp_path_factory.mktemp("whisper")
    decoder = {"model.decoder.layer_norm.weight": torch.ones(384), "proj_out.weight": torch.ones(4, 384)}
    save_file({**golden.state_dict, **decoder}, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps({"model_type": "whisper", **golden.spec["config"]}))
    model, info = WhisperClipModel.from_pretrained(folder, output_loading_info=True)
    assert not any(info.values()), info
    inputs = WhisperClipFeatureExtractor()(golden.sounds(), sampling_rate=RATE, return_tensors="pt")
    with torch.no_grad():
        output = model.eval()(**inputs, output_hidden_states=True)
    return model, inputs, output


def test_golden_stages(golden, golden_run):
    model, _, output = golden_run
    assert_stages(golden, model, WhisperClipFeatureExtractor())
    assert len(output.hidden_states) == 5
    assert_close(output.last_hidden_state, output.hidden_states[-1], 0, "last_hidden_state")


class Replay(nn.Module):
    """A layer that returns what the real one gave: every fusion is tested without running the encoder again."""

    def __init__(self, hidden):
        super().__init__()
        self.hidden = hidden

    def forward(self, hidden, attention_mask, **kwargs):
        return self.hidden


POLICIES = ["average_all", "final", "middle", "middle_upper", "last_1", "last_2", "last_3", "weighted_sum"]


# The last layer before the final LayerNorm is not offered: of "raw" only the policies that do not use it.
@pytest.mark.parametrize(
    ("last", "policy"), [*(("ln", policy) for policy in POLICIES), ("raw", "middle"), ("raw", "middle_upper")]
)
@pytest.mark.parametrize("positions", ["all", "valid"])
def test_golden_fusions(golden, golden_run, last, policy, positions):
    fusion = "last_n" if policy.startswith("last") else policy
    config = WhisperClipConfig.from_whisper_config(
        golden.spec["config"],
        layer_fusion=fusion,
        layer_fusion_n=int(policy[-1]) if fusion == "last_n" else 1,
        time_pooling=positions,
    )
    model, (_, inputs, output) = WhisperClipModel(config).eval(), golden_run
    if policy == "weighted_sum":
        model.layer_weight_logits.data = golden["layer_weight_logits"]
    states = output.hidden_states
    # hidden_states[-1] is already normalised; the stub stands in for layer and norm together.
    model.encoder.layers = nn.ModuleList([Replay(state) for state in states[1:]])
    model.encoder.layer_norm = nn.Identity()
    with torch.no_grad():
        z = model(**inputs).pooler_output
    assert_golden(golden, f"{last}_{positions}/{policy}", z, 1e-4)


def test_golden_end_to_end(golden, golden_run):
    model, inputs, output = golden_run
    assert_golden(golden, "ln_all/average_all", output.pooler_output, 1e-4)
    assert (output.pooler_output[0] - output.pooler_output[1]).abs().max() > 1e-3
    with torch.no_grad():
        alone = model(inputs["input_features"][1:], inputs["input_features_mask"][1:]).pooler_output
    assert_close(alone[0], output.pooler_output[1], 1e-5, "batch and single")


# ---- real weights ----


@pytest.fixture(scope="module")
def whisper_dir():
    return shared_path("weights/whisper-tiny.en")


def test_real_whisper_equals_transformers(whisper_dir):
    model, info = WhisperClipModel.from_pretrained(whisper_dir, dtype=torch.float32, output_loading_info=True)
    assert not any(info.values()), info
    stock = WhisperModel.from_pretrained(whisper_dir, dtype=torch.float32).eval()
    inputs = WhisperClipFeatureExtractor.from_pretrained(whisper_dir)(sound(3), RATE, return_tensors="pt")
    stock_features = WhisperFeatureExtractor.from_pretrained(whisper_dir)(sound(3), sampling_rate=RATE)
    # Each has mel filters of its own, so their product is the same to rounding alone.
    stock_features = torch.as_tensor(np.asarray(stock_features["input_features"]))
    torch.testing.assert_close(inputs["input_features"][:, 0], stock_features)
    share_weights(stock.encoder, model.encoder)
    with torch.no_grad():
        ours = model.eval()(**inputs, output_hidden_states=True)
        theirs = stock.encoder(inputs["input_features"][:, 0].clone(), output_hidden_states=True)
    for mine, other in zip(ours.hidden_states, theirs.hidden_states, strict=True):
        assert torch.equal(mine, other)
    assert_close(ours.pooler_output, torch.stack(theirs.hidden_states[1:]).mean(0).mean(1), 1e-6, "average_all")


def test_real_whisper_short_window(whisper_dir):
    model = WhisperClipModel.from_pretrained(whisper_dir, dtype=torch.float32, window="short").eval()
    extractor = WhisperClipFeatureExtractor.from_whisper(whisper_dir, window="short")
    sounds = [sound(1, 1), sound(2.0173, 2), sound(0.5, 3)]
    together = embed(model, extractor, sounds)
    alone = torch.cat([embed(model, extractor, s) for s in sounds])
    assert_close(together, alone, 1e-5 * float(alone.abs().max()), "batch and single")


FUSIONS = {
    "average_all": lambda states: states.mean(0),
    "final": lambda states: states[-1],
    "middle": lambda states: states[0],
    "middle_upper": lambda states: states[1],
    "last_n": lambda states: states[-2:].mean(0),
    "weighted_sum": lambda states: (torch.tensor([0.7, 0.2, 0.1]).log().softmax(0)[:, None, None, None] * states).sum(
        0
    ),
}


@pytest.mark.parametrize("salt", ["salt", "pepper", "ginger"])
def test_fusions_equal_stacking_the_stock_encoders_hidden_states(salt):
    inputs = tiny()[1]([sound(0.5, 1), sound(0.9, 2)], RATE, return_tensors="pt")
    for fusion, expected in FUSIONS.items():
        model, _ = tiny(layer_fusion=fusion, layer_fusion_n=2)
        state = {key: (list(value.shape), "float32") for key, value in model.encoder.state_dict().items()}
        filled = {key: torch.from_numpy(fill().fill(key, *entry, salt)) for key, entry in state.items()}
        model.encoder.load_state_dict(filled)
        if fusion == "weighted_sum":
            model.layer_weight_logits.data = torch.tensor([0.7, 0.2, 0.1]).log()
        with torch.no_grad():
            states = model.encoder(inputs["input_features"][:, 0], output_hidden_states=True).hidden_states[1:]
            assert_close(model(**inputs).pooler_output, expected(torch.stack(states)).mean(1), 1e-5, fusion)


# ---- loading ----


@pytest.mark.parametrize("stock_class", [WhisperForGeneration, WhisperModel])
def test_loads_any_whisper_layout_without_warning(stock_class, tmp_path, monkeypatch):
    warned = []
    for module in ("configuration_utils", "modeling_utils"):
        monkeypatch.setattr(f"transformers.{module}.logger.warning", lambda *args, **kwargs: warned.append(args))
    small = {"vocab_size": 40, "decoder_layers": 1, "decoder_ffn_dim": 8, "decoder_attention_heads": 4}
    ids = dict.fromkeys(("pad_token_id", "bos_token_id", "eos_token_id", "decoder_start_token_id"), 1)
    stock = stock_class(WhisperConfig(**TINY, **small, **ids))
    stock.save_pretrained(tmp_path)
    warned.clear()
    model, info = WhisperClipModel.from_pretrained(tmp_path, layer_fusion="final", output_loading_info=True)
    assert not any(info.values()), info
    assert warned == []
    assert model.config.layer_fusion == "final"
    encoder = stock.get_encoder()
    for (name, mine), other in zip(model.encoder.named_parameters(), encoder.parameters(), strict=True):
        assert torch.equal(mine, other), name


def test_checkpoint_without_the_encoder_is_refused(tmp_path):
    model, _ = tiny()
    state = {name: value for name, value in model.state_dict().items() if "layers.1" not in name}
    save_file(state, tmp_path / "model.safetensors", metadata={"format": "pt"})
    model.config.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"lacks 15 weights of WhisperClipModel \(first: encoder.layers.1"):
        WhisperClipModel.from_pretrained(tmp_path)


@pytest.mark.parametrize("fusion", ["average_all", "weighted_sum"])
def test_round_trip_through_auto_classes(fusion, tmp_path):
    model, extractor = tiny(layer_fusion=fusion, window="short")
    if fusion == "weighted_sum":
        model.layer_weight_logits.data = torch.tensor([0.5, -1.0, 2.0])
    model.save_pretrained(tmp_path)
    extractor.save_pretrained(tmp_path)
    again, features = AutoModel.from_pretrained(tmp_path), AutoFeatureExtractor.from_pretrained(tmp_path)
    assert type(again) is WhisperClipModel
    assert type(features) is WhisperClipFeatureExtractor
    assert features.window == "short"
    check_loaded(again, features, model, extractor, sound(0.5))


def test_fresh_fusion_weights_over_a_whisper_checkpoint(tmp_path):
    tiny()[0].save_pretrained(tmp_path)
    model = WhisperClipModel.from_pretrained(tmp_path, layer_fusion="weighted_sum").eval()
    assert model.layer_weight_logits.tolist() == [0, 0, 0]
    plain = WhisperClipModel.from_pretrained(tmp_path).eval()
    extractor = WhisperClipFeatureExtractor(feature_size=16, chunk_length=1)
    assert_close(embed(model, extractor, sound(0.5)), embed(plain, extractor, sound(0.5)), 1e-6, "equal weights")


def test_positions_are_whispers_sinusoids():
    table = tiny()[0].encoder.embed_positions.weight
    assert torch.equal(table[0], torch.cat([torch.zeros(16), torch.ones(16)]))
    assert not table.requires_grad


def test_extractor_from_whisper():
    stock = WhisperFeatureExtractor(feature_size=16, chunk_length=2)
    extractor = WhisperClipFeatureExtractor.from_whisper(stock, window="short")
    assert (extractor.feature_size, extractor.n_samples, extractor.window) == (16, 2 * RATE, "short")
    with pytest.raises(ValueError, match="window='long'"):
        WhisperClipFeatureExtractor(window="long")


# ---- windows, masks, batches ----

MODES = [("pad30", "all"), ("pad30", "valid"), ("short", "all")]


@pytest.mark.parametrize(("window", "pooling"), MODES)
def test_batch_equals_single_with_mixed_lengths(window, pooling):
    model, extractor = tiny(window=window, time_pooling=pooling)
    sounds = [sound(s, i) for i, s in enumerate((0.5, 0.0251, 1.0, 0.7301, 2.3))]
    inputs = extractor(sounds, sampling_rate=RATE, return_tensors="pt")
    with torch.no_grad():
        together, again = (model(**inputs).pooler_output for _ in range(2))
    for i, one in enumerate(sounds):
        assert_close(together[i : i + 1], embed(model, extractor, one), 1e-5, f"sound {i}")
    assert torch.equal(together, again)


@pytest.mark.parametrize(("window", "pooling"), MODES)
def test_long_sound_is_the_mean_over_its_windows(window, pooling):
    model, extractor = tiny(window=window, time_pooling=pooling)
    long = sound(70 / 30)  # seventy seconds of a Whisper with windows of thirty
    windows = [long[:RATE], long[RATE : 2 * RATE], long[2 * RATE :]]
    expected = torch.cat([embed(model, extractor, window) for window in windows]).mean(0, keepdim=True)
    assert_close(embed(model, extractor, long), expected, 1e-5, "mean over windows")


def test_extractor_shapes_and_masks():
    extractor = WhisperClipFeatureExtractor(feature_size=16, chunk_length=1)
    batch = extractor([sound(2.5), sound(0.3)], RATE, return_tensors="np")
    assert batch["input_features"].shape == (2, 3, 16, 100)
    assert batch["input_features"].dtype == np.float32
    assert batch["input_features_mask"].sum(-1).tolist() == [[100, 100, 50], [30, 0, 0]]
    assert "attention_mask" not in batch
    rest = extractor(np.append(sound(1), sound(0.02)), RATE)
    assert np.shape(rest["input_features"]) == (1, 1, 16, 100)


@pytest.mark.parametrize("samples", [400, 481, 8000, 15999, 16000])
def test_short_frames_are_those_of_pad30(samples):
    long, short = (WhisperClipFeatureExtractor(feature_size=16, chunk_length=1, window=w) for w in ("pad30", "short"))
    one = sound(samples / RATE)
    features = short(one, RATE, return_tensors="pt")["input_features"]
    assert features.shape[-1] == -(-samples // 160)
    padded = long(one, RATE, return_tensors="pt")["input_features"]
    assert_close(features, padded[..., : features.shape[-1]], 1e-6, "frames")


def test_valid_pooling_and_short_differ_from_all():
    z = [embed(*tiny_same_weights(window, pooling), sound(0.2)) for window, pooling in MODES]
    assert min((z[0] - z[1]).abs().max(), (z[1] - z[2]).abs().max()) > 1e-3


def tiny_same_weights(window, pooling):
    torch.manual_seed(0)
    return tiny(window=window, time_pooling=pooling)


@pytest.mark.parametrize(
    ("layers", "fusion", "n", "expected"),
    [
        (4, "average_all", 1, (1, 4)),
        (4, "final", 1, (4, 4)),
        (4, "middle", 1, (2, 2)),
        (5, "middle", 1, (2, 2)),
        (1, "middle", 1, (1, 1)),
        (4, "middle_upper", 1, (3, 3)),
        (4, "last_n", 3, (2, 4)),
        (4, "weighted_sum", 1, (1, 4)),
    ],
)
def test_fused_layers(layers, fusion, n, expected):
    config = {**TINY, "encoder_layers": layers}
    assert (
        WhisperClipModel(WhisperClipConfig(**config, layer_fusion=fusion, layer_fusion_n=n)).fused_layers() == expected
    )


def test_layers_above_the_last_fused_one_are_not_run():
    model, extractor = tiny(layer_fusion="middle")
    inputs = extractor(sound(0.5), RATE, return_tensors="pt")
    expected = model(**inputs, output_hidden_states=True)
    assert len(expected.hidden_states) == 4
    model.encoder.layers[1].forward = None
    output = model(**inputs)
    assert torch.equal(output.pooler_output, expected.pooler_output)
    assert output.last_hidden_state is None


# ---- precision, training, compilation ----


@pytest.mark.parametrize("window", ["pad30", "short"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision(window, dtype):
    model, extractor = tiny(window=window)
    sounds = [sound(0.5, 1), sound(0.9, 2)]
    expected = embed(model, extractor, sounds)
    z = embed(model.to(dtype), extractor, sounds)  # features stay fp32
    assert z.dtype == dtype
    assert_close(z, expected, 0.05 * float(expected.abs().max()), str(dtype))


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize(("window", "pooling"), MODES)
def test_compiles_without_graph_breaks(window, pooling, attention):
    model, extractor = tiny(window=window, time_pooling=pooling)
    model.set_attn_implementation(attention)
    assert model.encoder.config._attn_implementation == attention
    inputs = extractor([sound(0.5), sound(1.4)], RATE, return_tensors="pt")
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    with torch.no_grad():
        assert_close(compiled(**inputs).pooler_output, model(**inputs).pooler_output, 1e-5, "compiled")


@pytest.mark.filterwarnings("ignore:.gradient_checkpointing_enable")
def test_gradient_checkpointing_gives_the_same_gradients():
    model, extractor = tiny(window="short")
    inputs = extractor([sound(0.5), sound(0.3)], RATE, return_tensors="pt")
    model.train()
    gradients = []
    for checkpointing in (False, True):
        if checkpointing:
            model.gradient_checkpointing_enable()
        model.zero_grad()
        model(**inputs).pooler_output.square().sum().backward()
        gradients.append(model.encoder.layers[0].fc1.weight.grad.clone())
    assert gradients[0].abs().sum() > 0
    assert_close(gradients[1], gradients[0], 1e-6, "gradients")


def test_attentions_on_request():
    model, extractor = tiny()
    model.set_attn_implementation("eager")
    output = model(**extractor(sound(0.5), RATE, return_tensors="pt"), output_attentions=True)
    assert [a.shape for a in output.attentions] == 3 * [(1, 4, 50, 50)]


# ---- bad input ----


@pytest.mark.parametrize(
    ("kwargs", "shape", "mask", "message"),
    [
        ({}, (1, 16, 30), None, 'have 30 frames: window="pad30" expects exactly 100.*window="short"'),
        ({"window": "short"}, (1, 16, 101), None, "101 frames, expected 1..100"),
        ({"window": "short"}, (1, 16, 0), None, "0 frames, expected 1..100"),
        ({}, (1, 80, 100), None, "80 mel bins, expected num_mel_bins=16"),
        ({}, (1, 16, 100), (1, 50), "mask has 50 frames, input_features have 100"),
        ({"time_pooling": "valid"}, (1, 16, 100), None, 'time_pooling="valid" needs input_features_mask'),
        ({}, (100,), None, r"expects \(batch, \*window\)"),
    ],
)
def test_wrong_features(kwargs, shape, mask, message):
    with pytest.raises(ValueError, match=message):
        tiny(**kwargs)[0](torch.zeros(shape), None if mask is None else torch.ones(mask))


def test_extractor_refuses_bad_sound():
    extractor = WhisperClipFeatureExtractor(feature_size=16)
    with pytest.raises(ValueError, match="sampling_rate is missing: WhisperClipFeatureExtractor"):
        extractor(sound(1))
    with pytest.raises(ValueError, match=r"sampling_rate=48000.*16000"):
        extractor(sound(1), sampling_rate=48000)
    with pytest.raises(ValueError, match="399 samples"):
        extractor(np.ones(399, dtype=np.float32), sampling_rate=RATE)
    with pytest.warns(UserWarning, match="all zeros"):
        extractor(np.zeros(800), sampling_rate=RATE)


def test_window_of_a_whisper_repository_can_be_chosen(tmp_path):
    WhisperFeatureExtractor().save_pretrained(tmp_path)
    assert WhisperClipFeatureExtractor.from_pretrained(tmp_path).window == "pad30"
    short = WhisperClipFeatureExtractor.from_pretrained(tmp_path, window="short")
    assert short.window == "short"
    assert short(np.ones(16_000, np.float32) / 2, 16_000)["input_features"].shape == (1, 1, 80, 100)
    short.save_pretrained(tmp_path / "short")
    assert WhisperClipFeatureExtractor.from_pretrained(tmp_path / "short").window == "short"
