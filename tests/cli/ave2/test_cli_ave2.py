"""`soundclip ave2 …`: what it writes, what it prints, and how it fails."""

import json

import pytest
from ave2_rows import rows
from chat_server import chat_server, completion, good
from media_files import grey_frames, tone, write_media

from soundclip_hf.data.annotation.dead_letters import read_dead_letters
from soundclip_hf.data.annotation.rubric import Rubric
from soundclip_hf.data.ave2.schema import complete
from soundclip_hf.data.ave2.tables import read_rows, write_parquet

pytest.importorskip("pyarrow")
SERVER = ("--base-url", "http://127.0.0.1:9/v1", "--model", "m")


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "table.parquet"
    write_parquet(rows(60), path)
    return path


def test_segment_and_verify(soundclip, tmp_path):
    folder, out = tmp_path / "videos", tmp_path / "clips"
    folder.mkdir()
    for number in range(2):
        options = {"samples": tone(6.5, 16000), "rate": 16000, "frames": grey_frames(65), "fps": 10}
        write_media(folder / f"v{number}.mp4", video="libx264", audio="aac", **options)
    (folder / "bad.mp4").write_bytes(b"no media")
    outcome = soundclip("ave2", "segment", folder, "--out", out, "--workers", 2, "--max-side", 32, "--json")
    assert outcome.code == 0, outcome.stderr
    found = {row["video_id"]: row for row in outcome.rows}
    assert found["v0"] == {"video_id": "v0", "clips": ["v0_01.mp4", "v0_02.mp4"], "rejects": []}
    assert found["bad"]["rejects"] == [{"segment": None, "reason": "decode_error"}]
    assert "rejected: bad: decode_error" in outcome.stderr
    made = list(read_rows(out / "segments.jsonl"))
    assert [row["sample_id"] for row in made] == ["v0_01", "v0_02", "v1_01", "v1_02"]
    checked = soundclip("ave2", "verify", out / "segments.jsonl", "--media", out, "--json")
    assert checked.code == 0, checked.stdout
    assert (checked.rows[0]["media_checked"], checked.rows[0]["videos"]) == (4, 2)
    (out / "v1_01.mp4").write_bytes(b"other")
    checked = soundclip("ave2", "verify", out / "segments.jsonl", "--media", out, "--json")
    assert (checked.code, checked.rows[0]["media_changed"]) == (1, ["v1_01"])


def test_segment_without_a_single_clip(soundclip, tmp_path):
    (tmp_path / "bad.mp4").write_bytes(b"no media")
    command = ("ave2", "segment", tmp_path / "bad.mp4", "--workers", 1, "--out", tmp_path / "clips")
    outcome = soundclip(*command)
    assert (outcome.code, "rejected: bad: decode_error" in outcome.stderr) == (1, True)
    assert "0 clips of 1 videos" in outcome.stdout
    (tmp_path / "clips" / "segments.jsonl").write_text("{half")
    outcome = soundclip(*command)
    assert (outcome.code, "segments.jsonl: is no table of clips" in outcome.error) == (1, True)
    assert (tmp_path / "clips" / "segments.jsonl").read_text() == "{half"


def test_segment_keeps_the_videos_of_earlier_runs(soundclip, tmp_path):
    options = {"samples": tone(3.2, 16000), "rate": 16000, "frames": grey_frames(32), "fps": 10}
    for name in ("a", "b"):
        write_media(tmp_path / f"{name}.mp4", video="libx264", audio="aac", **options)
    command, out = ("ave2", "segment", "--workers", 1, "--out"), tmp_path / "clips"
    soundclip(*command, out, tmp_path / "a.mp4")
    gone = soundclip(*command, out, tmp_path / "c.mp4")
    assert (gone.code, "c.mp4: no such file or folder" in gone.error) == (1, True)
    for _ in range(2):
        told = soundclip(*command, out, tmp_path / "b.mp4").stdout
        assert told == f"1 clips of 1 videos in {out}, beside 1 of earlier videos; rejected: none\n"
        assert [row["sample_id"] for row in read_rows(out / "segments.jsonl")] == ["a_01", "b_01"]


def test_judge_then_stats_and_agreement(soundclip, tmp_path, table):
    out = tmp_path / "judged.parquet"

    def reply(number, body):
        return completion(good() if "a scene" in body["messages"][1]["content"] else "no")

    with chat_server(reply) as asked:
        arguments = ["ave2", "judge", table, "--out", out, "--base-url", asked.url, "--model", "m", "--json"]
        outcome = soundclip(*arguments)
        assert outcome.code == 0, outcome.stderr
        assert outcome.rows[0]["judged"] == 60
        assert outcome.rows[0]["prompt_sha256"] == Rubric().sha256
        again = soundclip(*arguments)
        assert (again.rows[0]["cached"], again.rows[0]["requests"]) == (60, 0)
    counted = soundclip("ave2", "stats", out, "--json").rows[0]
    assert counted["numbers"]["mean.overall"] == pytest.approx(8.4)
    assert counted["numbers"]["type.visible_silent"] == 60
    assert counted["paper"]["rows"] == 580147
    text = soundclip("ave2", "stats", out).stdout
    assert "580,147" in text
    compared = soundclip("ave2", "agreement", table, out, "--repeats", 20, "--json")
    assert compared.rows[0]["score"] == "temporal_alignment_score"
    assert compared.rows[0]["n"] == 54
    same = soundclip("ave2", "agreement", table, table, "--repeats", 0)
    assert "quadratic 1.0000" in same.stdout
    never = soundclip("ave2", "agreement", out, out, "--repeats", 5, "--json").rows[0]
    assert never["kappa_linear"] is None  # one score throughout


def test_failed_judgements_are_reported_and_asked_again(soundclip, tmp_path):
    out, table = tmp_path / "judged.parquet", tmp_path / "table.parquet"
    write_parquet([row | {"audio_caption": f"sound {number}"} for number, row in enumerate(rows(60))], table)
    with chat_server(lambda number, body: completion("no")) as asked:
        outcome = soundclip("ave2", "judge", table, "--out", out, "--base-url", asked.url, "--model", "m")
    assert outcome.code == 1
    assert outcome.stderr.startswith("failed: {'unusable': 60}, most often because: ")
    letters = tmp_path / "judged.parquet.dead.parquet"
    assert {letter["error"] for letter in read_dead_letters(letters)} == {"unusable"}
    assert {row["overall_score"] for row in read_rows(out)} == {None}
    with chat_server(lambda number, body: completion(good() if number < 50 else "no")) as asked:
        again = ["ave2", "judge", letters, "--out", out, "--base-url", asked.url, "--model", "m", "--concurrency", 1]
        outcome = soundclip(*again, "--json")
        assert outcome.code == 1
        assert (outcome.rows[0]["rows"], outcome.rows[0]["judged"]) == (60, 50)
    assert [row["overall_score"] is None for row in read_rows(out)] == [False] * 50 + [True] * 10
    assert [letter["attempts"] for letter in read_dead_letters(letters)] == [4] * 10
    lost = soundclip("ave2", "judge", letters, "--out", tmp_path / "x.parquet", "--base-url", "x", "--model", "m")
    assert "x.parquet does not exist" in lost.error


def test_annotate_then_judge_the_clips(soundclip, tmp_path):
    """Pictures go to one model and sounds to another; neither gets the other's evidence, the judge gets both."""
    media = tmp_path / "clips"
    media.mkdir()
    made = [complete({"youtube_id": f"v{number}", "segment": 1}) for number in range(3)]
    for row in made[:2]:
        write_media(media / f"{row['sample_id']}.mp4", video="libx264", audio="aac")
    write_parquet(made, tmp_path / "rows.parquet")

    def reply(number, body):
        kinds = {part["type"] for part in body["messages"][1]["content"]}
        if body["model"] == "eyes":
            assert kinds == {"text", "image_url"}
            return completion({"video_caption": "a grey wall"})
        if body["model"] == "ears":
            assert kinds == {"text", "input_audio"}
            return completion({"audio_caption": "a tone", "speech_content": "", "environmental_audio": "tone"})
        assert kinds == {"text", "image_url", "input_audio"}
        return completion(good())

    with chat_server(reply) as asked:
        out = tmp_path / "annotated.parquet"
        to = ["--base-url", asked.url, "--media", media, "--json"]
        arguments = [tmp_path / "rows.parquet", "--out", out, "--video-model", "eyes", "--audio-model", "ears", *to]
        outcome = soundclip("ave2", "annotate", *arguments)
        assert outcome.code == 1
        assert outcome.rows[0]["failed"] == {"video_caption: no_evidence": 1, "audio_caption: no_evidence": 1}
        found = list(read_rows(out))
        assert [row["video_caption"] for row in found] == ["a grey wall", "a grey wall", None]
        assert json.loads(found[0]["extra"])["captions"]["audio_caption"]["model"] == "judge-1 (fp)"
        assert soundclip("ave2", "annotate", *arguments).rows[0]["requests"] == 0
        judged = tmp_path / "judged.parquet"
        outcome = soundclip("ave2", "judge", out, "--out", judged, "--mode", "media", "--model", "both", *to)
        assert outcome.rows[0]["judged"] == 2
        found = list(read_rows(judged))
        assert [row["judge_mode"] for row in found] == ["media"] * 3
        assert [row["overall_score"] for row in found] == pytest.approx([8.4, 8.4, None])
    (tmp_path / "own.csv").write_text('sample_id,text\nv2_01,"a bird, far away"\n')
    own = ["--captions", tmp_path / "own.csv", "--column", "video_caption=text", "--json"]
    outcome = soundclip("ave2", "annotate", out, "--out", tmp_path / "own.parquet", *own)
    assert outcome.code == 0, outcome.stderr
    assert [row["video_caption"] for row in read_rows(tmp_path / "own.parquet")][2] == "a bird, far away"


def test_verify_finds_leaks_mixed_prompts_and_bad_rows(soundclip, tmp_path):
    given = rows(9)
    given[1] = given[1] | {"split": "eval", "judge_prompt_sha256": "a" * 64}
    given[2] = given[2] | {"judge_prompt_sha256": "b" * 64}
    given[8] = given[7]
    write_parquet(given, tmp_path / "a.parquet")
    outcome = soundclip("ave2", "verify", tmp_path / "a.parquet", "--json")
    found = outcome.rows[0]
    assert outcome.code == 1
    assert found["leaks"] == ["video-00000"]
    assert len(found["prompts"]) == 2
    assert found["bad_rows"] == 1
    assert "already that of row 7" in found["bad"][0]["reasons"][0]
    text = soundclip("ave2", "verify", tmp_path / "a.parquet").stdout
    assert "2 different prompts" in text
    assert "row 8 (video-00002_02)" in text


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["stats", "{}/none.parquet"], 1, ["none.parquet", "no such file"]),
        (["stats", "{}/empty"], 1, ["has no .parquet"]),
        (["verify", "{}/text.parquet"], 1, ["text.parquet", "cannot be read as Parquet"]),
        (["agreement", "{}/none.parquet", "{}/none.parquet"], 1, ["no such file"]),
        (["annotate", "{}/zero.jsonl", "--out", "{}/o.parquet", *SERVER, "--media", "{}"], 1, ["has no rows"]),
        (["judge", "{}/zero.jsonl", "--out", "{}/o.parquet", *SERVER], 1, ["zero.jsonl: has no rows"]),
        (["subset", "{}/zero.jsonl", "--out", "{}/o.parquet"], 1, ["zero.jsonl: has no rows"]),
        (["shard", "{}/zero.jsonl", "--out", "{}/o"], 1, ["zero.jsonl: has no rows"]),
        (["shard", "{}/zero.jsonl", "--out", "{}/o", "--media", "{}/no"], 2, ["/no: no such folder"]),
        (["verify", "{}/zero.jsonl", "--media", "{}/no"], 2, ["/no: no such folder"]),
        (["segment", "{}/empty", "--out", "{}/out"], 1, ["has no video files"]),
        (["segment", "{}/a.mp4", "--out", "{}/out", "--backend", "gpu"], 2, ["--backend gpu"]),
        (
            ["judge", "{}/a", "--out", "{}/b", "--base-url", "x", "--model", "m", "--max-cost", "1"],
            2,
            ["--input-price"],
        ),
        (["judge", "{}/a", "--out", "{}/b", "--base-url", "x", "--model", "m"], 1, ["no such file"]),
    ],
    ids=str,
)
def test_bad_input_is_one_line(soundclip, tmp_path, arguments, code, words):
    (tmp_path / "empty").mkdir()
    (tmp_path / "zero.jsonl").touch()
    (tmp_path / "text.parquet").write_text("no parquet") if "verify" in arguments else None
    outcome = soundclip("ave2", *[argument.format(tmp_path) for argument in arguments])
    assert outcome.code == code, outcome.stderr
    assert "Traceback" not in outcome.stderr
    for word in words:
        assert word in outcome.error
