"""What one bad item, one bad server and one bad option cost a run of `ave2 judge`, `annotate` and `build`."""

import json
import time

import pytest
import yaml
from ave2_build import Answering, long_videos, values
from chat_server import chat_server, completion, good
from media_files import write_media

from soundclip_hf.data.ave2.tables import read_rows
from soundclip_hf.data.inference import connections

pytest.importorskip("httpx")


@pytest.fixture(autouse=True)
def no_pause(monkeypatch):
    monkeypatch.setattr(connections, "REACH_PAUSE", 0.01)


@pytest.fixture
def nobody():
    """The address of a server that is gone."""
    with chat_server(lambda number, body: None) as asked:
        pass
    return asked.url


def table(folder, *rows):
    path = folder / "table.jsonl"
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return path


def row(name, **changes):
    return {"youtube_id": name, "segment": 1, "audio_caption": "a bark", "video_caption": f"a dog {name}"} | changes


def test_a_row_that_cannot_be_written_costs_itself(soundclip, tmp_path):
    given = table(tmp_path, row("a"), row("b", video_caption="half \ud83d"), row("c"))
    out = tmp_path / "out.parquet"
    with chat_server(lambda number, body: completion(good())) as asked:
        outcome = soundclip("ave2", "judge", given, "--out", out, "--base-url", asked.url, "--model", "m", "--json")
    assert outcome.code == 1
    assert (outcome.rows[0]["done"], outcome.rows[0]["failed"]) == (2, {"no_evidence": 1})
    assert "half of a surrogate pair" in outcome.rows[0]["cause"]
    assert "(b_01)" in outcome.rows[0]["cause"]
    assert "half of a surrogate pair" in outcome.stderr.splitlines()[-1]
    made = list(read_rows(out))
    assert [found["overall_score"] is None for found in made] == [False, True, False]
    assert made[1]["video_caption"] == "half \ufffd"


def test_clips_that_cannot_be_read_cost_themselves(soundclip, tmp_path):
    """One is broken, one has a name longer than any file's, one has a long name and is fine."""
    media, fine = tmp_path / "clips", "x" * 240
    media.mkdir()
    write_media(media / f"{fine}_01.mp4", video="libx264", audio="aac")
    (media / "broken_01.mp4").write_bytes(b"no media")
    given = table(tmp_path, row("broken"), row("y" * 300), row(fine))
    out = tmp_path / "out.parquet"
    with chat_server(lambda number, body: completion(good())) as asked:
        to = ["--base-url", asked.url, "--model", "m", "--mode", "media", "--media", media, "--json"]
        outcome = soundclip("ave2", "judge", given, "--out", out, *to)
    assert (outcome.code, outcome.rows[0]["failed"]) == (1, {"no_evidence": 2})
    assert [found["overall_score"] is None for found in read_rows(out)] == [True, True, False]
    assert "broken_01" in outcome.stderr
    assert "File name too long" in outcome.stderr


def test_the_most_frequent_cause_is_said_last(soundclip, tmp_path):
    given = table(tmp_path, *(row(str(number)) for number in range(5)))

    def reply(number, body):
        if "a dog 0" in body["messages"][1]["content"]:
            return completion("no")
        return 400, {}, {"error": {"message": "we are closed today"}}

    with chat_server(reply) as asked:
        to = ["--out", tmp_path / "o.parquet", "--base-url", asked.url, "--model", "m"]
        outcome = soundclip("ave2", "judge", given, *to)
    last = outcome.stderr.splitlines()[-2:]
    assert last[0] == "failed: 1 because: it has no complete JSON object (0_01)"
    assert last[1].startswith(
        "failed: {'unusable': 1, 'refused': 4}, most often because: HTTP 400: we are closed today ("
    )


def test_options_reach_the_server(soundclip, tmp_path):
    given = table(tmp_path, row("a"))
    with chat_server(lambda number, body: completion(good())) as asked:
        to = ["--base-url", asked.url, "--model", "m", "--max-tokens", 77, "--extra-body", '{"top_p": 0.5}']
        assert soundclip("ave2", "judge", given, "--out", tmp_path / "o.parquet", *to).code == 0
    assert (asked.bodies[0]["max_tokens"], asked.bodies[0]["top_p"]) == (77, 0.5)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--extra-body", "{half"], "--extra-body: is no JSON"),
        (["--extra-body", "[1]"], "extra_body: is no JSON object"),
        (["--extra-body", '{"stream": true}'], "extra_body: stream cannot be set here"),
        (["--extra-body", '{"x": NaN}'], "extra_body: "),
        (["--api-key-env", "sk-secret-key"], "is not the name of an environment variable"),
    ],
    ids=str,
)
def test_options_that_do_not_fit(soundclip, tmp_path, options, words):
    to = ["--out", tmp_path / "o.parquet", "--base-url", "http://127.0.0.1:9/v1", "--model", "m"]
    outcome = soundclip("ave2", "judge", table(tmp_path, row("a")), *to, *options)
    assert outcome.code == 2
    assert words in outcome.error
    assert "secret" not in outcome.stderr


def test_a_server_that_is_gone_stops_judge_and_build_before_anything(soundclip, tmp_path, nobody):
    to = ["--out", tmp_path / "o.parquet", "--base-url", nobody, "--model", "m"]
    begin = time.monotonic()
    outcome = soundclip("ave2", "judge", table(tmp_path, row("a")), *to)
    assert outcome.code == 1
    assert f"{nobody}: cannot be reached" in outcome.error
    folder = tmp_path / "videos"
    videos = long_videos(folder, count=1, scenes=1)
    config = tmp_path / "own.yaml"
    made = values(folder, tmp_path / "out", nobody)
    config.write_text(yaml.safe_dump(made))
    outcome = soundclip("ave2", "build", "--config", config)
    assert outcome.code == 1
    assert f"{nobody}: cannot be reached" in outcome.error
    assert not (tmp_path / "out" / "clips").exists()
    assert time.monotonic() - begin < 60
    # A stage that asks nobody needs no server; nor does a build that is complete.
    assert soundclip("ave2", "build", "--config", config, "--only", "segment").code == 0
    with chat_server(Answering(videos)) as asked:
        config.write_text(yaml.safe_dump(values(folder, tmp_path / "out", asked.url)))
        assert soundclip("ave2", "build", "--config", config).code == 0
    assert soundclip("ave2", "build", "--config", config).code == 0


def test_a_video_that_cannot_be_read_is_an_exit_code(soundclip, tmp_path, nobody):
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / "bad.mp4").write_bytes(b"no media")
    config = tmp_path / "own.yaml"
    config.write_text(yaml.safe_dump(values(tmp_path / "videos", tmp_path / "out", nobody)))
    outcome = soundclip("ave2", "build", "--config", config, "--only", "segment")
    assert outcome.code == 1
    assert "rejected: decode_error" in outcome.stderr.splitlines()[-1]
