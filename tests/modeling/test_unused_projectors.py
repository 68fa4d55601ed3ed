"""Training steps without sound or picture: a graph for every trained projector, and values that do not change."""

import pytest
import torch
from tiny_models import tiny_sound_llava
from tiny_processors import picture, sound, tiny_sound_processor

from soundclip_hf import SoundLlavaCollator

HEARD = {"audio": (sound(), 16_000)}
SEEN = {"image": picture()}
BATCHES = {"text": {}, "picture": SEEN, "sound": HEARD, "both": {**SEEN, **HEARD}}


def batch(processor, media):
    return SoundLlavaCollator(processor)([{"question": "What?", "answer": "A bell.", **media}])


@pytest.mark.parametrize("variant", ["llava", "llava_next"])
@pytest.mark.parametrize("media", BATCHES)
@pytest.mark.parametrize("with_labels", [True, False])
def test_every_trained_projector_is_in_the_graph(variant, media, with_labels):
    model = tiny_sound_llava(variant).train()
    model.requires_grad_(False)
    model.model.audio_projection.requires_grad_(True)
    model.model.multi_modal_projector.requires_grad_(True)
    inputs = batch(tiny_sound_processor(variant), BATCHES[media])
    labels = inputs.pop("labels")
    output = model(**inputs, **({"labels": labels} if with_labels else {}))
    (output.loss if with_labels else output.logits.sum()).backward()
    for name, has_gradient in (
        ("audio_projection", media in ("sound", "both")),
        ("multi_modal_projector", media != "text"),
    ):
        gradients = [parameter.grad for parameter in getattr(model.model, name).parameters()]
        assert all(gradient is not None for gradient in gradients)
        assert any(bool((gradient != 0).any()) for gradient in gradients) == has_gradient


@pytest.mark.parametrize("media", ["text", "picture"])
def test_the_loss_stays_the_same(media):
    model = tiny_sound_llava("llava")
    model.model.audio_projection.dropout.p = 0.0
    inputs = batch(tiny_sound_processor("llava"), BATCHES[media])
    with torch.no_grad():
        before = model.eval()(**inputs)
    after = model.train()(**inputs)
    assert torch.equal(before.loss, after.loss.detach())
    assert torch.equal(before.logits, after.logits.detach())


def test_a_frozen_projector_is_left_out():
    model = tiny_sound_llava("llava").train()
    model.requires_grad_(False)
    assert not model(**batch(tiny_sound_processor("llava"), SEEN)).loss.requires_grad
