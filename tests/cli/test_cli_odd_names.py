"""Names, texts and lines that cannot be printed, written or parsed cost their own item alone."""

import json
import os
import shutil
import subprocess
import sys

import pytest

from soundclip_hf.bundled import CLIP
from soundclip_hf.retrieval.embedding_store import read_block

SOUNDCLIP = [sys.executable, "-c", "from soundclip_command import main; main()"]


def run(*words, **environment):
    words = [word if isinstance(word, bytes) else str(word) for word in words]
    return subprocess.run(
        [*SOUNDCLIP, *words], capture_output=True, timeout=300, env={**os.environ, "OMP_NUM_THREADS": "1"} | environment
    )


@pytest.fixture
def latin(tmp_path):
    """A clip whose name is not UTF-8."""
    path = os.fsencode(tmp_path) + b"/b\xe9ll.mp4"
    shutil.copy(CLIP, path)
    return path


def test_a_name_that_is_not_utf8_is_printed(latin, tmp_path):
    """As text and as JSON, and in a terminal that knows ASCII alone; the JSON gives the name back."""
    plain = run("describe", "--max-new-tokens", 4, latin, CLIP, PYTHONIOENCODING="ascii")
    assert plain.returncode == 0, plain.stderr
    assert [line.rpartition(b": ")[0] for line in plain.stdout.splitlines()] == [
        os.fsencode(tmp_path) + rb"/b\udce9ll.mp4",
        os.fsencode(CLIP),
    ]
    rows = [json.loads(line) for line in run("describe", "--max-new-tokens", 4, "--json", latin).stdout.splitlines()]
    assert [os.fsencode(row["id"]) for row in rows] == [latin]


def test_a_name_that_is_not_utf8_is_embedded(soundclip, latin, tmp_path):
    name = os.fsdecode(latin)
    done = soundclip("embed", name, CLIP, "-o", tmp_path / "v.safetensors")
    assert done.code == 0, done.stderr
    assert [entry.source for entry in read_block(tmp_path / "v.safetensors").entries] == [name, str(CLIP)]
    # Its identity is kept too.
    assert "(2 unchanged)" in soundclip("embed", name, CLIP, "-o", tmp_path / "v.safetensors").stderr


def test_a_name_that_is_not_utf8_is_named_by_index(soundclip, latin, tmp_path):
    shutil.copy(CLIP, tmp_path / "a.mp4")
    done = soundclip("index", tmp_path, "-o", tmp_path / "index", "--json")
    assert done.code == 1
    error, counts = done.rows
    assert "its name is not UTF-8" in error["error"]
    assert (counts["files"], counts["failed"]) == (1, 1)


@pytest.mark.parametrize("command", ["describe", "embed", "index"])
def test_outputs_with_long_names(soundclip, command, tmp_path):
    """`.NAME.PID.partial` beside a name of 250 bytes would be too long."""
    name = "ä" * 115 + "x" * 8
    folder = tmp_path / "media"
    folder.mkdir()
    shutil.copy(CLIP, folder / f"{'y' * 240}.mp4")
    manifest = tmp_path / "m.jsonl"
    manifest.write_text(json.dumps({"id": "a", "video": str(CLIP)}) + "\n")
    words = {
        "describe": ("--manifest", manifest, "--out", tmp_path / f"{name}.jsonl", "--max-new-tokens", 4),
        "embed": (CLIP, folder / f"{'y' * 240}.mp4", "--out", tmp_path / f"{name}.safetensors"),
        "index": (folder, "--out", tmp_path / name),
    }[command]
    for _ in range(2):
        done = soundclip(command, *words)
        assert done.code == 0, done.stderr
    if command == "describe":  # a line that is not whole is taken out, by a file beside it
        with (tmp_path / f"{name}.jsonl").open("a") as file:
            file.write('{"id": "torn')
        assert soundclip(command, *words).code == 0
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_lines_of_a_manifest(describe, tmp_path):
    """Half of a surrogate pair, deep and large JSON, a mark within the file: each costs its line."""
    deep = "[" * 900 + "]" * 900
    lines = [
        {"id": "a", "video": str(CLIP)},
        '{"id": "b", "video": "a.mp4", "question": "Is it \\ud83d?"}',
        '{"id": "\\udce9", "video": "a.mp4"}',
        "[" * 100_000,
        f'{{"id": {deep}, "video": "a.mp4"}}',
        json.dumps({"id": "c", "video": ["x" * 1000] * 1000}),
        json.dumps({f"key {number}": 1 for number in range(10_000)}),
        {"id": "z", "video": str(CLIP)},
    ]
    manifest, out = tmp_path / "m.jsonl", tmp_path / "o.jsonl"
    text = "".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines)
    manifest.write_text(text, encoding="utf-8-sig")
    for answered, skipped in ((2, 0), (0, 2)):
        done = describe("--manifest", manifest, "--out", out)
        assert done.code == 1
        assert f"{answered} answered, {skipped} skipped, 6 failed" in done.stderr
        errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
        assert [line.partition(": ")[2].partition(":")[0] for line in errors] == [
            f"{manifest} line {number}" for number in range(2, 8)
        ]
        assert all(len(line) < 600 for line in errors)


def test_a_question_that_is_not_utf8(describe):
    done = describe("-q", "caf\udce9")
    assert done.code == 2
    assert "--question: has half of a surrogate pair" in done.error


@pytest.mark.parametrize("name", ["a.mp4", "a.png", "a.wav"])
def test_a_home_folder_of_nobody(describe, soundclip, tmp_path, name):
    source = f"~no-such-user/{name}"
    for done in (describe(source), soundclip("embed", source, "-o", tmp_path / "v.safetensors")):
        assert done.code == 1
        assert f"error: {source}: there is no such user here" in done.error
    for command in (("embed", CLIP), ("index", tmp_path)):
        done = soundclip(*command, "--out", "~no-such-user/out")
        assert done.code == 2
        assert "--out ~no-such-user/out: ~no-such-user is no home folder" in done.error


def test_a_damaged_training_json_is_named(describe, tmp_path):
    from soundclip_hf.bundled import TINY

    folder = shutil.copytree(TINY, tmp_path / "model")
    for content in (b'{"world": ', b"\xff\xfe", b"[" * 100_000):
        (folder / "training.json").write_bytes(content)
        done = describe("--model", folder)
        assert done.code == 0
        assert f"warning: {folder}/training.json: is " in done.stderr
