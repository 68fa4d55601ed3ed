"""What must hold for every audio encoder, whatever it computes; each test file calls these with its own tiny model."""

import numpy as np
import pytest
import torch
from rounding import assert_equal_to_rounding, assert_same_weights
from torch.nn.functional import cosine_similarity
from transformers import AutoConfig, AutoFeatureExtractor, AutoModel


def noise(seconds, rate, seed=0):
    """Noise with a tone in it, `(samples,)` float32 in [-1, 1]."""
    generator = np.random.default_rng(seed)
    time = np.arange(round(seconds * rate)) / rate
    tone = np.sin(2 * np.pi * (200 + 150 * seed) * time)
    return (0.2 * tone + 0.05 * generator.standard_normal(len(time))).astype(np.float32)


def randomise(model, seed=0):
    """Weights and BatchNorm statistics of unit scale, under which two sounds have different embeddings."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim > 1 and "fbsp" not in name:
                fan_in = parameter[0].numel()
                parameter.copy_(torch.randn(parameter.shape, generator=generator) / fan_in**0.5)
        for name, buffer in model.named_buffers():
            if name.endswith("running_mean"):
                buffer.copy_(0.1 * torch.randn(buffer.shape, generator=generator))
    return model.eval()


def embed(model, extractor, sounds):
    inputs = extractor(sounds, sampling_rate=extractor.sampling_rate, return_tensors="pt")
    with torch.no_grad():
        return model(**inputs).pooler_output


def check_batch_equals_single(model, extractor, sounds, atol=1e-5):
    inputs = extractor(sounds, sampling_rate=extractor.sampling_rate, return_tensors="pt")
    with torch.no_grad():
        together, again = (model(**inputs).pooler_output for _ in range(2))
    assert together.shape == (len(sounds), model.config.embedding_dim)
    assert torch.equal(together, again), "not deterministic"
    alone = torch.cat([embed(model, extractor, sound) for sound in sounds])
    assert float((together - alone).abs().max()) <= atol
    smallest = min(float((a - b).abs().max()) for i, a in enumerate(alone) for b in alone[:i])
    assert smallest > 50 * atol, "the sounds have the same embedding: nothing was compared"


def check_saves_and_loads(model, extractor, sounds, folder):
    model.save_pretrained(folder)
    extractor.save_pretrained(folder)
    loaded, again = AutoModel.from_pretrained(folder), AutoFeatureExtractor.from_pretrained(folder)
    assert type(loaded) is type(model)
    assert type(again) is type(extractor)
    assert type(AutoConfig.from_pretrained(folder)) is type(model.config)
    check_loaded(loaded, again, model, extractor, sounds)


def check_loaded(loaded, loaded_extractor, model, extractor, sounds):
    """Settings, weights and buffers are what was saved; features and embedding are, up to rounding."""
    assert loaded_extractor.to_dict() == extractor.to_dict()
    assert_same_weights(loaded, model)
    ours, theirs = (
        one(sounds, sampling_rate=extractor.sampling_rate, return_tensors="pt") for one in (loaded_extractor, extractor)
    )
    assert ours.keys() == theirs.keys()
    for name, expected in theirs.items():
        # The mel filters' product is all that may be summed another way.
        torch.testing.assert_close(ours[name], expected, msg=lambda said, name=name: f"{name}: {said}")
    with torch.no_grad():
        expected, found = model(**theirs).pooler_output, loaded(**theirs).pooler_output
    assert_equal_to_rounding(found, expected, "embedding")


def check_fresh_weights_are_finite(model):
    """`from_pretrained` builds on the meta device: what no checkpoint brings must be made again."""
    fresh = type(model).from_pretrained(None, config=model.config, state_dict={})
    own = dict(model.named_buffers())
    for name, tensor in (*fresh.named_parameters(), *fresh.named_buffers()):
        assert tensor.isfinite().all(), name
        assert (tensor.detach().abs() < 1e4).all(), name
        if name in own and "running" not in name:
            assert torch.equal(tensor, own[name]), name


def check_half_precision(model, extractor, sounds, folder, dtype, closeness):
    """Loaded in `dtype` and cast to it, with inputs cast like everything else."""
    expected = embed(model, extractor, sounds)
    model.save_pretrained(folder)
    loaded = AutoModel.from_pretrained(folder, dtype=dtype)
    assert loaded.dtype == dtype
    cast = AutoModel.from_pretrained(folder).to(dtype)
    for half in (loaded, cast):
        inputs = extractor(sounds, sampling_rate=extractor.sampling_rate, return_tensors="pt").to(dtype)
        with torch.no_grad():
            z = half(**inputs).pooler_output
        assert z.dtype in (dtype, torch.float32)
        assert float(cosine_similarity(z.float(), expected).min()) > closeness
    assert_same_weights(loaded, cast)


def check_compiles(model, extractor, sounds, with_mask=True):
    inputs = dict(extractor(sounds, sampling_rate=extractor.sampling_rate, return_tensors="pt"))
    if not with_mask:
        inputs.pop("input_features_mask")
    torch.compiler.reset()
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    with torch.no_grad():
        torch.testing.assert_close(
            compiled(**inputs).pooler_output, model(**inputs).pooler_output, atol=1e-5, rtol=1e-5
        )


def check_gradient_checkpointing(model, extractor, sounds):
    inputs = extractor(sounds, sampling_rate=extractor.sampling_rate, return_tensors="pt")

    def gradients():
        model.train().zero_grad()
        model(**inputs).pooler_output.square().sum().backward()
        return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}

    plain = gradients()
    assert len(plain) == len(list(model.named_parameters()))
    calls = []
    model.gradient_checkpointing_enable({"use_reentrant": False})
    for module in model.modules():
        if hasattr(module, "_gradient_checkpointing_func"):
            original = module._gradient_checkpointing_func
            module._gradient_checkpointing_func = lambda *a, _f=original, **k: calls.append(1) or _f(*a, **k)
    saved = gradients()
    assert calls, "nothing was checkpointed"
    for name, gradient in plain.items():
        scale = float(gradient.abs().max())
        torch.testing.assert_close(saved[name], gradient, atol=1e-5 * max(scale, 1e-6), rtol=1e-4, msg=name)
    model.gradient_checkpointing_disable()
    model.eval()


def check_bad_sounds(extractor, shortest):
    rate = extractor.sampling_rate
    good = noise(0.5, rate)
    for sound, given, message in (
        (good, None, "sampling_rate is missing"),
        (good, rate + 1, f"works at {rate} Hz"),
        (np.full(rate, np.nan, dtype=np.float32), rate, "NaN or Inf"),
        (np.full(rate, np.inf, dtype=np.float32), rate, "NaN or Inf"),
        (np.zeros(0, dtype=np.float32), rate, "empty"),
        (good[: shortest - 1], rate, f"shorter than one frame of {shortest} samples"),
        ((good * 32767).astype(np.int16), rate, "dtype int16"),
    ):
        with pytest.raises(ValueError, match=message):
            extractor(sound, sampling_rate=given, return_tensors="pt")
    with pytest.warns(UserWarning, match="all zeros"):
        silence = extractor(np.zeros(2 * rate, dtype=np.float32), sampling_rate=rate, return_tensors="pt")
    assert silence["input_features"].isfinite().all()


def check_wrong_shape(model, features, mask, message):
    with pytest.raises(ValueError, match=message):
        model(features, mask)
