"""Chat templates with image, audio and video parts: the base's template renders them, and sounds find their images."""

import base64
import copy
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from media_files import grey_frames, tone, write_media
from PIL import Image
from rounding import assert_equal_inputs
from tiny_processors import IMAGE_ID, SAMPLING_RATE, picture, sound, tiny_llava_processor, tiny_sound_processor
from transformers.pipelines.any_to_any import AnyToAnyPipeline
from transformers.pipelines.any_to_any import Chat as AnyToAnyChat
from transformers.pipelines.image_text_to_text import Chat, ImageTextToTextPipeline
from transformers.processing_utils import TextKwargs

from soundclip_hf.media import MediaError, read_clip

VARIANTS = ("llava", "llava_next")
CLIPS = Path(__file__).resolve().parents[4] / "shared" / "clips"
# In the manner of llava-1.5-7b-hf: all images of a message first, then its texts, each with a blank.
TEMPLATE = (
    "{% for message in messages %}{{ message['role'].upper() + ': ' }}"
    "{% for part in message['content'] | selectattr('type', 'equalto', 'image') %}{{ '<image>\n' }}{% endfor %}"
    "{% for part in message['content'] | selectattr('type', 'equalto', 'text') %}"
    "{% if message['role'] == 'assistant' %}{% generation %}{{ part['text'] + ' ' }}{% endgeneration %}"
    "{% else %}{{ part['text'] + ' ' }}{% endif %}{% endfor %}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}"
)
IMAGE = {"type": "image", "image": picture()}
OTHER = {"type": "image", "image": picture(90, 30, 1)}
WAVES = [sound(0.4, 1), sound(0.7, 2)]
AUDIO, SECOND = ({"type": "audio", "array": wave, "sampling_rate": SAMPLING_RATE} for wave in WAVES)
TEXT = {"type": "text", "text": "What makes the sound?"}
ENCODE = {"add_generation_prompt": True, "tokenize": True, "return_dict": True, "return_tensors": "pt"}


def user(*parts):
    return [{"role": "user", "content": list(parts)}]


@pytest.fixture(params=VARIANTS)
def processor(request):
    return tiny_sound_processor(request.param, chat_template=TEMPLATE)


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """One second: frames 0..24, a tone."""
    path = tmp_path_factory.mktemp("clips") / "clip.mkv"
    samples = tone(1, 48000)
    return write_media(path, video="mpeg4", audio="flac", samples=samples, frames=grey_frames(25))


@pytest.fixture(scope="module")
def silent_clip(tmp_path_factory):
    path = tmp_path_factory.mktemp("clips") / "silent.mkv"
    return write_media(path, video="mpeg4", frames=grey_frames(25))


def encode(processor, conversation, **kwargs):
    return processor.apply_chat_template(conversation, **{**ENCODE, **kwargs})


def slots(batch):
    return batch["sound_slots"].tolist()


@pytest.mark.parametrize(
    "conversation",
    [
        user(IMAGE, TEXT),
        user(TEXT),
        user(IMAGE, OTHER, TEXT),
        [{"role": "system", "content": [TEXT]}, *user(IMAGE, TEXT)],
        [
            *user(IMAGE, TEXT),
            {"role": "assistant", "content": [{"type": "text", "text": "A dog."}]},
            *user(OTHER, TEXT),
        ],
    ],
)
@pytest.mark.parametrize("variant", VARIANTS)
def test_silent_chats_are_the_stock_processors(variant, conversation):
    for template in (TEMPLATE, None):
        ours = tiny_sound_processor(variant, chat_template=template)
        stock = tiny_llava_processor(variant, chat_template=ours.chat_template)
        before = copy.deepcopy(conversation)
        assert ours.apply_chat_template(conversation) == stock.apply_chat_template(copy.deepcopy(conversation))
        for chat, options in ((conversation, {}), ([conversation, user(IMAGE, TEXT)], {"padding": True})):
            options = {**ENCODE, "processor_kwargs": options}
            assert_equal_inputs(
                ours.apply_chat_template(chat, **options), stock.apply_chat_template(copy.deepcopy(chat), **options)
            )
        assert [message.keys() for message in conversation] == [message.keys() for message in before]


def test_default_template_is_llavas():
    processor = tiny_sound_processor("llava")
    answer = {"role": "assistant", "content": [{"type": "text", "text": "A dog."}]}
    render = processor.apply_chat_template
    assert render(user(IMAGE, TEXT), add_generation_prompt=True) == "USER: <image>\nWhat makes the sound? ASSISTANT:"
    assert render([*user(IMAGE, TEXT), answer]) == "USER: <image>\nWhat makes the sound? ASSISTANT: A dog.</s>"
    system = {"role": "system", "content": "Be brief."}
    assert render([system, *user(TEXT)]) == "Be brief. USER: What makes the sound? "
    question = {"role": "user", "content": "Why?"}
    assert render([question], add_generation_prompt=True) == "USER: Why? ASSISTANT:"


def test_sound_leaves_no_trace_in_the_text(processor):
    silent = encode(processor, user(IMAGE, TEXT))["input_ids"][0]
    for parts in ((IMAGE, AUDIO, TEXT), (AUDIO, IMAGE, TEXT), (TEXT, IMAGE, AUDIO), (IMAGE, TEXT, AUDIO)):
        heard = encode(processor, user(*parts))["input_ids"][0]
        assert heard[heard != IMAGE_ID].tolist() == silent[silent != IMAGE_ID].tolist()
        assert len(heard) == len(silent) + 1


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ((IMAGE, AUDIO, TEXT), [[0, 0]]),
        ((IMAGE, OTHER, AUDIO, TEXT), [[0, 0], [1, 0]]),
        ((IMAGE, AUDIO, OTHER, TEXT), [[0, 0], [1, 0]]),
        ((IMAGE, OTHER, AUDIO, SECOND, TEXT), [[0, 0], [1, 1]]),
        ((IMAGE, {"type": "audio", "audio": None}, OTHER, AUDIO), [[0, -1], [1, 0]]),
        ((AUDIO, TEXT), [[-1, 0]]),
        ((AUDIO, SECOND, TEXT), [[-1, 0], [-1, 1]]),
    ],
)
def test_pairs(processor, parts, expected):
    batch = encode(processor, user(*parts))
    assert slots(batch) == expected
    assert len(batch["input_features"]) == max(heard for _, heard in expected) + 1


@pytest.mark.parametrize("parts", [(IMAGE, AUDIO, TEXT), (IMAGE, OTHER, AUDIO, TEXT), (IMAGE, OTHER, AUDIO, SECOND)])
def test_text_first_and_processor_after_it_give_the_same(processor, parts):
    sounds = [part["array"] for part in parts if part["type"] == "audio"]
    images = [part["image"] for part in parts if part["type"] == "image"]
    prompt = processor.apply_chat_template(user(*parts), add_generation_prompt=True)
    assert prompt.startswith("USER: <image><audio>\n")
    assert_equal_inputs(
        processor(images, prompt, [sounds], sampling_rate=SAMPLING_RATE, return_tensors="pt"),
        encode(processor, user(*parts)),
    )


def test_text_alone_opens_no_file(processor):
    parts = [{"type": "image"}, {"type": "audio"}, {"type": "text", "text": "Why?"}]
    assert processor.apply_chat_template(user(*parts)) == "USER: <image><audio>\nWhy? "
    assert processor.apply_chat_template([user(*parts[1:])]) == ["USER: <audio>\nWhy? "]
    video = {"type": "video", "path": "nowhere.mp4", "num_frames": 2}
    assert processor.apply_chat_template(user(video)) == "USER: <image><audio>\n<image><audio>\n"
    assert processor.apply_chat_template(user({**video, "load_audio": False})) == "USER: <image>\n<image>\n"


def test_batch_equals_single_conversations(processor, clip):
    chats = [
        user(IMAGE, AUDIO, TEXT),
        user(TEXT),
        user(AUDIO, TEXT),
        user({"type": "video", "path": str(clip)}, OTHER, TEXT),
        [*user(IMAGE, TEXT), {"role": "assistant", "content": [TEXT]}, *user(OTHER, SECOND, TEXT)],
    ]
    for patches in ("zero", "drop"):
        batch = encode(processor, chats, processor_kwargs={"padding": True, "sound_patches": patches})
        assert slots(batch) == [[0, 0], [-1, 1], [1, 2], [2, -1], [3, 3], [4, 3]]
        for row, chat in enumerate(chats):
            single = encode(processor, chat, processor_kwargs={"sound_patches": patches})
            assert torch.equal(batch["input_ids"][row][batch["attention_mask"][row].bool()], single["input_ids"][0])


def test_flat_options_work_as_in_the_stock_processor(processor):
    chats = [user(IMAGE, AUDIO, TEXT), user(TEXT)]
    flat = encode(processor, chats, padding=True, sound_patches="drop", sound_top_k=2)
    nested = {"padding": True, "sound_patches": "drop", "sound_top_k": 2}
    assert_equal_inputs(flat, encode(processor, chats, processor_kwargs=nested))
    assert flat["sound_budget"].tolist() == [2]


# Sources ---------------------------------------------------------------------------------------------------------


def test_every_source_of_an_audio_part(processor, clip):
    content = Path(clip).read_bytes()
    text = base64.b64encode(content).decode()
    waveform, _ = pair = read_clip(clip)
    parts = [
        {"path": str(clip)},
        {"audio": str(clip)},
        {"url": Path(clip).as_uri()},
        {"audio": content},
        {"bytes": content},
        {"base64": text},
        {"url": f"data:audio/x-matroska;base64,{text}"},
        {"audio": {"array": waveform, "sampling_rate": pair.sampling_rate}},
        {"audio": {"bytes": content, "path": None}},
        {"audio": waveform, "sampling_rate": pair.sampling_rate},
        {"array": torch.from_numpy(waveform), "sampling_rate": pair.sampling_rate},
    ]
    expected = encode(processor, user(IMAGE, {"type": "audio", **parts[0]}, TEXT))
    for part in parts:
        assert_equal_inputs(encode(processor, user(IMAGE, {"type": "audio", **part}, TEXT)), expected)
    rate = {"sampling_rate": pair.sampling_rate}
    bare = user(IMAGE, {"type": "audio", "audio": waveform}, TEXT)
    for options in ({"processor_kwargs": rate}, {"processor_kwargs": {"audio_kwargs": rate}}, rate):
        assert_equal_inputs(encode(processor, bare, **options), expected)


def test_video_is_its_frame_and_its_sound(processor, clip):
    whole = read_clip(clip, sampling_rate=SAMPLING_RATE)
    expected = encode(
        processor,
        user(
            {"type": "image", "image": whole.frame},
            {"type": "audio", "array": whole.waveform, "sampling_rate": SAMPLING_RATE},
            TEXT,
        ),
    )
    sources = ({"path": str(clip)}, {"video": clip}, {"url": Path(clip).as_uri()}, {"bytes": Path(clip).read_bytes()})
    for source in (*sources, {"video": whole}):
        assert_equal_inputs(encode(processor, user({"type": "video", **source}, TEXT)), expected)


@pytest.mark.parametrize(("frame", "number"), [("first", 0), ("middle", 12), (0.6, 15)])
def test_frame_of_a_video(processor, clip, frame, number):
    still = {"type": "image", "image": Image.fromarray(grey_frames(25)[number])}
    expected = encode(processor, user(still, TEXT))["pixel_values"]
    video = {"type": "video", "path": str(clip)}
    for part, options in (({**video, "frame": frame}, {}), (video, {"frame": frame})):
        pixels = encode(processor, user(part, TEXT), **options)["pixel_values"]
        torch.testing.assert_close(pixels.mean(), expected.mean(), rtol=0, atol=0.02)


def test_frames_of_a_video_share_its_sound(processor, clip):
    video = {"type": "video", "path": str(clip)}
    calls = [({**video, "num_frames": 3}, {}), (video, {"num_frames": 3})]
    for part, options in [*calls, (video, {"processor_kwargs": {"num_frames": 3}})]:
        batch = encode(processor, user(part, TEXT), **options)
        assert slots(batch) == [[0, 0], [1, 0], [2, 0]]
        assert len(batch["input_features"]) == 1


def test_videos_images_and_sounds_together(processor, clip):
    video = {"type": "video", "path": str(clip)}
    for parts, expected in (
        ((video, IMAGE), [[0, 0], [1, -1]]),
        ((IMAGE, video), [[0, -1], [1, 0]]),
        ((video, IMAGE, AUDIO), [[0, 0], [1, 1]]),
        ((AUDIO, IMAGE, video), [[0, 1], [1, 0]]),
        ((video, IMAGE, OTHER, AUDIO), [[0, 0], [1, 1], [2, 1]]),
        ((video, video), [[0, 0], [1, 1]]),
        (({**video, "load_audio": False}, AUDIO), [[0, 0]]),
        (({**video, "num_frames": 2}, IMAGE), [[0, 0], [1, 0], [2, -1]]),
    ):
        assert slots(encode(processor, user(*parts, TEXT))) == expected


def test_video_without_its_sound(processor, clip, silent_clip):
    expected = encode(processor, user({"type": "image", "image": read_clip(clip).frame}, TEXT))
    video = {"type": "video", "path": str(clip)}
    assert_equal_inputs(encode(processor, user({**video, "load_audio": False}, TEXT)), expected)
    assert_equal_inputs(encode(processor, user(video, TEXT), load_audio_from_video=False), expected)
    silent = encode(processor, user({"type": "video", "path": str(silent_clip), "load_audio": False}, TEXT))
    assert "sound_slots" not in silent


@pytest.mark.skipif(not CLIPS.exists(), reason="the reference clips (shared/clips) are not here")
def test_real_clips(processor):
    paths = sorted(CLIPS.glob("*.mp4"))
    chats = [user({"type": "video", "path": str(path)}, TEXT) for path in paths]
    batch = encode(processor, chats, processor_kwargs={"padding": True})
    assert slots(batch) == [[row, row] for row in range(len(paths))]
    for row, chat in enumerate(chats):
        single = encode(processor, chat)
        assert torch.equal(batch["input_ids"][row][batch["attention_mask"][row].bool()], single["input_ids"][0])
        frames = int(single["input_features_mask"].sum())
        torch.testing.assert_close(
            batch["input_features"][row][..., :frames], single["input_features"][0][..., :frames]
        )


# Options of the stock method -------------------------------------------------------------------------------------


def test_assistant_mask_fits_the_expanded_prompt(processor):
    answer = "It is a dog."
    chat = [*user(IMAGE, AUDIO, TEXT), {"role": "assistant", "content": [{"type": "text", "text": answer}]}]
    batch = processor.apply_chat_template(
        chat, tokenize=True, return_dict=True, return_tensors="pt", return_assistant_tokens_mask=True
    )
    answered = batch["input_ids"][batch["assistant_masks"].bool()]
    assert processor.decode(answered) == answer + " "


def test_continue_final_message(processor):
    chat = [*user(IMAGE, AUDIO, TEXT), {"role": "assistant", "content": [{"type": "text", "text": "It is"}]}]
    ids = encode(processor, chat, add_generation_prompt=False, continue_final_message=True)["input_ids"][0]
    assert processor.decode(ids).endswith("ASSISTANT: It is")


@pytest.mark.skipif(
    "sanitize_control_tokens" not in TextKwargs.__annotations__,
    reason="this version of transformers has no such option",
)
def test_sanitised_text_cannot_write_markers(processor):
    text = {"type": "text", "text": "an <image>, an <audio> and </s>"}
    processor.chat_template = "{{ bos_token }}" + TEMPLATE  # the option needs a template that writes special tokens
    batch = encode(processor, user(IMAGE, AUDIO, text), sanitize_control_tokens=True)
    plain = encode(processor, user(IMAGE, AUDIO, TEXT))
    assert (batch["input_ids"] == IMAGE_ID).sum() == (plain["input_ids"] == IMAGE_ID).sum()
    assert "an <image>, an <audio> and </s>" in processor.decode(batch["input_ids"][0], skip_special_tokens=True)
    silent = encode(processor, user(IMAGE, text), sanitize_control_tokens=True)
    assert "an <audio> and" in processor.decode(silent["input_ids"][0], skip_special_tokens=True)


def test_openai_style_images(processor, tmp_path):
    picture().save(tmp_path / "image.png")
    part = {"type": "image_url", "image_url": {"url": str(tmp_path / "image.png")}}
    assert_equal_inputs(encode(processor, user(part, AUDIO, TEXT)), encode(processor, user(IMAGE, AUDIO, TEXT)))


@dataclass
class Message:
    role: str
    content: Any


class Pydantic:
    """As pydantic models and the messages of OpenAI's client: `model_dump`, which leaves media as they are."""

    def __init__(self, **fields):
        self.fields = fields

    def model_dump(self):
        return self.fields


def test_message_objects(processor, clip):
    """Messages and parts are dataclasses or pydantic models; conversations are objects with `messages`."""
    video = {"type": "video", "video": read_clip(clip, sampling_rate=SAMPLING_RATE)}
    expected = encode(processor, user(video, IMAGE, TEXT))
    assert_equal_inputs(encode(processor, [Message("user", [video, IMAGE, TEXT])]), expected)
    parts = [Pydantic(**part) for part in (video, IMAGE, TEXT)]
    assert_equal_inputs(encode(processor, [Pydantic(role="user", content=parts, tool_calls=None)]), expected)
    chat = SimpleNamespace(messages=user(video, IMAGE, TEXT))
    assert_equal_inputs(encode(processor, chat), expected)
    assert_equal_inputs(encode(processor, [chat]), expected)
    with pytest.raises(TypeError, match="conversation 0: message 1 is a str; give a dictionary"):
        encode(processor, [Message("user", "What?"), "And?"])
    with pytest.raises(TypeError, match="conversation 0 is a NoneType; give a list of messages"):
        encode(processor, None)


@pytest.mark.parametrize(
    ("pipeline", "chat"), [(AnyToAnyPipeline, AnyToAnyChat), (ImageTextToTextPipeline, Chat)], ids=["any", "image-text"]
)
def test_pipelines_reach_the_processor(processor, clip, pipeline, chat):
    stand_in = SimpleNamespace(processor=processor, dtype=torch.bfloat16)
    messages = user(IMAGE, AUDIO, TEXT)
    inputs = pipeline.preprocess(stand_in, chat(messages))
    assert inputs["text"].messages == messages
    assert slots(inputs) == [[0, 0]]
    assert inputs["pixel_values"].dtype == inputs["input_features"].dtype == torch.bfloat16
    assert inputs["sound_slots"].dtype == torch.int64
    inputs = pipeline.preprocess(
        stand_in, chat(user({"type": "video", "path": str(clip)})), processor_kwargs={"sound_patches": "drop"}
    )
    assert inputs["sound_budget"].tolist() == [5]
    plain = pipeline.preprocess(stand_in, {"images": [picture()], "text": "<image> What?"})
    assert "sound_slots" not in plain


def test_any_to_any_without_chat(processor):
    stand_in = SimpleNamespace(processor=processor, dtype=torch.float32)
    call = {"text": "<image><audio>\nWhat?", "images": picture(), "videos": None, "audio": sound()}
    inputs = AnyToAnyPipeline.preprocess(stand_in, call, sampling_rate=SAMPLING_RATE)
    assert slots(inputs) == [[0, 0]]


# Parts of other clients ------------------------------------------------------------------------------------------


def test_sounds_of_every_client_are_heard(processor, clip):
    """As OpenAI's and vLLM's clients write them: heard as the same sound from a path is."""
    text = base64.b64encode(Path(clip).read_bytes()).decode()
    parts = [
        {"type": "input_audio", "input_audio": {"data": text, "format": "wav"}},
        {"type": "audio_url", "audio_url": {"url": str(clip)}},
        {"type": "audio_url", "audio_url": {"url": f"data:audio/x-matroska;base64,{text}"}},
        {"type": "audio", "audio": text},
        {"type": "audio", "file": str(clip)},
    ]
    path = {"type": "audio", "path": str(clip)}
    for others in ((IMAGE, TEXT), (TEXT,), (IMAGE, OTHER, {"type": "input_text", "text": TEXT["text"]})):
        expected = encode(processor, user(path, *others))
        for part in parts:
            assert_equal_inputs(encode(processor, user(part, *others)), expected)
    for video in ({"type": "video_url", "video_url": {"url": str(clip)}}, {"type": "video", "base64": text}):
        assert_equal_inputs(
            encode(processor, user(video, TEXT)), encode(processor, user({"type": "video", "path": str(clip)}, TEXT))
        )


def test_pictures_of_every_client_are_seen(processor, tmp_path):
    path = tmp_path / "image.png"
    picture().save(path)
    text = base64.b64encode(path.read_bytes()).decode()
    expected = encode(processor, user(IMAGE, AUDIO, TEXT))
    for part in (
        {"type": "input_image", "image_url": str(path), "detail": "auto"},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{text}"}},
        {"type": "image", "base64": text},
        {"type": "image", "file": path},
        {"type": "image", "image": {"bytes": path.read_bytes(), "path": None}},
        {"type": "image", "image": np.array(picture())},
    ):
        assert_equal_inputs(encode(processor, user(part, AUDIO, TEXT)), expected)


@pytest.mark.parametrize("load", [True, False], ids=["tokens", "text"])
@pytest.mark.parametrize("role", ["system", "user", "assistant", "tool"])
def test_a_sound_is_heard_in_the_turn_of_every_role(processor, role, load):
    chat = [{"role": role, "content": [AUDIO, {"type": "text", "text": "This."}]}, *user(TEXT)]
    if load:
        assert slots(encode(processor, chat)) == [[-1, 0]]
    else:
        assert processor.apply_chat_template(chat).count("<audio>") == 1


def test_strings_among_parts_are_texts(processor):
    assert_equal_inputs(encode(processor, user(AUDIO, TEXT["text"])), encode(processor, user(AUDIO, TEXT)))


def test_pictures_may_come_beside_the_conversation(processor):
    options = {"processor_kwargs": {"images": [picture()]}}
    found = encode(processor, user({"type": "image"}, AUDIO, TEXT), **options)
    assert_equal_inputs(found, encode(processor, user(IMAGE, AUDIO, TEXT)))


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image_url", "image_url": {"url": "http://127.0.0.1:1/a"}},
        {"type": "image", "url": "http://127.0.0.1:1/a"},
        {"type": "audio_url", "audio_url": {"url": "http://127.0.0.1:1/a"}},
        {"type": "audio", "audio": "http://127.0.0.1:1/a"},
        {"type": "input_audio", "input_audio": "http://127.0.0.1:1/a"},
        {"type": "video_url", "video_url": {"url": "http://127.0.0.1:1/a"}},
    ],
)
def test_urls_are_fetched_by_media(processor, part):
    """Whoever wrote them: `soundclip_hf.media` has the limits, and its error says that nothing else was asked."""
    with pytest.raises(MediaError, match=r"http://127\.0\.0\.1:1/a: "):
        encode(processor, user(part, TEXT))


# Bad input -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ((IMAGE, OTHER, IMAGE, AUDIO, SECOND), "conversation 0: 2 sounds for 3 images"),
        ((IMAGE, AUDIO, SECOND), "conversation 0: 2 sounds for 1 image"),
        ((IMAGE, {"type": "audio"}), "a part of type 'audio' has no source: give one of audio, url, path"),
        ((IMAGE, {"type": "video"}), "a part of type 'video' has no source"),
        ((IMAGE, {"type": "audio", "audio": WAVES[0]}), "sampling rate is missing"),
        ((IMAGE, AUDIO, {"type": "text", "text": "<audio> What?"}), "conversation 0: <audio> in a text part"),
        ((IMAGE, {"type": "text", "text": "<audio> What?"}), "conversation 0: <audio> in a text part"),
        ((IMAGE, AUDIO, {"type": "text", "text": "<image> What?"}), "sample 0: the prompt has 2 <image> for 1 images"),
        ((IMAGE, {"type": "audio", "base64": "no!"}), "message 0, part 1 of type 'audio': 'no!'... is not base64"),
        (({"type": "video", "path": "nowhere.mp4"},), "nowhere.mp4: no such file"),
    ],
)
def test_bad_conversations(processor, parts, message):
    with pytest.raises(ValueError, match=message):
        encode(processor, user(*parts, TEXT))


@pytest.mark.parametrize("tokenize", [True, False])
@pytest.mark.parametrize(
    ("chat", "message"),
    [
        (user(IMAGE, {"type": "sound", "path": "s.wav"}), "message 0, part 1 has the type 'sound'"),
        (user({**IMAGE, "audio": "s.wav"}), "message 0, part 0 of type 'image' also has 'audio'"),
        ([AUDIO, TEXT], "message 0 has no `role`; its keys are 'type', 'array', 'sampling_rate'"),
        ([{"role": "user", "content": "What?", "audio": "s.wav"}], "message 0 has 'audio' beside its content"),
        ([{"role": "user", "content": "What?", "images": ["a.png"]}], "message 0 has 'images' beside its content"),
        ([{"role": "user", "content": AUDIO}], "message 0: its content is a dict; give a string or a list"),
        ([{"role": "user", "content": iter([AUDIO])}], "message 0: its content is a list_iterator"),
        ([{"role": "user", "content": None}], "message 0: its content is missing"),
        ([*user(TEXT), {"role": "tool", "content": [{"type": "tool_result"}]}], "message 1, part 0 has the type"),
        ([], "conversation 0 has no messages"),
        ([[]], "conversation 0 has no messages"),
    ],
)
def test_a_medium_that_no_template_would_read(processor, chat, message, tokenize):
    """Wherever a sound stands in a conversation, it is heard or refused: also where only the text is asked for."""
    with pytest.raises(ValueError, match=message):
        encode(processor, chat, tokenize=tokenize)


def test_an_answer_that_only_calls_tools(processor):
    processor.chat_template = tiny_sound_processor("llava").chat_template
    call = {"role": "assistant", "content": None, "tool_calls": [{"type": "function"}]}
    assert slots(encode(processor, [*user(AUDIO, TEXT), call])) == [[-1, 0]]


@pytest.mark.parametrize("tokenize", [True, False])
@pytest.mark.parametrize("name", ["audio", "audios", "sound", "videos"])
def test_sounds_beside_the_conversation(processor, name, tokenize):
    """They would be lost with `tokenize=False`, and two places for a sound are one too many otherwise."""
    for options in ({name: WAVES}, {"processor_kwargs": {name: WAVES}}):
        with pytest.raises(TypeError, match=f"Unexpected argument '{name}'"):
            encode(processor, user(IMAGE, TEXT), tokenize=tokenize, **options)


def test_ids_alone_do_not_hold_a_sound(processor):
    for options in ({"return_dict": False}, {"return_dict": None}):
        with pytest.raises(ValueError, match="return_dict=False gives token ids alone, without the sound"):
            encode(processor, user(IMAGE, AUDIO, TEXT), **options)
    assert encode(processor, [user(IMAGE, TEXT)], return_dict=False).ndim == 2


@pytest.mark.parametrize("tokenize", [True, False])
def test_a_template_that_reads_pictures_of_users_alone(processor, tokenize):
    """Templates of other base models pass over parts: the sound of another turn must not go with them."""
    template = (
        "{% for message in messages if message['role'] == 'user' %}{% for part in message['content'] %}"
        "{% if part['type'] == 'image' %}<image>{% else %}{{ part['text'] }}{% endif %}{% endfor %}{% endfor %}"
    )
    chat = [{"role": "system", "content": [AUDIO]}, *user(TEXT)]
    with pytest.raises(ValueError, match="the prompt has 0 <image> for 1 images and sounds"):
        encode(processor, chat, chat_template=template, tokenize=tokenize)
    assert slots(encode(processor, user(AUDIO, TEXT), chat_template=template)) == [[-1, 0]]


def test_pictures_that_are_none(processor, tmp_path, monkeypatch):
    """Without pixels, or with more than any computer takes: an error with the size, before memory is taken."""
    picture().save(tmp_path / "large.png")
    monkeypatch.setattr("soundclip_hf.media.limits.MAX_PICTURE_PIXELS", 2399)
    for source in (tmp_path / "large.png", picture()):
        with pytest.raises(MediaError, match="has 60 x 40 pixels, more than 2399"):
            encode(processor, user({"type": "image", "image": source}, AUDIO, TEXT))
    with pytest.raises(MediaError, match=r"has no pixels \(0 x 0\)"):
        encode(processor, user({"type": "image", "image": Image.new("RGB", (0, 0))}, AUDIO, TEXT))


def test_video_without_audio_stream(processor, silent_clip):
    with pytest.raises(ValueError, match=r'silent.mkv has no audio stream; set "load_audio": False'):
        encode(processor, user({"type": "video", "path": str(silent_clip)}, TEXT))


def test_video_without_video_stream(processor, tmp_path):
    path = write_media(tmp_path / "sound.flac", audio="flac", samples=tone(1, 16000), rate=16000)
    with pytest.raises(ValueError, match=r'sound.flac has no video stream; give it as {"type": "audio"'):
        encode(processor, user({"type": "video", "path": str(path)}, TEXT))


def test_audio_part_beside_a_video_with_sound(processor, clip):
    with pytest.raises(ValueError, match=r'1 audio part beside videos that bring their own sound.*"load_audio": False'):
        encode(processor, user({"type": "video", "path": str(clip)}, AUDIO, TEXT))


def test_bad_frames(processor, clip):
    video = {"type": "video", "path": str(clip)}
    for options, message in (({"frame": 7.0}, "7"), ({"frame": "last"}, "frame='last'")):
        with pytest.raises(MediaError, match=message):
            encode(processor, user({**video, **options}, TEXT))
    for tokenize in (True, False):
        with pytest.raises(ValueError, match="num_frames=0: must be an int >= 1"):
            encode(processor, user({**video, "num_frames": 0}, TEXT), tokenize=tokenize)


def test_template_that_cannot_render_images(processor):
    template = "{% for message in messages %}{{ message['role'] }}{% endfor %}"
    for tokenize in (True, False):
        with pytest.raises(ValueError, match="the prompt has 0 <image> for 1 images and sounds"):
            encode(processor, user(IMAGE, AUDIO, TEXT), chat_template=template, tokenize=tokenize)


@pytest.mark.parametrize("count", [np.int64(2), torch.tensor(2)])
def test_numbers_of_numpy_and_torch(processor, clip, count):
    video = {"type": "video", "path": str(clip)}
    expected = encode(processor, user(video, TEXT), num_frames=2)
    for part, options in (
        ({**video, "num_frames": count}, {}),
        (video, {"num_frames": count}),
        (video, {"processor_kwargs": {"videos_kwargs": {"num_frames": count}}}),
    ):
        assert_equal_inputs(encode(processor, user(part, TEXT), **options), expected)


def test_templates_may_write_the_source_of_a_picture(processor):
    template = "{% for part in messages[0]['content'] %}{{ part['url'] or part['path'] }}<image>{% endfor %}"
    parts = (
        {"type": "image_url", "image_url": {"url": "a"}},
        {"type": "image", "url": "b"},
        {"type": "image", "path": "c"},
    )
    assert processor.apply_chat_template(user(*parts), chat_template=template) == "a<image>b<image>c<image>"


def test_unknown_arguments(processor):
    with pytest.raises(TypeError, match="Unexpected argument 'sound_topk'"):
        encode(processor, user(IMAGE, AUDIO, TEXT), processor_kwargs={"sound_topk": 3})


def test_a_sound_plan_replaces_audio(processor):
    with pytest.raises(TypeError, match="audio"):
        encode(processor, user(IMAGE, TEXT), processor_kwargs={"audio": np.zeros(10)})
