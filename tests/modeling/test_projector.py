"""The projector: F.2 by hand, raw by padding and cutting, everything in fp32."""

import pytest
import torch

from soundclip_hf.modeling.audio_encoders.whisperclip.configuration_whisperclip import WhisperClipConfig
from soundclip_hf.modeling.configuration_soundclip import SoundClipConfig
from soundclip_hf.modeling.projector import AlignmentProjector


def projector(d_a=24, width=16, **kwargs):
    audio = WhisperClipConfig(d_model=d_a, encoder_attention_heads=1)
    kwargs.setdefault("projector_hidden_size", 32)
    return AlignmentProjector(SoundClipConfig(audio_config=audio, vision_hidden_size=width, **kwargs)).eval()


# d_a * 1024 + 1024 (fc1) + 2 * (1024 * 1024 + 1024) (fc2, fc3) + 4 * 1024 (two norms)
@pytest.mark.parametrize(("d_a", "count"), [(512, 2_628_608), (768, 2_890_752), (1024, 3_152_896)])
def test_parameter_count(d_a, count):
    module = projector(d_a, 1024, projector_hidden_size=1024)
    assert sum(p.numel() for p in module.parameters()) == count


def test_projected_is_f2():
    module, z = projector(), torch.randn(3, 24)
    p = dict(module.named_parameters())
    assert {name.split(".")[0] for name in p} == {"fc1", "norm1", "fc2", "norm2", "fc3"}
    x = z
    for n in ("1", "2"):
        x = x @ p[f"fc{n}.weight"].T + p[f"fc{n}.bias"]
        x = (x - x.mean(-1, keepdim=True)) / (x.var(-1, keepdim=True, unbiased=False) + 1e-5).sqrt()
        x = x * p[f"norm{n}.weight"] + p[f"norm{n}.bias"]
        x = 0.5 * x * (1 + torch.erf(x / 2**0.5))
    torch.testing.assert_close(module(z), x @ p["fc3.weight"].T + p["fc3.bias"])


@pytest.mark.parametrize("d_a", [8, 16, 24])
def test_raw_pads_cuts_or_keeps(d_a):
    z = torch.randn(3, d_a)
    raw = projector(d_a)(z, alignment="raw")
    expected = torch.zeros(3, 16)
    expected[:, : min(d_a, 16)] = z[:, :16]
    assert torch.equal(raw, expected)


def test_alpha_interpolates():
    module, z = projector(), torch.randn(3, 24)
    raw, projected = module(z, alignment="raw"), module(z)
    assert torch.equal(module(z, alpha=1), raw)
    assert torch.equal(module(z, alpha=0.0), projected)
    torch.testing.assert_close(module(z, alpha=0.25), 0.25 * raw + 0.75 * projected)
    torch.testing.assert_close(projector(alpha=1.0)(z), raw)
    assert torch.equal(module(z, alignment="raw", alpha=0.25), raw)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_computes_in_fp32(dtype):
    module, z = projector(), torch.randn(3, 24).to(dtype)
    expected = module(z.float())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(module(z), expected)
    assert module(z, alignment="raw").dtype == torch.float32
    cast = module.to(dtype)(z)
    assert cast.dtype == torch.float32
    torch.testing.assert_close(cast, expected, atol=2e-2, rtol=2e-2)


def test_dropout_only_while_training():
    module, z = projector(projector_dropout=0.5), torch.randn(3, 24)
    assert torch.equal(module(z), module(z))
    module.train()
    assert not torch.equal(module(z), module(z))


def test_gradient_reaches_all_parameters():
    module = projector()
    module(torch.randn(3, 24)).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in module.parameters())


def test_compiles_without_graph_breaks():
    module, z = projector(), torch.randn(3, 24)
    torch.testing.assert_close(torch.compile(module, backend="eager", fullgraph=True)(z), module(z))


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"alignment": "linear"}, "alignment='linear'"),
        ({"alpha": 1.5}, "alpha=1.5"),
        ({"alpha": -0.1}, "alpha=-0.1"),
        ({"alpha": float("nan")}, "alpha=nan"),
    ],
)
def test_bad_options(kwargs, message):
    with pytest.raises(ValueError, match=message):
        projector()(torch.randn(3, 24), **kwargs)


def test_bad_width():
    with pytest.raises(ValueError, match=r"\(3, 20\): expected \(n, 24\)"):
        projector()(torch.randn(3, 20))
