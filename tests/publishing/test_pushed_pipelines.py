"""Pipelines and Auto classes over published models, in another process: by revision, and from the cache alone."""

import json

import pytest
from hub_models import adapter_model, write_adapter, write_parts
from tiny_processors import tiny_sound_processor

PUSH = """
from soundclip_hf.publishing.model_push import push_model
for folder, repo, tag in json.loads(sys.argv[1]):
    push_model(folder, repo, tag=tag)
print(1)
"""
ASK = """
import numpy, torch
import soundclip_hf
from PIL import Image
from transformers import (
    AutoConfig, AutoFeatureExtractor, AutoModelForMultimodalLM, AutoProcessor, AutoTokenizer, pipeline
)
repo, where = sys.argv[1], json.loads(sys.argv[2])

def turn(*seeds, picture=True):
    parts = []
    for seed in seeds:
        draw = numpy.random.default_rng(seed)
        if picture:
            image = Image.fromarray(draw.integers(0, 255, (30, 40, 3), dtype=numpy.uint8))
            parts.append({"type": "image", "image": image})
        sound = (draw.standard_normal(4_000 + 800 * seed) * 0.1).astype(numpy.float32)
        parts.append({"type": "audio", "audio": sound, "sampling_rate": 16_000})
    return [{"role": "user", "content": [*parts, {"type": "text", "text": "What makes the sound?"}]}]

model = AutoModelForMultimodalLM.from_pretrained(repo, **where)
processor = AutoProcessor.from_pretrained(repo, **where)
assert type(AutoConfig.from_pretrained(repo, **where)).__name__ == "SoundLlavaConfig"
extractor = AutoFeatureExtractor.from_pretrained(repo, **where)
assert type(extractor) is type(processor.feature_extractor)
assert type(AutoTokenizer.from_pretrained(repo, **where)) is type(processor.tokenizer)

def generated(conversation):
    chat = {"add_generation_prompt": True, "tokenize": True, "return_dict": True, "return_tensors": "pt"}
    inputs = processor.apply_chat_template(conversation, **chat)
    with torch.no_grad():
        ids = model.generate(**inputs, max_new_tokens=5, do_sample=False)[0, inputs["input_ids"].shape[1] :]
    return processor.decode(ids, skip_special_tokens=True)

shown, heard = [turn(1), turn(5)], [turn(2, picture=False), turn(6, picture=False)]
conversations = [*shown, *heard, turn(3, 4)]
out = {"generate": [generated(conversation) for conversation in conversations]}
options = {"max_new_tokens": 5, "return_full_text": False}
for task in ("any-to-any", "image-text-to-text"):
    asked = pipeline(task, model=repo, **where)
    out[f"{task}, alone"] = [asked(text=one, **options)[0]["generated_text"] for one in conversations]
    padded = {"audio_kwargs": {"padding": "max_length"}}
    # In a batch of transformers' pipelines every row has a picture, or none has one, and a row has one sound.
    batches = [asked(text=rows, batch_size=len(rows), processor_kwargs=padded, **options) for rows in (shown, heard)]
    out[f"{task}, batch"] = [one[0]["generated_text"] for rows in batches for one in rows]
    out[f"{task}, batch"].append(out[f"{task}, alone"][-1])
print(json.dumps(out))
"""


@pytest.fixture
def parts(hub, tmp_path):
    return write_parts(hub, tmp_path)


def test_pipelines_answer_as_generate(hub, ask, parts, tmp_path):
    adapter_model(3.0).save_pretrained(tmp_path / "whole", adapter_only=False)
    tiny_sound_processor("llava").save_pretrained(tmp_path / "whole")
    pushes = [
        [str(write_adapter(tmp_path / "old")), "org/ears", "v1"],
        [str(write_adapter(tmp_path / "new", bias=-4.0)), "org/ears", "v2"],
        [str(tmp_path / "whole"), "org/whole", "v1"],
    ]
    ask(PUSH, json.dumps(pushes))
    answers = {}
    for repo, where in (("org/ears", {"revision": "v1"}), ("org/ears", {}), ("org/whole", {})):
        found = ask(ASK, repo, json.dumps(where), token=None, home="shared")
        for way, texts in found.items():
            assert texts == found["generate"], (repo, where, way)
        answers[repo, *where] = found["generate"]
    assert len({tuple(texts) for texts in answers.values()}) == 3  # each of its own weights
    hub.requests.clear()
    again = ask(ASK, "org/ears", '{"revision": "v1"}', token=None, home="shared", offline=True)
    assert set(map(tuple, again.values())) == {tuple(answers["org/ears", "revision"])}
    assert not hub.requests
