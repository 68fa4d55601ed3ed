"""`soundclip audit`: the bundled model, one that hears nothing, one that is not ours; files, exit codes and errors."""

import json

import pytest
import torch
from audit_subjects import bundled, drop_first_row, qwen2_audio_parts, scenes
from transformers import BertConfig, BertModel

from soundclip_hf.cli.loading import BUNDLED
from soundclip_hf.evaluation.results import EvalResult

FEW = ("--limit", 4, "--max-new-tokens", 6, "--pairing", 3)


@pytest.fixture(scope="module")
def deaf(tmp_path_factory):
    """The bundled model with an audio encoder and a projector that say the same of every sound."""
    folder = tmp_path_factory.mktemp("deaf")
    subject = bundled()
    with torch.no_grad():
        for weight in subject.model.model.audio_projection.parameters():
            weight.zero_()
    subject.model.save_pretrained(folder)
    subject.processor.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def without_token(tmp_path_factory):
    """The bundled model with LLaVA's own select strategy, which cuts the sound's token off."""
    folder = tmp_path_factory.mktemp("without_token")
    subject = bundled()
    drop_first_row(subject)
    subject.model.save_pretrained(folder)
    subject.processor.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def qwen2_audio_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("qwen2_audio")
    for part in qwen2_audio_parts():
        part.save_pretrained(folder)
    return folder


def test_the_bundled_model_hears(soundclip):
    outcome = soundclip("audit", *FEW, "--fail-below", 0.1)
    assert outcome.code == 0, outcome.stderr
    lines = outcome.stdout.splitlines()
    conditions = [tuple(line.split()[:3]) for line in lines[2:9]]
    assert conditions == [
        ("total", "silent", "4"),
        ("total", "swapped", "4"),
        ("total", "none", "4"),
        ("token", "silent", "4"),
        ("token", "swapped", "4"),
        ("patches", "silent", "4"),
        ("patches", "swapped", "4"),
    ]
    assert lines[-1].startswith("It hears:")
    assert "No fault was found in 4 samples." in lines[-1]


def test_json_and_the_files(soundclip, tmp_path):
    out = tmp_path / "new" / "audit.json"
    outcome = soundclip("audit", *FEW, "--json", "--out", out)
    assert outcome.code == 0, outcome.stderr
    (row,) = outcome.rows
    assert row["model"] == BUNDLED
    assert (row["n"], row["faults"], row["failed"]) == (4, [], False)
    assert set(row["hears"]) == {"total", "token", "patches"}
    assert EvalResult.load(out).metrics["hears"] == row["hears"]
    examples = [json.loads(line) for line in out.with_suffix(".jsonl").read_text().splitlines()]
    assert [one["id"] for one in examples] == scenes(4).ids
    assert all(one["swapped_with"] != one["id"] for one in examples)


def test_a_stopped_run_goes_on(soundclip, tmp_path):
    out = tmp_path / "audit.json"
    assert soundclip("audit", *FEW, "--out", out).code == 0
    lines = out.with_suffix(".jsonl").read_text().splitlines()
    first = EvalResult.load(out)
    out.with_suffix(".jsonl").write_text("\n".join(lines[:2]) + "\n" + lines[2][:40])
    out.unlink()
    outcome = soundclip("audit", *FEW, "--out", out)
    assert outcome.code == 0, outcome.stderr
    assert "2 of them from before" in outcome.stderr
    assert EvalResult.load(out).numbers() == pytest.approx(first.numbers(), abs=1e-4)
    assert len(out.with_suffix(".jsonl").read_text().splitlines()) == 4
    changed = soundclip("audit", *FEW, "--out", out, "-q", "What do you see?")
    assert changed.code == 1
    assert "was answered with question='What makes the sound?'" in changed.error


def test_answers_of_another_command_are_kept(soundclip, tmp_path):
    rows = tmp_path / "audit.jsonl"
    rows.write_text('{"id": "synthetic-10000000", "answer": "A bell."}\n')
    outcome = soundclip("audit", *FEW, "--out", tmp_path / "audit.json")
    assert outcome.code == 1
    assert "holds answers that no audit wrote" in outcome.error
    assert "A bell." in rows.read_text()


@pytest.mark.parametrize("threshold", [(), ("--fail-below", 0.01)])
def test_a_deaf_model(soundclip, deaf, threshold):
    outcome = soundclip("audit", deaf, *FEW, *threshold)
    assert outcome.code == (1 if threshold else 0)
    assert "Fault (deaf): No answer depends on the sound" in outcome.stdout
    assert ("hears 0.000 (total), below 0.01" in outcome.stderr) == bool(threshold)


def test_a_model_that_lost_the_token(soundclip, without_token):
    outcome = soundclip("audit", without_token, *FEW, "--fail-below", 0, "--json")
    assert outcome.code == 1
    (row,) = outcome.rows
    assert [fault["name"] for fault in row["faults"]] == ["token"]
    assert row["failed"] is True
    assert row["hears"]["total"] > 0 == row["hears"]["token"]


def test_below_the_threshold_without_a_fault(soundclip):
    outcome = soundclip("audit", *FEW, "--fail-below", 1)
    assert outcome.code == 1
    assert "It hears:" in outcome.stdout
    assert "(token), below 1" in outcome.stderr


def test_any_model_of_transformers(soundclip, qwen2_audio_folder):
    outcome = soundclip("audit", qwen2_audio_folder, *FEW, "--json")
    assert outcome.code == 0, outcome.stderr
    (row,) = outcome.rows
    assert set(row["hears"]) == {"total"}
    assert row["hears"]["total"] > 0.01
    assert row["faults"] == []


@pytest.mark.parametrize("threshold", ["-0.1", "nan", "1.5", "inf"])
def test_thresholds_that_make_no_sense(soundclip, threshold):
    outcome = soundclip("audit", f"--fail-below={threshold}")
    assert outcome.code == 2
    assert "what a model hears is from 0 to 1" in outcome.error
    assert ("NaN" if threshold == "nan" else threshold) in outcome.error


def test_data_that_cannot_be_audited(soundclip, files, tmp_path):
    one = soundclip("audit", "--limit", 1)
    assert one.code == 1
    assert "1 sample(s) with sound, all of one video or group" in one.error
    folder = tmp_path / "clips"
    folder.mkdir()
    (folder / "silent.mp4").write_bytes((files / "silent.mp4").read_bytes())
    silent = soundclip("audit", "--data", folder)
    assert silent.code == 1
    assert f"{folder}: none of its 1 samples has a sound" in silent.error
    nothing = soundclip("audit", "--data", tmp_path / "missing")
    assert nothing.code == 1
    assert "no such file or folder" in nothing.error


def test_clips_without_sound_are_named(soundclip, files, tmp_path):
    folder = tmp_path / "clips"
    folder.mkdir()
    for name in ("a.mp4", "b.mp4", "silent.mp4", "corrupt.mp4", "tone.wav"):
        (folder / name).write_bytes((files / name).read_bytes())
    outcome = soundclip("audit", "--data", folder, *FEW, "--json")
    assert outcome.code == 0, outcome.stderr
    assert "1 of 4 samples have no sound; the first is silent" in outcome.stderr
    assert f"warning: corrupt: {folder / 'corrupt.mp4'}: " in outcome.stderr
    assert "2 of 4 samples cannot be used; the result is about the 2 others" in outcome.stderr
    assert f"{folder}: 1 is left out" in outcome.stderr
    assert "the first is tone.wav" in outcome.stderr
    (row,) = outcome.rows
    assert (row["n"], row["config"]["left_out"]) == (2, ["tone.wav", "corrupt", "silent"])


def test_more_patches_than_a_picture_has(soundclip):
    outcome = soundclip("audit", *FEW, "--top-k", 65)
    assert outcome.code == 2
    assert "--top-k 65: the pictures of soundclip_hf/bundled/tiny have 64 patches; give 0..64" in outcome.error


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--top-k", 3), "--top-k: {} is a 'qwen2_audio' model; this is for a SoundLlava"),
        (("--alignment", "raw"), "--alignment: {} is a 'qwen2_audio' model; this is for a SoundLlava"),
    ],
)
def test_options_of_our_models_alone(soundclip, qwen2_audio_folder, options, expected):
    outcome = soundclip("audit", qwen2_audio_folder, *FEW, *options)
    assert outcome.code == 2
    assert expected.format(qwen2_audio_folder) in outcome.error


def test_models_that_cannot_be_audited(soundclip, tmp_path):
    missing = soundclip("audit", tmp_path / "nowhere", *FEW)
    assert missing.code == 1
    assert f"MODEL {tmp_path / 'nowhere'}: no such folder" in missing.error
    BertModel(
        BertConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8)
    ).save_pretrained(tmp_path / "bert")
    text = soundclip("audit", tmp_path / "bert", *FEW)
    assert text.code == 1
    assert f"MODEL {tmp_path / 'bert'}: cannot be loaded" in text.error


def test_the_result_is_a_json_file(soundclip, tmp_path):
    outcome = soundclip("audit", "--out", tmp_path / "audit.txt")
    assert outcome.code == 2
    assert "the result is a .json file" in outcome.error
