"""What holds for every encoder: fresh and half-precision loading, and a place inside SoundLlava by configuration."""

import pytest
import torch
from encoder_checks import check_bad_sounds, check_fresh_weights_are_finite, check_half_precision, randomise
from tiny_encoders import ENCODERS
from tiny_models import VARIANTS, tiny_llava, tiny_sound_llava
from tiny_processors import picture, sound, tiny_image_processor, tiny_tokenizer
from transformers import AutoModel, AutoProcessor

import soundclip_hf
from soundclip_hf.modeling.processing_soundllava import SoundLlavaProcessor


@pytest.mark.parametrize("name", ENCODERS)
def test_fresh_weights_are_finite(name):
    check_fresh_weights_are_finite(AutoModel.from_config(ENCODERS[name][0]))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", ["whisperclip", "clap", "msclap"])
def test_loads_in_half_precision(name, dtype, tmp_path):
    config, extractor = ENCODERS[name]
    model = randomise(AutoModel.from_config(config))
    sounds = [sound(0.4, seed=1, rate=extractor.sampling_rate), sound(0.25, seed=2, rate=extractor.sampling_rate)]
    check_half_precision(model, extractor, sounds, tmp_path, dtype, 0.99)


@pytest.mark.parametrize(("name", "shortest"), [("whisperclip", 400), ("clap", 1024), ("msclap", 1024), ("peav", 1920)])
def test_bad_sounds(name, shortest):
    check_bad_sounds(ENCODERS[name][1], shortest)


@pytest.mark.parametrize("name", ENCODERS)
@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.filterwarnings("ignore:.*padded to one clip")
def test_hears_through_any_encoder(variant, name, tmp_path):
    config, extractor = ENCODERS[name]
    model = tiny_sound_llava(variant, sound={"audio_config": config})
    assert type(model.model.audio_tower) is type(AutoModel.from_config(config))
    randomise(model.model.audio_tower)  # fresh weights of some give any two sounds one embedding, to rounding
    processor = SoundLlavaProcessor(
        tiny_image_processor(variant), tiny_tokenizer(), extractor, patch_size=7, sound_top_k=5
    )
    processor.save_pretrained(tmp_path)
    processor = AutoProcessor.from_pretrained(tmp_path)
    assert type(processor.feature_extractor) is type(extractor)

    rate = extractor.sampling_rate
    sounds = [sound(0.4, seed=1, rate=rate), sound(0.25, seed=2, rate=rate) * 0.3]
    for patches in ("zero", "drop"):
        inputs = processor(
            images=[picture(), picture(seed=1)],
            audio=sounds,
            text=2 * ["<image><audio> what"],
            sampling_rate=rate,
            sound_patches=patches,
            padding=True,
            return_tensors="pt",
        )
        swapped = dict(inputs, **{key: inputs[key].flip(0) for key in ("input_features", "input_features_mask")})
        for alignment in ("projected", "raw"):
            with torch.no_grad():
                logits = model(**inputs, sound_alignment=alignment).logits
                other = model(**swapped, sound_alignment=alignment).logits
            assert logits.isfinite().all()
            moved = float((logits[:, -1] - other[:, -1]).abs().max())
            assert moved > 1e-2, f"{patches}, {alignment}: the sound is not heard"


@pytest.mark.parametrize("name", ENCODERS)
@pytest.mark.parametrize("adapter_only", [False, True], ids=["full", "adapter"])
@pytest.mark.filterwarnings("ignore:.*padded to one clip")
def test_a_half_precision_model_hears_the_same(name, adapter_only, tmp_path):
    config, extractor = ENCODERS[name]
    model = tiny_sound_llava("llava", sound={"audio_config": config})
    tiny_llava("llava").save_pretrained(tmp_path / "base")
    model.config.base_model_name_or_path = str(tmp_path / "base")
    model.save_pretrained(tmp_path / "saved", **({"adapter_only": True} if adapter_only else {}))
    half = soundclip_hf.SoundLlava.from_pretrained(tmp_path / "saved", dtype=torch.bfloat16)
    assert half.dtype == torch.bfloat16
    assert {parameter.dtype for parameter in half.model.audio_projection.parameters()} == {torch.float32}
    rate = extractor.sampling_rate
    inputs = extractor([sound(0.4, seed=1, rate=rate)], sampling_rate=rate, return_tensors="pt")
    with torch.no_grad():
        expected = model.get_audio_features(**inputs).pooler_output
        heard = half.get_audio_features(**inputs.to(half.device, half.dtype)).pooler_output
    assert torch.cosine_similarity(heard, expected).item() > 0.999
