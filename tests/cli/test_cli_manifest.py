"""Manifests: resumable after a kill at any moment, honest about what failed, and unwilling to mix settings."""

import fcntl
import json

import pytest

from soundclip_hf.cli.describe.answer_file import AnswerFile
from soundclip_hf.cli.output import CliError


@pytest.fixture
def manifest(files, tmp_path):
    """Five items, one of them broken."""
    lines = [
        {"id": "a", "video": str(files / "a.mp4")},
        {"id": "pair", "image": str(files / "picture.png"), "audio": str(files / "noise.wav"), "question": "Where?"},
        {"id": "broken", "video": str(files / "corrupt.mp4")},
        {"id": "silent", "image": str(files / "picture.png")},
        {"id": "b", "path": str(files / "b.mp4")},
    ]
    path = tmp_path / "clips.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def rows_of(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_manifest_without_out_goes_to_stdout(describe, manifest):
    outcome = describe("--manifest", manifest)
    assert outcome.code == 1
    assert [row["id"] for row in outcome.rows] == ["a", "pair", "broken", "silent", "b"]
    assert outcome.rows[1]["question"] == "Where?"
    assert outcome.rows == describe("--manifest", manifest, "--batch-size", 1).rows


def test_a_run_goes_on_where_it_was_killed(describe, manifest, tmp_path):
    whole, out = tmp_path / "whole.jsonl", tmp_path / "new" / "answers.jsonl"
    first = describe("--manifest", manifest, "--out", whole, "--json")
    assert first.code == 1
    assert first.rows == [{"out": str(whole), "answered": 4, "skipped": 0, "failed": 1}]
    assert "corrupt" in first.error
    content = whole.read_bytes()
    lines = content.split(b"\n")
    # Killed while the second line was written, after it, and before anything was.
    for cut in (len(lines[0]) + 1 + len(lines[1]) // 2, len(lines[0]) + len(lines[1]) + 1, 0):
        out.parent.mkdir(exist_ok=True)
        out.write_bytes(content[:cut])
        outcome = describe("--manifest", manifest, "--out", out, "--json")
        assert outcome.code == 1
        assert outcome.rows[0]["skipped"] == (1 if cut else 0)
        assert sorted(rows_of(out), key=lambda row: row["id"]) == sorted(rows_of(whole), key=lambda row: row["id"])
        assert not list(out.parent.glob(".*"))


def test_answered_items_are_not_asked_again_and_failed_ones_are(describe, manifest, files, tmp_path):
    out = tmp_path / "answers.jsonl"
    describe("--manifest", manifest, "--out", out)
    before = rows_of(out)
    again = describe("--manifest", manifest, "--out", out, "--json")
    assert (again.code, again.rows[0]) == (1, {"out": str(out), "answered": 0, "skipped": 4, "failed": 1})
    assert [row for row in rows_of(out) if "answer" in row] == [row for row in before if "answer" in row]
    assert sum(row["id"] == "broken" for row in rows_of(out)) == 1
    # Mended, it is answered, and the run is clean.
    manifest.write_text(manifest.read_text().replace("corrupt.mp4", "a.mp4"))
    mended = describe("--manifest", manifest, "--out", out, "--json")
    assert (mended.code, mended.rows[0]["answered"]) == (0, 1)
    assert {row["id"] for row in rows_of(out)} == {"a", "pair", "broken", "silent", "b"}
    assert all("answer" in row for row in rows_of(out))


def test_other_settings_are_not_mixed_in(describe, manifest, tmp_path):
    out = tmp_path / "answers.jsonl"
    describe("--manifest", manifest, "--out", out)
    content = out.read_bytes()
    for options, words in [
        (["--top-k", 3], "k=8, now it is 3"),
        (["--seed", 1], "seed=0, now it is 1"),
        (["-q", "Why?"], "question='What makes the sound?', now it is 'Why?'"),
    ]:
        outcome = describe("--manifest", manifest, "--out", out, *options)
        assert outcome.code == 1
        assert words in outcome.error
        assert "another --out" in outcome.error
    assert out.read_bytes().count(b"\n") == content.count(b"\n") - 1  # the failed line had been taken out for a retry


def test_an_out_of_other_settings_is_told_before_a_model_is_loaded(describe, manifest, tmp_path):
    out = tmp_path / "answers.jsonl"
    out.write_text('{"id": "a", "answer": "x", "seed": 0}\n')
    outcome = describe("--manifest", manifest, "--out", out, "--seed", 1, "--model", "./none")
    assert "'a' was answered with seed=0, now it is 1" in outcome.error


def test_files_that_are_gone_need_no_model(describe, tmp_path):
    """Answers that are there stay, also those about files that are gone."""
    manifest, out = tmp_path / "clips.jsonl", tmp_path / "answers.jsonl"
    manifest.write_text('{"id": "a", "video": "a.mp4"}\n{"id": "b", "video": "b.mp4"}\n')
    out.write_text('{"id": "a", "answer": "x"}\n')
    outcome = describe("--manifest", manifest, "--out", out, "--model", "./none", "--json")
    assert outcome.code == 1
    assert outcome.error == f"error: {tmp_path}/b.mp4: no such file; pass a media file"
    assert outcome.rows == [{"out": str(out), "answered": 0, "skipped": 1, "failed": 1}]
    answered, failed = rows_of(out)
    assert answered == {"id": "a", "answer": "x"}
    assert failed["error"] == f"{tmp_path}/b.mp4: no such file; pass a media file"


def test_out_must_be_a_file_of_answers(describe, manifest, tmp_path):
    assert describe("--manifest", manifest, "--out", manifest).code == 2
    for content in ('{"id": "a", "video": "a.mp4"}\n', "words\n", "[]\n"):
        other = tmp_path / "other.jsonl"
        other.write_text(content)
        outcome = describe("--manifest", manifest, "--out", other)
        assert outcome.code == 1
        assert "line 1 is no answer" in outcome.error
        assert other.read_text() == content
    assert "is a folder; name a file" in describe("--manifest", manifest, "--out", tmp_path).error


def test_two_runs_do_not_share_a_file(tmp_path):
    path = tmp_path / "answers.jsonl"
    path.write_bytes(b'{"id": "a", "answer": "x"}\n{"id": "b", "ans')
    answers = AnswerFile(path)
    answers.append({"id": "b", "answer": "y"})
    with pytest.raises(CliError, match=f"--out {path}: another process is writing to it; wait"):
        AnswerFile(path)
    with path.open() as file, pytest.raises(BlockingIOError):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    answers.close()
    assert AnswerFile(path).answered == {"a": {"id": "a", "answer": "x"}, "b": {"id": "b", "answer": "y"}}


def test_an_empty_question_costs_its_line(describe, files, tmp_path):
    manifest = tmp_path / "clips.jsonl"
    lines = [
        {"id": str(number), "video": f"{files}/a.mp4", "question": asked} for number, asked in enumerate((" ", None))
    ]
    manifest.write_text("".join(json.dumps(line) + "\n" for line in lines))
    outcome = describe("--manifest", manifest, "-q", "Why?")
    assert outcome.code == 1
    assert f"{manifest} line 1: 'question' is empty; write a question" in outcome.rows[0]["error"]
    assert "without the field, --question is asked" in outcome.rows[0]["error"]
    assert (outcome.rows[1]["question"], "answer" in outcome.rows[1]) == ("Why?", True)


def test_bad_manifest_lines_are_reported_as_items(describe, files, tmp_path):
    manifest = tmp_path / "clips.jsonl"
    manifest.write_text(f'oops\n{{"id": "x"}}\n{{"id": "a", "video": "{files}/a.mp4"}}\n')
    outcome = describe("--manifest", manifest)
    assert outcome.code == 1
    assert "line 1: is no JSON" in outcome.rows[0]["error"]
    assert "no media" in outcome.rows[1]["error"]
    assert outcome.rows[2]["answer"]
