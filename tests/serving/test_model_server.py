"""`soundclip serve` as OpenAI's client sees it: answers, what was heard, many requests at once, and errors."""

import asyncio
import base64
import json
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.request import Request, urlopen

import httpx
import pytest
from model_server import ModelServer
from openai import APIError, APIStatusError, AsyncOpenAI, BadRequestError, NotFoundError, OpenAI
from transformers.cli.serving.model_manager import ModelManager
from transformers.cli.serving.utils import Modality

QUESTION = "What makes the sound?"


def data_url(path, kind):
    return f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"


def wav(path):
    encoded = base64.b64encode(path.with_suffix(".wav").read_bytes()).decode()
    return {"type": "input_audio", "input_audio": {"data": encoded, "format": "wav"}}


def video(url):
    return {"type": "video_url", "video_url": {"url": url}}


def image(url):
    return {"type": "image_url", "image_url": {"url": url}}


def text(words=QUESTION):
    return {"type": "text", "text": words}


def user(*parts):
    return {"role": "user", "content": list(parts)}


def ask(client, *parts, model="tiny", **options):
    return client.chat.completions.create(model=model, messages=[user(*parts)], **options)


def said(completion):
    return completion.choices[0].message.content


def streamed(chunks):
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks)


@pytest.fixture(scope="module")
def expected(clips, model, processor):
    """The answers of the model itself, without a server."""

    def answer(messages, generate=None, **options):
        inputs = processor.apply_chat_template(
            messages,
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            processor_kwargs={"return_tensors": "pt", **options},
        )
        ids = model.generate(**inputs, max_new_tokens=32, **(generate or {}))
        return processor.decode(ids[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True).strip()

    return answer


@pytest.fixture(scope="module")
def clip_answers(clips, expected):
    return [expected([user({"type": "video", "path": str(path)}, text())]) for path in clips]


def test_the_model_is_listed(client, server):
    (model,) = client.models.list().data
    assert model.id == "tiny"
    with urlopen(server.url.replace("/v1", "/health")) as response:
        assert json.load(response) == {"status": "ok"}


def test_the_answers_differ(clip_answers):
    """Otherwise the tests of many requests at once would show nothing."""
    assert len(set(clip_answers)) >= 5


def test_a_clip_by_data_url_and_by_address(client, clips, site, clip_answers):
    """One frame of a video by default: 64 tokens of a picture, and few of text."""
    for url in (data_url(clips[0], "video/mp4"), f"{site}/{clips[0].name}"):
        completion = ask(client, video(url), text())
        assert said(completion) == clip_answers[0]
        assert completion.model == "tiny"
        assert completion.choices[0].finish_reason == "stop"
        assert completion.usage.prompt_tokens < 100


def test_a_picture_with_a_sound(client, clips, site, expected):
    for path in clips[:3]:
        png, sound = path.with_suffix(".png"), path.with_suffix(".wav")
        answer = expected(
            [user({"type": "image", "path": str(png)}, {"type": "audio", "path": str(sound)}, text())],
        )
        assert said(ask(client, image(data_url(png, "image/png")), wav(path), text())) == answer
        heard = {"type": "audio_url", "audio_url": {"url": f"{site}/{sound.name}"}}
        assert said(ask(client, image(f"{site}/{png.name}"), heard, text())) == answer


def test_a_picture_or_a_sound_alone(client, clips, expected):
    png, sound = clips[0].with_suffix(".png"), clips[0].with_suffix(".wav")
    words = "Which things are in the picture?"
    seen = expected([user({"type": "image", "path": str(png)}, text(words))])
    assert said(ask(client, image(data_url(png, "image/png")), text(words))) == seen
    heard = expected([user({"type": "audio", "path": str(sound)}, text())])
    assert said(ask(client, wav(clips[0]), text())) == heard


def test_several_turns(client, clips, expected):
    first = [user(video(data_url(clips[1], "video/mp4")), text())]
    local = [user({"type": "video", "path": str(clips[1])}, text())]
    answer = client.chat.completions.create(model="tiny", messages=first).choices[0].message
    rest = [{"role": "assistant", "content": answer.content}, user(text("What colour is it?"))]
    # A message as the client has it, and a system message in both spellings.
    given = [{"role": "developer", "content": "Answer."}, *first, answer, user(text("What colour is it?"))]
    told = client.chat.completions.create(model="tiny", messages=given)
    assert said(told) == expected([{"role": "system", "content": "Answer."}, *local, *rest])


def test_a_stream_says_the_same(client, clips, clip_answers):
    chunks = list(ask(client, video(data_url(clips[0], "video/mp4")), text(), stream=True))
    assert streamed(chunks) == clip_answers[0]
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert len(chunks) > 3


def test_a_stream_ends_as_clients_without_a_library_expect(server):
    body = json.dumps({"messages": [{"role": "user", "content": "hi"}], "stream": True}).encode()
    request = Request(f"{server.url}/chat/completions", body, {"content-type": "application/json"})
    with urlopen(request) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        events = response.read().decode().strip().split("\n\n")
    assert events[-1] == "data: [DONE]"
    assert all(json.loads(event.removeprefix("data: ")) for event in events[:-1])


@pytest.mark.parametrize("stream", [False, True])
def test_sixteen_at_once_hear_their_own_sound(server, clips, site, clip_answers, expected, stream):
    """Clips by address and as data, and among them requests without a sound."""
    png = clips[0].with_suffix(".png")
    silent = expected([user({"type": "image", "path": str(png)}, text())])

    async def one(client, index):
        path = clips[index]
        url = f"{site}/{path.name}" if index % 2 else data_url(path, "video/mp4")
        parts = (video(url), text()) if index % 4 else (image(data_url(png, "image/png")), text())
        made = await ask(client, *parts, stream=stream)
        return streamed([chunk async for chunk in made]) if stream else said(made)

    async def all_of_them():
        async with AsyncOpenAI(base_url=server.url, api_key="none", max_retries=0) as client:
            return await asyncio.gather(*(one(client, index) for index in range(len(clips))))

    answers = asyncio.run(all_of_them())
    assert answers == [answer if index % 4 else silent for index, answer in enumerate(clip_answers)]


class TestSoundOptions:
    def test_what_was_heard(self, client, clips, model, processor):
        """The patches are those that the model itself keeps."""
        clip = data_url(clips[0], "video/mp4")
        inputs = processor.apply_chat_template(
            [user({"type": "video", "path": str(clips[0])}, text())],
            tokenize=True,
            return_dict=True,
            processor_kwargs={"return_tensors": "pt"},
        )
        (info,) = model(**inputs, sound_top_k=5, return_sound_info=True).sound_info
        told = ask(client, video(clip), text(), extra_body={"return_sound_info": True, "sound_top_k": 5})
        assert told.sound_info == [
            {
                "picture": True,
                "sound": True,
                "mode": "zero",
                "k": 5,
                "kept": info.kept.nonzero().flatten().tolist(),
                "patches": 64,
            }
        ]
        chunks = list(
            ask(
                client,
                video(clip),
                text(),
                stream=True,
                extra_body={"return_sound_info": True, "sound_top_k": 5, "sound_patches": "drop"},
            )
        )
        assert [entry["mode"] for entry in chunks[0].sound_info] == ["drop"]
        assert chunks[-1].usage.prompt_tokens < 64

    def test_silent_pictures_are_named_so(self, client, clips):
        png = data_url(clips[0].with_suffix(".png"), "image/png")
        told = ask(client, image(png), image(png), text(), extra_body={"return_sound_info": True})
        silent = {"picture": True, "sound": False, "mode": "silent", "k": None, "kept": None, "patches": None}
        assert told.sound_info == [silent, silent]
        told = ask(client, wav(clips[0]), text(), extra_body={"return_sound_info": True})
        assert [(one["picture"], one["sound"]) for one in told.sound_info] == [(False, True)]
        assert ask(client, text(), extra_body={"return_sound_info": True}).sound_info == []
        assert "sound_info" not in ask(client, image(png), text()).model_extra

    @pytest.mark.parametrize(
        ("options", "generate", "processing"),
        [
            ({"sound_top_k": 0}, {}, {"sound_top_k": 0}),
            ({"sound_top_k": [2]}, {}, {"sound_top_k": [2]}),
            ({"sound_patches": "drop", "sound_top_k": 4}, {}, {"sound_patches": "drop", "sound_top_k": 4}),
            ({"sound_alignment": "raw"}, {"sound_alignment": "raw"}, {}),
            ({"sound_alpha": 0.75}, {"sound_alpha": 0.75}, {}),
        ],
    )
    def test_options_reach_the_model(self, client, clips, expected, options, generate, processing):
        for path in clips[:4]:
            told = ask(client, video(data_url(path, "video/mp4")), text(), extra_body=options)
            local = [user({"type": "video", "path": str(path)}, text())]
            assert said(told) == expected(local, generate, **processing)

    def test_a_sound_adapter(self, client, clips, model, adapter, expected):
        model.load_sound_adapter(adapter, "loud")
        clip = data_url(clips[2], "video/mp4")
        local = [user({"type": "video", "path": str(clips[2])}, text())]
        for name, k in (("loud", 3), ("default", 8)):
            options = {"sound_adapter": name, "return_sound_info": True}
            told = ask(client, video(clip), text(), extra_body=options)
            assert said(told) == expected(local, {"sound_adapter": name})
            assert told.sound_info[0]["k"] == k

    def test_frames_of_a_video(self, client, clips, site):
        clip = video(data_url(clips[0], "video/mp4"))

        def heard(extra, part=clip):
            return ask(client, part, text(), extra_body={"return_sound_info": True, **extra})

        four = heard({"num_frames": 4})
        assert len(four.sound_info) == 4
        assert all(one["sound"] for one in four.sound_info)
        assert len(heard({}, {**clip, "num_frames": 2}).sound_info) == 2
        two = video(f"{site}/two.mp4")
        first, later = heard({"frame": "first"}, two), heard({"frame": 4.5}, two)
        assert first.sound_info != later.sound_info
        assert heard({"frame": 0}, two).sound_info == heard({}, {**two, "frame": 0.1}).sound_info == first.sound_info
        assert heard({}, {**clip, "load_audio": False}).sound_info[0]["sound"] is False


class TestGeneration:
    def test_tokens_are_limited(self, client, clips):
        told = ask(client, video(data_url(clips[0], "video/mp4")), text(), max_tokens=2)
        assert told.choices[0].finish_reason == "length"
        assert told.usage.completion_tokens == 2

    def test_a_seed_makes_a_sample_repeatable(self, client):
        def sample(seed):
            return said(ask(client, text("hi"), temperature=2.0, seed=seed))

        first = [sample(seed) for seed in range(6)]
        assert first == [sample(seed) for seed in range(6)]
        assert len(set(first)) > 1

    @pytest.mark.parametrize("stream", [False, True])
    def test_an_answer_ends_before_a_stop_sequence(self, client, clips, clip_answers, stream):
        assert clip_answers[0].startswith("The ")
        stop = clip_answers[0][5:8]
        told = ask(client, video(data_url(clips[0], "video/mp4")), text(), stop=[stop, "never"], stream=stream)
        assert (streamed(told) if stream else said(told)) == clip_answers[0].partition(stop)[0].strip()


BROKEN = base64.b64encode(b"RIFF....WAVEnothing").decode()
WRONG = {
    "no picture": ([image(f"data:image/png;base64,{BROKEN}"), text()], {}, "messages[0].content[0]", "as a picture"),
    "no sound": (
        [{"type": "input_audio", "input_audio": {"data": BROKEN, "format": "wav"}}, text()],
        {},
        "messages[0].content[0]",
        "corrupt, truncated or not media",
    ),
    "a broken video": ([text(), video("{site}/broken.mp4")], {}, "messages[0].content[1]", "broken.mp4"),
    "a video without sound": ([video("{site}/mute.mp4"), text()], {}, None, "no audio stream"),
    "404": ([video("{site}/nothing.mp4"), text()], {}, "messages[0].content[0]", "answered 404"),
    "nobody there": ([video("http://127.0.0.1:1/a.mp4")], {}, "messages[0].content[0]", "cannot be fetched"),
    "a wrong data URL": ([image("data:image/png;base64,@@@@"), text()], {}, "messages[0].content[0]", "not base64"),
    "an empty data URL": ([image("data:image/png;base64,"), text()], {}, "messages[0].content[0]", "empty"),
    "another scheme": ([image("ftp://host/a.png"), text()], {}, "messages[0].content[0]", "ftp:// is not supported"),
    "a misspelt part": (
        [{"type": "vidoe_url", "vidoe_url": {"url": "x"}}],
        {},
        "messages[0].content[0]",
        "'video_url'",
    ),
    "a part without source": ([{"type": "video_url"}], {}, "messages[0].content[0]", "no source"),
    "a local file": ([image("/etc/hostname"), text()], {}, "messages[0].content[0]", "outside the folder"),
    "a local file by URL": ([image("file:///etc/hostname")], {}, "messages[0].content[0]", "outside the folder"),
    "a marker": ([text("<image> hi")], {}, None, "<image>"),
    "two sounds for one picture": (
        [image("{png}"), *[{"type": "audio_url", "audio_url": {"url": "{wav}"}}] * 2],
        {},
        None,
        "2",
    ),
    "an unknown option": ([text()], {"sound_topk": 3}, "sound_topk", "Did you mean 'sound_top_k'"),
    "top_k": ([text()], {"sound_top_k": -1}, "sound_top_k", "int >= 0"),
    "too large a top_k": ([video("{clip}"), text()], {"sound_top_k": 65}, "sound_top_k", "65"),
    "patches": ([text()], {"sound_patches": "half"}, "sound_patches", "'zero' or 'drop'"),
    "alignment": ([text()], {"sound_alignment": "both"}, "sound_alignment", "'projected' or 'raw'"),
    "alpha": ([text()], {"sound_alpha": 1.5}, "sound_alpha", "0..1"),
    "adapter": ([text()], {"sound_adapter": "rain"}, "sound_adapter", "'default', 'loud'"),
    "frame": ([text()], {"frame": "last"}, "frame", "'middle', 'first'"),
    "a frame past the end": ([video("{clip}")], {"frame": 60}, "messages[0].content[0]", "60"),
    "too many frames": ([text()], {"num_frames": 33}, "num_frames", "1..32"),
    "frames of a part": ([{**video("{clip}"), "num_frames": 999}], {}, "messages[0].content[0]", "1..32"),
    "a long prompt": ([video("{clip}"), text()], {"num_frames": 32}, "messages", "context"),
    "max_tokens": ([text()], {"max_tokens": 33}, "max_tokens", "at most 32"),
    "temperature": ([text()], {"temperature": 3}, "temperature", "0..2"),
    "two answers": ([text()], {"n": 2}, "n", "not supported"),
    "tools": ([text()], {"tools": [{"type": "function"}]}, "tools", "not supported"),
}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_said(client, clips, site, case, stream):
    parts, options, param, reason = WRONG[case]
    filled = json.dumps(parts).replace("{site}", site)
    for name, suffix in (("{clip}", ".mp4"), ("{png}", ".png"), ("{wav}", ".wav")):
        filled = filled.replace(name, f"{site}/{clips[0].with_suffix(suffix).name}")
    with pytest.raises(BadRequestError) as raised:
        ask(client, *json.loads(filled), stream=stream, extra_body=options)
    assert reason in raised.value.body["message"]
    assert raised.value.body["type"] == "invalid_request_error"
    assert raised.value.body["param"] == param


@pytest.mark.parametrize(
    ("messages", "reason"),
    [
        ([], "at least one message"),
        ("hi", "at least one message"),
        (["hi"], "messages[0] is a str"),
        ([{"role": "usr", "content": "hi"}], "'user'"),
        ([{"role": "user"}], "content=None"),
        ([{"role": "user", "content": "hi", "images": ["x"]}], "'images'"),
        ([{"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]}], "tools"),
    ],
)
def test_messages_that_are_none(client, messages, reason):
    with pytest.raises(BadRequestError, match="message") as raised:
        client.chat.completions.create(model="tiny", messages=messages)
    assert reason in raised.value.body["message"]


def test_another_model(client):
    with pytest.raises(NotFoundError) as raised:
        ask(client, text(), model="org/other")
    assert raised.value.code == "model_not_found"
    assert "'org/other'" in raised.value.body["message"]
    assert "'tiny'" in raised.value.body["message"]
    assert [one.id for one in client.models.list()] == ["tiny"]


def test_a_local_file_that_is_allowed(client, clips, clip_answers):
    for name in (str(clips[3]), f"file://{clips[3]}", clips[3].name):
        assert said(ask(client, video(name), text())) == clip_answers[3]


@pytest.mark.parametrize("path", ["load_model", "reset", "v1/responses", "v1/completions", "docs", "openapi.json"])
def test_no_other_route(server, path):
    """Among transformers' own are those that load and unload models."""
    answer = httpx.post(server.url.replace("v1", path), json={"model": "x"})
    assert answer.status_code == 404
    assert "/v1/chat/completions" in answer.json()["error"]["message"]


def test_bodies_that_are_no_requests(server):
    address = f"{server.url}/chat/completions"
    for body in (b"{", b"[1]", b"", b'"hi"', b"\xff\xfe", b"[" * 100_000, b'{"\\ud800": 1}'):
        answer = httpx.post(address, content=body, headers={"content-type": "application/json"})
        assert answer.status_code == 400
        assert answer.json()["error"]["type"] == "invalid_request_error"
    assert httpx.get(address).status_code == 405


@pytest.mark.parametrize("mib", [5, 80])
def test_too_large_a_body(client, mib):
    """The limit of this server is 4 MiB; what is far too large is not read to its end."""
    with pytest.raises((APIStatusError, APIError)) as raised:
        ask(client, image("data:image/png;base64," + "A" * (mib * 2**20)))
    if mib == 5:
        assert raised.value.status_code == 413
        assert "bytes" in raised.value.body["message"]


def test_a_client_that_goes_away_stops_nobody(server, client, clips, clip_answers):
    host, port = server.url.removeprefix("http://").removesuffix("/v1").split(":")
    messages = [user(video(data_url(clips[0], "video/mp4")), text())]
    body = json.dumps({"messages": messages, "stream": True}).encode()
    head = "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    head += f"Content-Length: {len(body)}"
    for sent in (body, body[:100]):
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall(f"{head}\r\n\r\n".encode() + sent)
            time.sleep(0.05)
    assert said(ask(client, *messages[0]["content"])) == clip_answers[0]


def test_transformers_own_server_knows_the_class(model, processor):
    """`transformers serve` looks it up by name; without our package it cannot load the configuration at all."""
    assert ModelManager.get_model_modality(model, processor) is Modality.MULTIMODAL


def test_an_adapter_is_served_and_ends_while_a_request_waits(adapter, clips):
    """The model has the name that it was started with. Nothing holds up Ctrl-C, also an address that never answers."""
    running = ModelServer(adapter)
    client = OpenAI(base_url=running.url, api_key="none", max_retries=0)
    assert [one.id for one in client.models.list()] == [str(adapter)]
    heard = ask(client, wav(clips[0]), text(), model=str(adapter), extra_body={"return_sound_info": True})
    assert heard.sound_info[0]["sound"] is True
    with pytest.raises(BadRequestError, match="reads no local files"):
        ask(client, image(str(clips[0].with_suffix(".png"))), model=str(adapter))
    with socket.create_server(("127.0.0.1", 0)) as silent, ThreadPoolExecutor() as pool:
        slow = video(f"http://127.0.0.1:{silent.getsockname()[1]}/clip.mp4")
        waiting = pool.submit(ask, client, slow, text(), model=str(adapter))
        silent.accept()
        assert running.interrupt() == 0, running.text()
        with pytest.raises(APIError):
            waiting.result()
    assert "Traceback" not in running.text()
