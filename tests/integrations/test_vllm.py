"""What vLLM would be sent for a stock LLaVA: stock transformers' LLaVA gives the same answer to it."""

import base64
import io
import json
import runpy
import sys
from pathlib import Path

import pytest
import torch
from chat_server import chat_server, completion
from transformers import LlavaForConditionalGeneration
from transformers.modeling_outputs import BaseModelOutputWithPooling

from soundclip_hf import SoundLlava, SoundLlavaProcessor
from soundclip_hf.bundled import CLIP, TINY
from soundclip_hf.integrations.vllm import embedding_messages, image_embeds_parts, visual_tokens

VIDEO = {"type": "video", "path": str(CLIP)}
TEXT = {"type": "text", "text": "What makes the sound?"}
QUESTION = [{"role": "user", "content": [VIDEO, TEXT]}]


@pytest.fixture(scope="module")
def model():
    return SoundLlava.from_pretrained(TINY, dtype=torch.float32).eval()


@pytest.fixture(scope="module")
def processor():
    return SoundLlavaProcessor.from_pretrained(TINY)


@pytest.fixture(scope="module")
def stock(model):
    """The base LLaVA that vLLM would serve: no class and no weight of ours."""
    values = {**model.config.to_dict(), "model_type": "llava", "architectures": None}
    config = LlavaForConditionalGeneration.config_class(
        **{name: values[name] for name in ("vision_config", "text_config", "image_token_index", "projector_hidden_act")}
    )
    base = LlavaForConditionalGeneration(config).eval()
    weights = {name: value for name, value in model.state_dict().items() if ".audio_" not in name}
    base.load_state_dict(weights)
    return base


def inputs_of(processor, conversation, **options):
    return processor.apply_chat_template(
        conversation,
        add_generation_prompt=True,
        tokenize=True,
        return_dict=True,
        processor_kwargs={"return_tensors": "pt", **options},
    )


def decoded(part):
    """As vLLM's server reads it."""
    assert part["type"] == "image_embeds"
    return torch.load(io.BytesIO(base64.b64decode(part["image_embeds"], validate=True)), weights_only=True)


@pytest.mark.parametrize(("patches", "k", "tokens"), [("zero", 8, 65), ("drop", 8, 9), ("drop", 0, 1)])
def test_a_stock_llava_says_the_same(model, processor, stock, patches, k, tokens):
    """Fed with what the request carries, both ways in which transformers takes embeddings."""
    inputs = inputs_of(processor, QUESTION, sound_patches=patches, sound_top_k=k)
    expected = model.generate(**inputs, max_new_tokens=8)
    (message,) = embedding_messages(model, processor, QUESTION, sound_patches=patches, sound_top_k=k)
    sent, text = message["content"]
    assert text == TEXT
    (tensor,) = decoded(sent)
    assert tensor.shape == (tokens, stock.config.text_config.hidden_size)
    ids = inputs["input_ids"]
    features = BaseModelOutputWithPooling(pooler_output=[tensor])
    got = stock.generate(input_ids=ids, mm_encoder_outputs={"image": features}, max_new_tokens=8, do_sample=False)
    assert got.tolist() == expected.tolist()
    embeds = stock.get_input_embeddings()(ids)
    embeds[ids == stock.config.image_token_id] = tensor
    got = stock.generate(inputs_embeds=embeds, max_new_tokens=8, do_sample=False)
    assert got.tolist() == expected[:, ids.shape[1] :].tolist()


def test_the_body_is_json_and_holds_the_same_numbers(model, processor):
    inputs = inputs_of(processor, QUESTION)
    (expected,) = visual_tokens(model, inputs)
    messages = json.loads(json.dumps(embedding_messages(model, processor, QUESTION)))
    found = decoded(messages[0]["content"][0])
    assert found.shape == (1, *expected.shape)
    assert torch.equal(found[0], expected)
    assert found.dtype == model.dtype


def test_several_pictures(model, processor):
    """In the order of the conversation, also over several turns; each is a tensor of two dimensions then."""
    conversation = [
        {"role": "user", "content": [VIDEO, TEXT]},
        {"role": "assistant", "content": "The clock."},
        {"role": "user", "content": [TEXT, {**VIDEO, "frame": "first", "load_audio": False}]},
    ]
    expected = visual_tokens(model, inputs_of(processor, conversation))
    messages = embedding_messages(model, processor, conversation)
    assert [message["role"] for message in messages] == ["user", "assistant", "user"]
    assert messages[1]["content"] == "The clock."
    found = [decoded(messages[0]["content"][0]), decoded(messages[2]["content"][1])]
    assert [one.shape for one in found] == [one.shape for one in expected]
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))
    four = embedding_messages(model, processor, QUESTION, num_frames=4)
    assert [part["type"] for part in four[0]["content"]] == ["image_embeds"] * 4 + ["text"]


def test_a_sound_alone_and_options(model, processor):
    sound = [{"role": "user", "content": [{"type": "audio", "path": str(CLIP)}, TEXT]}]
    (part, _) = embedding_messages(model, processor, sound)[0]["content"]
    raw = embedding_messages(model, processor, sound, sound_alignment="raw")[0]["content"][0]
    assert not torch.equal(decoded(part), decoded(raw))


def test_a_conversation_without_media_is_refused(model, processor):
    with pytest.raises(ValueError, match="neither pictures nor sounds"):
        embedding_messages(model, processor, [{"role": "user", "content": "hi"}])


def test_a_slice_is_sent_alone():
    whole = torch.arange(100_000.0).view(100, 1000)
    (part,) = image_embeds_parts([whole[:1]])
    assert len(part["image_embeds"]) < 10_000
    assert torch.equal(decoded(part)[0], whole[:1])


def test_the_example_sends_such_a_request(model, processor, monkeypatch, capsys):
    """To a server that answers anything: what vLLM makes of the request is not tested."""
    example = Path(__file__).resolve().parents[2] / "examples" / "vllm_image_embeds.py"
    reply = completion("A clock.")
    reply[2].update(id="1", object="chat.completion", created=0)
    with chat_server(lambda number, body: reply) as asked:
        words = [str(CLIP), TEXT["text"], "--adapter", str(TINY), "--base-url", asked.url, "--patches", "drop"]
        monkeypatch.setattr(sys, "argv", [example.name, *words, "--top-k", "4"])
        runpy.run_path(str(example), run_name="__main__")
    assert capsys.readouterr().out == "A clock.\n"
    (body,) = asked.bodies
    part, text = body["messages"][0]["content"]
    assert text == TEXT
    found = decoded(part)
    (expected,) = visual_tokens(model, inputs_of(processor, QUESTION, sound_patches="drop", sound_top_k=4))
    assert found.dtype == torch.float16
    assert found.shape == (1, 5, model.config.text_config.hidden_size)
    torch.testing.assert_close(found[0].float(), expected, atol=0.05, rtol=0.05)
