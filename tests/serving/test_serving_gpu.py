"""A server on a CUDA device answers as the model does on the CPU, one request after another and several at once."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from model_server import ModelServer
from openai import BadRequestError, OpenAI

from soundclip_hf import SoundLlava, SoundLlavaProcessor

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
QUESTION = {"type": "text", "text": "What makes the sound?"}


@pytest.fixture(scope="module")
def cuda_client(clips):
    running = ModelServer("--device", "cuda", "--allowed-local-media-path", clips[0].parent)
    yield OpenAI(base_url=running.url, api_key="none", max_retries=0)
    assert running.interrupt() == 0, running.text()


@pytest.fixture(scope="module")
def answers(clips):
    """Of the model on the CPU, one clip at a time."""
    model, processor = SoundLlava.from_pretrained("tiny").eval(), SoundLlavaProcessor.from_pretrained("tiny")
    found = []
    for path in clips:
        messages = [{"role": "user", "content": [{"type": "video", "path": str(path)}, QUESTION]}]
        inputs = processor.apply_chat_template(
            messages,
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            processor_kwargs={"return_tensors": "pt"},
        )
        ids = model.generate(**inputs, max_new_tokens=32)
        found.append(processor.decode(ids[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True).strip())
    return found


def ask(client, path, **options):
    content = [{"type": "video_url", "video_url": {"url": str(path)}}, QUESTION]
    return client.chat.completions.create(model="tiny", messages=[{"role": "user", "content": content}], **options)


def test_answers_at_once_are_those_of_the_cpu(cuda_client, clips, answers):
    with ThreadPoolExecutor(len(clips)) as pool:
        found = list(pool.map(lambda path: ask(cuda_client, path).choices[0].message.content, clips))
    assert found == answers
    assert len(set(answers)) > 8


def test_a_stream_with_settings_of_its_own(cuda_client, clips, answers):
    options = {"sound_top_k": 5, "sound_patches": "drop", "return_sound_info": True}
    first, *rest = ask(cuda_client, clips[0], stream=True, extra_body=options)
    assert sum(len(one["kept"]) for one in first.sound_info) == 5
    whole = ask(cuda_client, clips[0], extra_body=options)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in (first, *rest) if chunk.choices)
    assert text == whole.choices[0].message.content != ""


def test_an_error_leaves_the_server_able_to_answer(cuda_client, clips, answers):
    with pytest.raises(BadRequestError, match="sound_top_k"):
        ask(cuda_client, clips[1], extra_body={"sound_top_k": 1000})
    assert ask(cuda_client, clips[1]).choices[0].message.content == answers[1]
