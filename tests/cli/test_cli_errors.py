"""Bad input: an exit code and one line that names what is wrong and what to do, never a traceback."""

import json

import pytest

# arguments ({} is the folder of test files), exit code, what the line says
FAILURES = [
    (["{}/none.mp4"], 1, ["none.mp4", "no such file", "pass"]),
    (["{}/none.png"], 1, ["none.png", "no such file", "pass"]),
    (["{}/picture.png", "{}/none.wav"], 1, ["none.wav", "no such file"]),
    (["{}"], 1, ["is a folder"]),
    (["{}/empty.mp4"], 1, ["empty.mp4", "empty"]),
    (["{}/corrupt.mp4"], 1, ["corrupt.mp4", "corrupt"]),
    (["{}/text.png"], 1, ["text.png", "cannot be read as a picture"]),
    (["{}/silent.mp4"], 1, ["silent.mp4", "no audio stream", "give a sound file after it"]),
    (["{}/picture.png", "{}/short.wav"], 1, ["short.wav", "shorter than one frame"]),
    (["{}/a.mp4", "--frame", "7"], 1, ["a.mp4", "past the end"]),
    (["--frame", "noon"], 2, ["--frame noon", "first, middle, or seconds"]),
    (["--frame", "-1"], 2, ["--frame -1", "seconds >= 0"]),
    (["--frame", "nan"], 2, ["--frame nan"]),
    (["--top-k", "65"], 2, ["--top-k 65", "64 patches", "0..64"]),
    (["--top-k", "-1"], 2, ["--top-k", "greater than or equal to 0"]),
    (["--top-k", "many"], 2, ["--top-k", "integer"]),
    (["--alpha", "2"], 2, ["--alpha", "less than or equal to 1"]),
    (["--alpha", "0.5", "--alignment", "raw"], 2, ["--alpha", "--alignment projected"]),
    (["--patches", "blur"], 2, ["--patches", "blur"]),
    (["--batch-size", "0"], 2, ["--batch-size"]),
    (["--unknown"], 2, ["--unknown"]),
    (["--device", "abacus"], 2, ["--device abacus", "cpu, cuda"]),
    (["--dtype", "int3"], 2, ["--dtype int3", "float32, bfloat16"]),
    (["--model", "./none"], 1, ["--model ./none", "no such folder", "give a Hub id or a folder"]),
    (["--model", "nobody/nothing"], 1, ["--model nobody/nothing", "neither a folder, nor found on the Hub"]),
    (["--model", "{}"], 1, ["no config.json"]),
    (["--model", "{whisper}"], 1, ["'whisper' model", "give a SoundLlava or a LLaVA"]),
    (["--encoder", "./none"], 1, ["--encoder ./none", "no such folder"]),
    (["--encoder", "{tiny}"], 1, ["--encoder", "'sound_llava' model", "Whisper"]),
    (["{}/tone.wav", "{}/picture.png"], 2, ["does", "right after its picture"]),
    (["{}/picture.png", "{}/tone.wav", "{}/noise.wav"], 2, ["already the sound of"]),
    (["--out", "out.jsonl"], 2, ["--out needs --manifest"]),
    (["--manifest", "{}/none.jsonl"], 1, ["none.jsonl", "No such file"]),
    (["{}/a.mp4", "--manifest", "{}/none.jsonl"], 2, ["not both"]),
    (["-q", "How many <image>?"], 1, ["<image>"]),
]


@pytest.mark.parametrize(("arguments", "code", "words"), FAILURES, ids=lambda value: str(value))
def test_one_line_and_an_exit_code(describe, files, whisper, arguments, code, words):
    from soundclip_hf.bundled import TINY

    filled = [argument.format(files, whisper=whisper, tiny=TINY) for argument in arguments]
    outcome = describe(*filled)
    assert outcome.code == code, outcome.stderr
    assert outcome.stdout == ""
    assert "Traceback" not in outcome.stderr
    for word in words:
        assert word in outcome.error


def test_files_that_cannot_be_media_need_no_model(describe, files):
    """There is no such model, and it is not missed."""
    outcome = describe(files / "piktur.png", files / "tone.wav", files / "empty.mp4", "--model", "./none", "--json")
    assert outcome.code == 1
    missing = f"{files}/piktur.png: no such file; did you mean {files}/picture.png?"
    empty = f"{files}/empty.mp4: is empty (0 bytes); fetch or write it again"
    assert outcome.stderr == f"error: {missing}\nerror: {empty}\n"
    assert [row["error"] for row in outcome.rows] == [missing, empty]


@pytest.mark.parametrize("question", ["", "  "])
def test_an_empty_question_is_not_asked(describe, files, question):
    outcome = describe(files / "a.mp4", "-q", question)
    assert (outcome.code, outcome.stdout) == (2, "")
    assert outcome.error == "error: --question: is empty; write a question, such as: What makes the sound?"


def test_debug_shows_the_traceback(describe, files):
    for arguments in (["--model", "./none"], [files / "none.mp4"], ["--top-k", 65]):
        outcome = describe(*arguments, "--debug")
        assert outcome.code in (1, 2)
        assert "Traceback" in outcome.stderr
        assert outcome.error


def test_one_bad_clip_costs_the_others_nothing(describe, files):
    sources = [files / "a.mp4", files / "corrupt.mp4", files / "picture.png", files / "short.wav", files / "b.mp4"]
    outcome = describe(*sources, "--json")
    assert outcome.code == 1
    good, corrupt, short, other = outcome.rows
    assert good["answer"]
    assert other["answer"]
    assert "corrupt" in corrupt["error"]
    assert "answer" not in corrupt
    assert "shorter than one frame" in short["error"]
    assert [good["answer"], other["answer"]] == describe(files / "a.mp4", files / "b.mp4", "--json").answers
    assert outcome.stderr.count("error: ") == 2


def test_broken_weights(describe, tmp_path):
    import shutil

    from soundclip_hf.bundled import TINY

    shutil.copytree(TINY, tmp_path / "model")
    weights = tmp_path / "model" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100000])
    outcome = describe("--model", tmp_path / "model")
    assert outcome.code == 1
    assert "cannot be loaded" in outcome.error
    weights.unlink()
    assert describe("--model", tmp_path / "model").code == 1
    config = tmp_path / "model" / "config.json"
    values = json.loads(config.read_text())
    values["sound_config"]["alignment"] = "sideways"
    config.write_text(json.dumps(values))
    outcome = describe("--model", tmp_path / "model")
    assert outcome.code == 1
    assert "sideways" in outcome.error


# arguments ({} is a folder with the files below), exit code, the file that is to blame
DAMAGED = [
    ("ave2 stats {}/binary.jsonl", 1, "binary.jsonl: is UTF-16 text"),
    ("ave2 verify {}/binary.jsonl", 1, "binary.jsonl: is UTF-16 text"),
    ("ave2 verify {}/set", 1, "manifest.json: is no manifest"),
    ("ave2 agreement {}/binary.csv {}/binary.csv", 1, "binary.csv: is UTF-16 text"),
    ("ave2 coverage vggsound {}/binary.csv --media {}", 1, "binary.csv: is UTF-16 text"),
    ("ave2 coverage table {}/binary.csv --media {}", 1, "binary.csv: is UTF-16 text"),
    ("ave2 coverage audiocaps {}/folder.csv --media {}", 1, "folder.csv: Is a directory"),
    ("ave2 coverage folder {}/clips --subset {}/file/x.jsonl", 1, "file/x.jsonl: Not a directory"),
    ("ave2 segment {}/none --out {}/cut --workers 1", 1, "none: no such file or folder"),
    ("convert whisper {}/junk.pth {}/out", 1, "junk.pth cannot be read as a file of weights alone"),
    ("convert whisper {}/junk.safetensors {}/out", 1, "junk.safetensors cannot be read as a file of weights alone"),
    ("convert whisper {}/folder.safetensors {}/out", 1, "folder.safetensors: is a folder"),
    ("search {}/index {}/clips/a.mp4", 1, "index/000000.safetensors"),
    (
        "embed {}/clips/a.mp4 -o {}/file/x.safetensors",
        1,
        "/file is a file and can hold no files",
    ),
    ("embed {}/clips/a.mp4 -o {}/junk.safetensors", 1, "junk.safetensors: exists"),
]


@pytest.mark.parametrize(("command", "code", "words"), DAMAGED, ids=lambda value: str(value))
def test_the_error_names_the_file_whatever_its_reader_raised(soundclip, files, tmp_path, command, code, words):
    for name in ("folder.csv", "folder.safetensors", "clips", "index/000000.safetensors", "set/data"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("binary.jsonl", "binary.csv"):
        (tmp_path / name).write_bytes(b"\xff\xfe\x00\x01\n")
    for name in ("junk.pth", "junk.safetensors", "file"):
        (tmp_path / name).write_bytes(b"junk" * 50)
    (tmp_path / "set" / "manifest.json").write_text("{}")
    (tmp_path / "clips" / "a.mp4").symlink_to(files / "a.mp4")
    outcome = soundclip(*[word.format(tmp_path) for word in command.split()])
    assert (outcome.code, outcome.stdout) == (code, "")
    assert words.format(tmp_path) in outcome.error
