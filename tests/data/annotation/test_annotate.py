"""Captions from models that see or hear, and from a user's table."""

import json
import time

import pytest
from chat_server import chat_server, completion
from media_files import write_media

from soundclip_hf.data.annotation.annotate import Annotator
from soundclip_hf.data.annotation.caption_tables import read_captions, with_captions
from soundclip_hf.data.annotation.captioning import AudioCaptioning, VideoCaptioning
from soundclip_hf.data.annotation.dead_letters import read_dead_letters
from soundclip_hf.data.ave2.schema import complete
from soundclip_hf.data.ave2.validation import validate
from soundclip_hf.data.inference.asking import Question
from soundclip_hf.data.inference.client import Server
from soundclip_hf.settings import SettingError

pytest.importorskip("httpx")
HEARD = {"audio_caption": "a tone", "speech_content": "", "environmental_audio": "tone"}


@pytest.fixture(scope="module")
def media(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clips")
    for number in range(2):
        write_media(folder / f"v{number}_01.mp4", video="libx264", audio="aac", audio_start=0.1 * number)
    return folder


def rows(count=2, **changes):
    return [complete({"youtube_id": f"v{number}", "segment": 1} | changes) for number in range(count)]


def annotator(asked, media, **options):
    prompts = {"video_caption": VideoCaptioning(media), "audio_caption": AudioCaptioning(media)}
    names = {"video_caption": "eyes", "audio_caption": "ears"}
    servers = {step: Server(asked.url, names[step], backoff=0.01, attempts=2) for step in prompts}
    return Annotator({step: (servers[step], prompts[step]) for step in prompts}, **options)


def answer(number, body):
    return completion(HEARD if body["model"] == "ears" else {"video_caption": "a wall"})


def test_each_model_gets_its_own_evidence(media, tmp_path):
    with chat_server(answer) as asked:
        made = list(annotator(asked, media, cache=tmp_path / "answers").annotate(rows()))
        assert len(asked.bodies) == 4
        again = annotator(asked, media, cache=tmp_path / "answers")
        assert [done.row for done in again.annotate(rows())] == [done.row for done in made]
        assert (len(asked.bodies), again.requests) == (4, 0)
    assert list(validate(done.row for done in made)) == []
    assert made[0].row["video_caption"] == "a wall"
    assert {name: made[0].row[name] for name in HEARD} == HEARD
    source = json.loads(made[0].row["extra"])["captions"]["speech_content"]
    assert source == {"model": "judge-1 (fp)", "prompt_id": AudioCaptioning().prompt_id,
                      "prompt_sha256": AudioCaptioning().sha256}  # fmt: skip
    for body in asked.bodies:
        kinds = {part["type"] for part in body["messages"][1]["content"]}
        assert kinds == {"text", "input_audio" if body["model"] == "ears" else "image_url"}
        assert body["response_format"]["json_schema"]["schema"]["additionalProperties"] is False


def test_what_is_there_is_not_asked_for(media):
    with chat_server(answer) as asked:
        (done,) = annotator(asked, media).annotate(rows(1, video_caption="mine", extra="a note"))
    assert [body["model"] for body in asked.bodies] == ["ears"]
    assert done.row["video_caption"] == "mine"
    extra = json.loads(done.row["extra"])
    assert extra["text"] == "a note"
    assert set(extra["captions"]) == set(HEARD)


@pytest.mark.parametrize(
    "bad",
    [{"video_caption": ""}, {"video_caption": 3}, {"caption": "x"}, {"video_caption": "x", "score": 10}, "no"],
    ids=str,
)
def test_one_failure_leaves_the_other_caption_and_the_other_rows(media, tmp_path, bad):
    letters = tmp_path / "dead.parquet"

    def reply(number, body):
        return answer(number, body) if body["model"] == "ears" else completion(bad)

    with chat_server(reply) as asked:
        made = list(annotator(asked, media, dead_letters=letters).annotate(rows(3)))
    assert [dict(done.failures) for done in made[:2]] == [{"video_caption": "unusable"}] * 2
    assert made[2].failures == {"video_caption": "no_evidence", "audio_caption": "no_evidence"}  # there is no clip
    assert [done.row["audio_caption"] for done in made] == ["a tone", "a tone", None]
    assert [done.row["video_caption"] for done in made] == [None] * 3
    found = [(letter["sample_id"], letter["step"], letter["attempts"]) for letter in read_dead_letters(letters)]
    assert sorted(found) == [("v0_01", "video_caption", 2), ("v1_01", "video_caption", 2),
                             ("v2_01", "audio_caption", 0), ("v2_01", "video_caption", 0)]  # fmt: skip


class Words(VideoCaptioning):
    """Captioning without a clip."""

    def question(self, row):
        messages = [{"role": "user", "content": f"{self.prompt_id} {row['youtube_id']}"}]
        return Question(messages, lambda: messages)


class HeardWords(AudioCaptioning):
    question = Words.question


def two_captioners(asked, **options):
    """Two models on one server."""
    steps = {"video_caption": Words(prompt_id="see"), "audio_caption": HeardWords(prompt_id="hear")}
    return {step: (Server(asked.url, prompt.prompt_id, **options), prompt) for step, prompt in steps.items()}


def test_two_captioners_of_one_server_share_its_limits():
    def reply(number, body):
        time.sleep(0.05)
        return completion(HEARD if body["model"] == "hear" else {"video_caption": "a wall"})

    # 100 input and 50 output tokens cost 0.006 each time.
    prices = {"input_price": 10.0, "output_price": 100.0, "max_tokens": 60, "budget": 0.063}
    with chat_server(reply) as asked:
        annotator = Annotator(two_captioners(asked, concurrency=2, **prices))
        made = list(annotator.annotate(rows(20)))
    assert asked.most <= 2
    assert len(asked.bodies) == annotator.requests == 10
    assert annotator.spent == pytest.approx(0.06)
    failed = [failure for done in made for failure in done.failures.values()]
    assert failed == ["budget"] * 30
    assert sum(bool(done.row[name]) for done in made for name in ("video_caption", "audio_caption")) == 10


def test_captioners_that_disagree_about_their_server_are_an_error():
    with chat_server(answer) as asked:
        captioners = two_captioners(asked)
        captioners["audio_caption"] = (Server(asked.url, "hear", concurrency=4), AudioCaptioning())
        with pytest.raises(SettingError, match="video_caption has concurrency=8 and audio_caption has concurrency=4"):
            list(Annotator(captioners).annotate(rows()))
    assert not asked.bodies


def test_prompts_are_hashed_with_what_is_shown(media):
    plain = VideoCaptioning()
    assert plain.sha256 == VideoCaptioning(media).sha256
    assert plain.sha256 != VideoCaptioning(instructions="other").sha256
    assert plain.sha256 != AudioCaptioning().sha256


def test_own_captions(tmp_path):
    table = tmp_path / "own.jsonl"
    table.write_text(
        '{"sample_id": "v0_01", "text": "a dog", "audio_caption": "a bark"}\n{"sample_id": "z", "text": null}\n'
    )
    found = read_captions(table, {"text": "video_caption"})
    assert found == {"v0_01": {"video_caption": "a dog", "audio_caption": "a bark"}, "z": {}}
    made = list(with_captions(rows(audio_caption="old"), found))
    assert [row["video_caption"] for row in made] == ["a dog", None]
    assert [row["audio_caption"] for row in made] == ["a bark", "old"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.csv", '\ufeffsample_id,text\r\n007,"a dog,\r\nbig"\r\n'),
        ("a.jsonl", '\ufeff{"sample_id": "007", "text": "a dog,\\r\\nbig"}\r\n\r\n'),
    ],
)
def test_tables_of_spreadsheets(tmp_path, name, text):
    """A byte order mark, CRLF, blank lines, and ids that look like numbers."""
    (tmp_path / name).write_bytes(text.encode())
    found = read_captions(tmp_path / name, {"text": "video_caption"})
    assert found == {"007": {"video_caption": "a dog,\r\nbig"}}


@pytest.mark.parametrize(
    ("name", "text", "columns", "words"),
    [
        ("a.csv", "sample_id,txt\na,b\n", {"text": "video_caption"}, "no column 'text'; did you mean 'txt'"),
        ("a.csv", "id,video_caption\na,b\n", {}, "no column 'sample_id'"),
        ("a.csv", "sample_id,other\na,b\n", {}, "has none of video_caption"),
        ("a.csv", "sample_id,x\na,b\n", {"x": "caption"}, "'caption' \\(for 'x'\\) is none of"),
        ("a.csv", "sample_id,video_caption\na,b\na,c\n", {}, "sample_id 'a' comes twice"),
        ("a.csv", "sample_id,video_caption\na,1\n", {}, "is 1, which is not text"),
        ("a.csv", "sample_id,video_caption\na,b,c\n", {}, "row 1 after the heading has more or fewer fields"),
        ("a.jsonl", '{"sample_id": "a", "video_caption": "\\ud83d"}\n', {}, "line 1: .*half of a surrogate pair"),
        ("a.jsonl", '{"sample_id": "a"\n', {}, "line 1: .*is no JSON"),
        ("a.txt", "", {}, "give a .parquet"),
        ("a.parquet", "no", {}, "cannot be read"),
    ],
)
def test_tables_that_do_not_fit(tmp_path, name, text, columns, words):
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=words):
        read_captions(tmp_path / name, columns)
    with pytest.raises(ValueError, match="no such file"):
        read_captions(tmp_path / "none.csv")
