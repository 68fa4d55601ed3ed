"""4- and 8-bit language models with full-precision ears."""

import json

import pytest
import torch
from tiny_inputs import MIXED, build_inputs
from tiny_models import tiny_llava, tiny_sound_llava, tiny_text_config, tiny_vision_config
from torch import nn
from transformers import BitsAndBytesConfig, LlavaForConditionalGeneration
from transformers.quantizers.quantizers_utils import should_convert_module

from soundclip_hf import SoundLlava, SoundLlavaConfig
from soundclip_hf.modeling.checkpoints.adapter import NOT_QUANTIZED


@pytest.mark.parametrize("whole", [True, False], ids=["for generation", "bare model"])
def test_only_the_language_model_is_offered_to_a_quantiser(whole):
    model = tiny_sound_llava("llava_next")
    model = model if whole else model.model
    linear = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    offered = [name for name in linear if should_convert_module(name, NOT_QUANTIZED)]
    assert offered == [name for name in linear if "language_model" in name]
    assert offered


@pytest.mark.parametrize("given", [None, ["lm_head", "my_module"]])
def test_the_list_is_added_to_what_the_caller_spares(given, monkeypatch, tmp_path):
    tiny_sound_llava("llava").save_pretrained(tmp_path)
    seen = {}

    def loading(cls, name, *args, **kwargs):
        seen.update(kwargs)
        raise KeyboardInterrupt

    monkeypatch.setattr("transformers.PreTrainedModel.from_pretrained", classmethod(loading))
    settings = BitsAndBytesConfig(load_in_4bit=True, llm_int8_skip_modules=given)
    with pytest.raises(KeyboardInterrupt):
        SoundLlava.from_pretrained(tmp_path, quantization_config=settings)
    spared = seen["quantization_config"].llm_int8_skip_modules
    assert set(NOT_QUANTIZED) | set(given or ()) == set(spared)
    assert settings.llm_int8_skip_modules == given


@pytest.mark.parametrize("bits", [4, 8])
def test_quantised_model_hears(bits, tmp_path):
    pytest.importorskip("bitsandbytes", reason="bitsandbytes is not installed")
    base, repo = tmp_path / "base", tmp_path / "adapter"
    text = {"text_config": tiny_text_config(hidden_size=64, intermediate_size=128)}  # 4-bit blocks hold 64 values
    tiny_llava("llava", **text).save_pretrained(base)
    model = tiny_sound_llava("llava", **text)
    model.config.base_model_name_or_path = str(base)
    model.save_pretrained(repo, adapter_only=True)
    settings = (
        BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_compute_dtype=torch.bfloat16)
        if bits == 4
        else BitsAndBytesConfig(load_in_8bit=True)
    )
    quantised = SoundLlava.from_pretrained(repo, quantization_config=settings, dtype=torch.bfloat16, device_map="cpu")
    name = f"Linear{bits}bit" if bits == 4 else "Linear8bitLt"
    packed = {key for key, module in quantised.named_modules() if type(module).__name__ == name}
    assert packed
    assert all("language_model" in key for key in packed)
    assert quantised.dtype == torch.bfloat16
    assert quantised.model.audio_projection.fc1.weight.dtype == torch.float32
    inputs = build_inputs(quantised, MIXED, dtype=torch.bfloat16)
    other = {**inputs, "sound_embeds": inputs["sound_embeds"].flip(0)}
    with torch.no_grad():
        heard = quantised(**inputs).logits
        full = model(**build_inputs(model, MIXED)).logits
        # 4-bit weights of a tiny random model are coarse: its logits point the same way, no more is asked of them.
        agreement = torch.cosine_similarity(heard.float().flatten(), full.flatten(), dim=0)
        assert agreement > {4: 0.9, 8: 0.99}[bits]
        assert (heard - quantised(**other).logits).abs().max() > 0.3


TINY = {
    "text_config": tiny_text_config(hidden_size=64, intermediate_size=128),
    "vision_config": tiny_vision_config(hidden_size=64, intermediate_size=128),
}
LOADING = {"dtype": torch.bfloat16, "device_map": "cpu"}


def settings_of(bits):
    if bits == 4:
        return BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_compute_dtype=torch.bfloat16)
    return BitsAndBytesConfig(load_in_8bit=True)


def half_logits(model):
    with torch.no_grad():
        return model(**build_inputs(model, MIXED, dtype=torch.bfloat16)).logits


@pytest.fixture
def adapter(tmp_path):
    """Folder of an adapter whose base is stored in full precision."""
    pytest.importorskip("bitsandbytes", reason="bitsandbytes is not installed")
    tiny_llava("llava", **TINY).save_pretrained(tmp_path / "base")
    model = tiny_sound_llava("llava", sound={"vision_hidden_size": 64}, **TINY)
    model.config.base_model_name_or_path = str(tmp_path / "base")
    model.save_pretrained(tmp_path / "adapter", adapter_only=True)
    return tmp_path / "adapter"


@pytest.mark.parametrize("bits", [4, 8])
def test_an_adapter_keeps_no_quantisation_of_its_base(bits, adapter, tmp_path):
    settings = settings_of(bits)
    model = SoundLlava.from_pretrained(adapter, quantization_config=settings, **LOADING)
    expected = half_logits(model)
    model.save_pretrained(tmp_path / "again", adapter_only=True)
    assert "quantization_config" not in json.loads((tmp_path / "again" / "config.json").read_text())
    again = SoundLlava.from_pretrained(tmp_path / "again", quantization_config=settings, **LOADING)
    assert torch.equal(half_logits(again), expected)
    plain = SoundLlava.from_pretrained(tmp_path / "again", **LOADING)
    assert not getattr(plain, "is_quantized", False)


@pytest.mark.parametrize("bits", [4, 8])
def test_a_base_that_is_stored_quantised(bits, adapter, tmp_path):
    base = LlavaForConditionalGeneration.from_pretrained(
        tmp_path / "base", quantization_config=settings_of(bits), **LOADING
    )
    base.save_pretrained(tmp_path / "packed")
    sound = SoundLlavaConfig.from_pretrained(adapter).sound_config
    config = SoundLlavaConfig.from_llava_config(base.config, sound_config=sound)
    model = SoundLlava.from_pretrained(tmp_path / "packed", config=config, **LOADING)
    assert model.dtype == torch.bfloat16
    assert not model.model.multi_modal_projector.linear_1.weight.is_floating_point()
    ears = [*model.model.audio_tower.parameters(), *model.model.audio_projection.parameters()]
    assert all(parameter.is_floating_point() for parameter in ears)
    expected = half_logits(model)
    model.save_pretrained(tmp_path / "out", adapter_only=True)
    assert torch.equal(half_logits(SoundLlava.from_pretrained(tmp_path / "out", **LOADING)), expected)


@pytest.mark.parametrize("bits", [4, 8])
def test_lora_on_a_quantised_model(bits, adapter, tmp_path):
    peft = pytest.importorskip("peft")
    settings = settings_of(bits)
    model = SoundLlava.from_pretrained(adapter, quantization_config=settings, **LOADING)
    plain = half_logits(model)
    lora = peft.LoraConfig(r=2, target_modules=r".*language_model.*\.(q|v)_proj", init_lora_weights=False)
    peft.get_peft_model(model, lora).eval()
    expected = half_logits(model)
    assert not torch.equal(expected, plain)
    model.save_pretrained(tmp_path / "out")
    loaded = SoundLlava.from_pretrained(tmp_path / "out", quantization_config=settings, **LOADING)
    assert torch.equal(half_logits(loaded), expected)
