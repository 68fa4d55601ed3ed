"""`soundclip eval generation`: a grid of captions and its results, options, files, faults."""

import json
import shutil

import pytest
from tiny_text_models import tiny_bert, tiny_clap, tiny_clip

from soundclip_hf.bundled import TINY
from soundclip_hf.evaluation.generation import read_captions
from soundclip_hf.evaluation.generation.settings import GenerationSettings
from soundclip_hf.evaluation.results import EvalResult
from soundclip_hf.settings import find_config, read_config, read_settings

FEW = ("--data", "synthetic", "--limit", 3, "--max-new-tokens", 12)
START = "soundclip_hf--bundled--tiny"


@pytest.fixture
def generation(soundclip):
    return lambda *arguments: soundclip("eval", "generation", *arguments)


def test_a_grid(generation, tmp_path):
    done = generation(*FEW, "--top-k", "4,8", "--patches", "zero,drop", "--out", tmp_path)
    assert done.code == 0, done.stderr
    names = {
        f"{START}-{alignment}-k{k}-{mode}"
        for alignment in ("raw", "projected")
        for k in (4, 8)
        for mode in ("zero", "drop")
    }
    assert {path.stem for path in (tmp_path / "captions").iterdir()} == names
    assert {path.stem for path in (tmp_path / "results").iterdir()} == names
    found = EvalResult.load(tmp_path / "results" / f"{START}-raw-k8-drop.json")
    assert (found.task, found.model, found.n) == ("generation", "soundclip_hf/bundled/tiny", 3)
    assert {name: found.config[name] for name in ("alignment", "alpha", "k", "mode", "n_failed", "question")} == {
        "alignment": "raw",
        "alpha": 1.0,
        "k": 8,
        "mode": "drop",
        "n_failed": 0,
        "question": "Describe what you see and hear.",
    }
    assert set(found.metrics) == {"bleu", "rouge1", "rouge2", "rougeL", "source_recall"}
    head, columns, *rows = done.stdout.splitlines()
    assert head.startswith("captions of synthetic, ")
    assert columns.split()[:7] == ["model", "alpha", "k", "patches", "n", "failed", "bleu"]
    assert len(rows) == 8
    assert "bertscore: not computed, needs a reference and a text encoder" in done.stderr


def test_the_captions_are_those_of_describe(generation, soundclip, tmp_path, files):
    folder = tmp_path / "clips"
    folder.mkdir()
    for name in ("a", "b"):
        shutil.copy(files / f"{name}.mp4", folder)
    clip = tiny_clip(tmp_path / "clip", 40)
    question = "Describe what you see and hear."
    common = ("-q", question, "--max-new-tokens", 16)
    options = ("--alphas", "0.25", "--top-k", 8, "--clip", clip, "--out", tmp_path / "out")
    done = generation("--data", folder, *common, *options)
    assert done.code == 0, done.stderr
    (path,) = (tmp_path / "out" / "captions").iterdir()
    said = soundclip(
        "describe",
        folder / "a.mp4",
        folder / "b.mp4",
        *common,
        "--alpha",
        0.25,
        "--alignment",
        "projected",
        "--top-k",
        8,
        "--json",
    )
    assert [*read_captions(path).texts.values()] == said.answers
    assert "bleu: not computed, the rows have no reference" in done.stderr


def test_the_same_command_goes_on(generation, tmp_path):
    options = (*FEW, "--alphas", "0,1", "--top-k", 8, "--out", tmp_path)
    assert generation(*options).code == 0
    path = tmp_path / "captions" / f"{START}-raw-k8-zero.jsonl"
    whole = path.read_bytes()
    other = (tmp_path / "captions" / f"{START}-projected-k8-zero.jsonl").read_bytes()
    first = (tmp_path / "results" / f"{START}-raw-k8-zero.json").read_text()
    path.write_bytes(whole[: len(whole) // 2])
    again = generation(*options, "--json")
    assert again.code == 0
    assert path.read_bytes() == whole
    assert (tmp_path / "captions" / f"{START}-projected-k8-zero.jsonl").read_bytes() == other
    assert [row["config"]["alignment"] for row in again.rows] == ["projected", "raw"]
    assert EvalResult.load(again.rows[1]["out"]).metrics == json.loads(first)["metrics"]
    refused = generation(*options, "-q", "What do you see?")
    assert refused.code == 1
    assert "was made with question='Describe what you see and hear.', now it is 'What do you see?'" in refused.error


def test_every_metric(generation, tmp_path):
    done = generation(
        *FEW, "--alignments", "projected", "--top-k", 8, "--out", tmp_path / "out",
        "--bertscore-model", tiny_bert(tmp_path / "bert"), "--bertscore-layer", 1, "--bertscore-baseline", 0.25,
        "--clip", tiny_clip(tmp_path / "clip", 40), "--clap", tiny_clap(tmp_path / "clap", 40),
        "--reference", "video+audio",
    )  # fmt: skip
    assert done.code == 0, done.stderr
    (path,) = (tmp_path / "out" / "results").iterdir()
    found = EvalResult.load(path)
    assert set(found.metrics) >= {"bertscore_f1", "clipscore", "clap_score", "source_recall", "rougeL", "bleu"}
    assert found.config["not_computed"] == {}
    assert found.config["metrics"]["bertscore_f1"]["baseline"]["f1"] == 0.25
    assert found.config["references_used"] == {"video+audio": 3}
    assert "bertscore_f1" in done.stdout
    assert "bertscore_recall" not in done.stdout
    assert "3 of 3 sounds are longer than the 1 s" in done.stderr


def test_settings_from_a_file_and_options_before_them(generation, tmp_path):
    config = tmp_path / "mine.yaml"
    config.write_text(
        "data: synthetic\nlimit: 3\ntop_k: [4, 8]\nalignments: [raw]\nmetrics: [source_recall]\nmax_new_tokens: 8\n"
        "protocol: mine\n"
    )
    done = generation("--config", config, "--top-k", 2, "--limit", 2, "--out", tmp_path / "out")
    assert done.code == 0, done.stderr
    (path,) = (tmp_path / "out" / "results").iterdir()
    found = EvalResult.load(path)
    assert path.stem == f"{START}-raw-k2-zero"
    assert (found.n, found.config["protocol"], found.config["max_new_tokens"]) == (2, "mine", 8)
    assert set(found.metrics) == {"source_recall"}


def test_the_preset_of_the_authors_later_protocol(generation, tmp_path):
    settings = read_settings(GenerationSettings, read_config(find_config("eval/icassp2027")))
    assert settings.limit == 1010
    assert [cell.name for cell in settings.cells(())] == ["raw-k150-zero", "projected-k150-zero"]
    assert settings.metrics == ("clap_score", "clipscore", "source_recall")
    clip, clap = tiny_clip(tmp_path / "clip", 40), tiny_clap(tmp_path / "clap", 40)
    models = ("--clip", clip, "--clap", clap, "--data", "synthetic", "--limit", 2, "--out", tmp_path / "out")
    done = generation("--config", "eval/icassp2027", *models)
    assert done.code == 2
    assert done.error == "error: --top-k 150: the pictures of soundclip_hf/bundled/tiny have 64 patches; give 0..64"
    done = generation("--config", "eval/icassp2027", *models, "--top-k", 8)
    assert done.code == 0, done.stderr
    results = [EvalResult.load(path) for path in (tmp_path / "out" / "results").iterdir()]
    assert all(set(found.metrics) == set(settings.metrics) for found in results)
    assert all(found.config["protocol"] == "icassp2027" for found in results)


def test_clips_that_cannot_be_read_are_named_and_counted(generation, files, tmp_path):
    folder = tmp_path / "clips"
    folder.mkdir()
    for name in ("a", "b", "corrupt", "silent"):
        shutil.copy(files / f"{name}.mp4", folder)
    options = (
        "--top-k",
        8,
        "--max-new-tokens",
        4,
        "--clip",
        tiny_clip(tmp_path / "clip", 40),
        "--out",
        tmp_path / "out",
    )
    done = generation("--data", folder, *options)
    assert done.code == 0, done.stderr
    assert done.stderr.count("warning: silent: has no sound") == 1
    assert "corrupt" in done.stderr
    assert "2 of 4 samples have no caption" in done.stderr
    found = EvalResult.load(tmp_path / "out" / "results" / f"{START}-raw-k8-zero.json")
    assert (found.n, found.config["n_failed"]) == (2, 2)
    for name in ("a", "b"):
        (folder / f"{name}.mp4").unlink()
    failed = generation("--data", folder, *options[:-1], tmp_path / "other")
    assert failed.code == 1
    assert failed.stderr.count("all 2 samples failed") == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--data: is needed, here or in --config"),
        (["--data", "synthetic", "--alphas", "0,x"], "--alphas 0,x: write numbers, joined by commas"),
        (["--data", "synthetic", "--alphas", "2"], "alpha=2.0: must be in 0..1"),
        (["--data", "synthetic", "--top-k", "1.5"], "--top-k 1.5: write numbers"),
        (["--data", "synthetic", "--alignments", "cooked"], "alignment 'cooked': must be one of projected, raw"),
        (["--data", "synthetic", "--patches", "keep"], "patches='keep': must be one of zero, drop"),
        (["--data", "synthetic", "--metrics", "meteor"], "metrics=['meteor']: give some of bleu, "),
        (["--data", "synthetic", "--reference", "title"], "--reference title: must be one of auto, "),
        (["--data", "synthetic", "--frame", "last"], "--frame last: give first, middle, or seconds"),
        (["--data", "synthetic", "--config", "eval/none"], "config 'eval/none': no such file or name"),
        (["--data", "synthetic", "--model", TINY, "--model", "tiny"], "would write the files of"),
    ],
)
def test_wrong_command_lines(generation, tmp_path, arguments, message):
    done = generation(*arguments, "--out", tmp_path / "out")
    assert done.code == 2, done.stderr
    assert message in done.error
    assert not (tmp_path / "out").exists()


def test_wrong_models_of_metrics(generation, tmp_path):
    for option, name in (("--clip", tiny_clap(tmp_path / "clap")), ("--clap", tmp_path / "nothing")):
        done = generation(*FEW, option, name, "--out", tmp_path / "out")
        assert done.code == 1
        assert done.error.startswith(f"error: {option} {name}: ")
    done = generation(*FEW, "--bertscore-model", tiny_bert(tmp_path / "bert"), "--out", tmp_path / "out")
    assert "--bertscore-model" in done.error
    assert "must be given; only that of roberta-large is known" in done.error
    assert not (tmp_path / "out").exists()
