"""lmms-eval itself, where it is installed (docs/integrations.md says how): its score is that of our own answers."""

import numpy as np
import pytest
import torch
from media_files import pcm_wav
from PIL import Image
from transformers import AutoModelForMultimodalLM, AutoProcessor

from soundclip_hf.bundled import TINY
from soundclip_hf.data.synthetic.questions import hearing_questions
from soundclip_hf.data.synthetic.scenes import scene, write_mp4
from soundclip_hf.integrations.lmms_eval.sound_source import write_task

pytestmark = pytest.mark.slow
pytest.importorskip("lmms_eval")

from lmms_eval.api.instance import Instance  # noqa: E402
from lmms_eval.evaluator import simple_evaluate  # noqa: E402
from lmms_eval.models import get_model  # noqa: E402
from lmms_eval.tasks import TaskManager  # noqa: E402

from soundclip_hf.integrations.lmms_eval.model import SoundLlavaChat, to_messages  # noqa: E402

SCENES = [scene(30_000_000 + number) for number in range(4)]


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    """Clips, and pictures beside the sound of their own or of the next scene."""
    root, found = tmp_path_factory.mktemp("clips"), []
    for index, one in enumerate(SCENES):
        write_mp4(root / f"{index}.mp4", [one])
        Image.fromarray(one.picture).save(root / f"{index}.png")
        (root / f"{index}.wav").write_bytes(pcm_wav(np.asarray(one.sound)[:, None], 16_000))
    for index, one in enumerate(SCENES):
        for question, answer in hearing_questions(one):
            found.append({"video": str(root / f"{index}.mp4"), "question": question, "answer": answer})
        swapped = (index + 1) % len(SCENES)
        for sound in (index, swapped):
            media = {"image": str(root / f"{index}.png"), "audio": str(root / f"{sound}.wav")}
            found.append({**media, "answer": hearing_questions(SCENES[sound])[0][1]})
    return found


def own_answers(rows, **settings):
    """One by one, with transformers' own calls."""
    processor = AutoProcessor.from_pretrained(TINY)
    model = AutoModelForMultimodalLM.from_pretrained(TINY, dtype=torch.float32)
    answers = []
    for row in rows:
        media = [{"type": kind, "path": row[kind]} for kind in ("image", "audio", "video") if kind in row]
        content = [*media, {"type": "text", "text": row.get("question", "What makes the sound?")}]
        inputs = processor.apply_chat_template(
            [{"role": "user", "content": content}],
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
        )
        output = model.generate(**inputs, **settings, max_new_tokens=64, do_sample=False)
        answers.append(processor.decode(output[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True).strip())
    return answers


@pytest.mark.parametrize("alignment", ["projected", "raw"])
def test_the_score_is_that_of_our_own_answers(rows, tmp_path, monkeypatch, alignment):
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    write_task(tmp_path / "task", rows)
    result = simple_evaluate(
        model="sound_llava",
        model_args=f"pretrained=tiny,dtype=float32,alignment={alignment}",
        tasks=["sound_source"],
        batch_size=4,
        device="cpu",
        task_manager=TaskManager("ERROR", include_path=str(tmp_path / "task")),
    )
    wanted = own_answers(rows, sound_alignment=alignment)
    told = {sample["doc_id"]: sample["filtered_resps"][0] for sample in result["samples"]["sound_source"]}
    assert [told[index] for index in range(len(rows))] == wanted
    right = [answer == row["answer"] for answer, row in zip(wanted, rows, strict=True)]
    assert result["results"]["sound_source"]["exact_match,none"] == pytest.approx(np.mean(right))
    assert len(set(wanted)) > 4
    # The same picture with another sound.
    swapped = [(wanted[index], wanted[index + 1]) for index in range(3, len(rows), 5)]
    if alignment == "projected":
        assert sum(one != other for one, other in swapped) >= 2


@pytest.fixture(scope="module")
def model():
    return get_model("sound_llava")(pretrained="tiny", device="cpu", dtype="float32", batch_size=2)


def ask(model, messages, **gen_kwargs):
    model.task_dict = {"t": {"test": [messages]}}
    arguments = ("context", lambda doc: doc, gen_kwargs, 0, "t", "test")
    request = Instance(
        request_type="generate_until",
        arguments=arguments,
        idx=0,
        metadata={"task": "t", "doc_id": 0, "repeats": 1, "split": "test"},
    )
    return model.generate_until([request])


def test_its_kinds_of_parts_and_settings(model, rows):
    assert type(model) is SoundLlavaChat
    one = SCENES[0]
    content = [
        {"type": "image", "url": one.picture},
        {"type": "audio", "url": {"array": np.asarray(one.sound), "sampling_rate": 16_000}},
        {"type": "text", "text": "What makes the sound?"},
    ]
    messages = [{"role": "user", "content": content}]
    (answer,) = ask(model, messages, until=["\n\n"])
    assert answer == hearing_questions(one)[0][1]
    assert ask(model, messages, until=" ", num_beams=1, top_p=None) == ["The"]
    assert ask(model, messages, max_new_tokens=1) != [answer]
    assert ask(model, [{"role": "user", "content": "What makes the sound?"}])[0]
    with pytest.raises(NotImplementedError, match="generate_until"):
        model.loglikelihood([])


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ({"type": "depth", "url": "a"}, "t: a part of type 'depth' cannot be given"),
        (
            {"type": "video", "url": "a.mp4", "start_time": 1.0},
            "type 'video' has the keys start_time, url; it needs url",
        ),
        ({"type": "image"}, "type 'image' has the keys none"),
        ("text", "a part of type None"),
    ],
)
def test_parts_that_would_be_lost(part, message):
    with pytest.raises(ValueError, match=message):
        to_messages([{"role": "user", "content": [part]}], "t")
    with pytest.raises(ValueError, match="give a role and a content"):
        to_messages([{"role": "user", "content": "a", "audio": "a.wav"}], "t")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_beams": 4}, "num_beams=4 would not be used"),
        ({"top_p": 0.9}, "top_p=0.9 would not be used"),
        ({"do_sample": True}, "do_sample=True and temperature=0.0 contradict"),
        ({"stop": ["."]}, "stop=.* would not be used: give some of do_sample, max_new_tokens, temperature, until"),
    ],
)
def test_settings_that_would_not_be_used(model, settings, message):
    with pytest.raises(ValueError, match=message):
        ask(model, [{"role": "user", "content": "What?"}], **settings)


def test_one_process(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ValueError, match="WORLD_SIZE=2: sound_llava runs in one process"):
        SoundLlavaChat()
