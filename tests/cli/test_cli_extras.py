"""Every command of a plain install: it works, or says at once what it needs and how to get it, and has made nothing."""

import json
import shutil
from typing import Any

import pytest
import typer
from ave2_rows import rows
from without_extras import BLOCKED, block

from soundclip_hf.bundled import CLIP, TINY
from soundclip_hf.cli import app
from soundclip_hf.evaluation.judge import JUDGE_SCALE
from soundclip_hf.evaluation.results import EvalResult

SERVER = ["--base-url", "http://127.0.0.1:9/v1", "--model", "m"]
PAIR = ["--base_model", "{}/base", "--dataset", "{}/pairs", "--output_dir", "{}/out"]
DATA = "pip install 'soundclip-hf[data]'"
PYARROW = f"pyarrow, which is not installed: {DATA}"
BOTH = f"datasets and pyarrow, which are not installed: {DATA}"
ASKING = f"datasets, httpx and pyarrow, which are not installed: {DATA}"
TRAIN = "training needs datasets, which is not installed: pip install 'soundclip-hf[train]'"
DEMO = "soundclip {} needs gradio and matplotlib, which are not installed: pip install 'soundclip-hf[demo]'"
WORKS = None
# Command -> arguments, {} being a folder, and the whole error, or WORKS.
CASES = {
    "describe": [(["--max-new-tokens", "2"], WORKS)],
    "embed": [(["{}/tone.wav", "--out", "{}/out/e.safetensors"], WORKS)],
    "index": [(["{}/sounds", "--out", "{}/out/index"], WORKS)],
    "search": [(["{}/index", "{}/tone.wav", "--by", "audio"], WORKS)],
    "convert": [(["whisper", "{}/whisper/model.safetensors", "{}/out/ears"], WORKS)],
    "env": [([], WORKS)],
    "samples": [(["{}/out/samples", "--count", "1"], WORKS)],
    "serve": [
        (
            ["--port", "0"],
            "soundclip serve needs fastapi, openai and uvicorn, which are not installed: pip install "
            "'soundclip-hf[serve]'",
        )
    ],
    "audit": [(["--limit", "2", "--max-new-tokens", "2", "--out", "{}/out/a.json"], WORKS)],
    "push": [
        (
            ["{}/whisper", "me/it"],
            "{}/whisper: is a 'whisper' model; a SoundLlava, an adapter, a SoundClip or an audio encoder of "
            "soundclip_hf is pushed",
        )
    ],
    "align": [
        (PAIR, TRAIN),
        ([*PAIR, "--grid", "loss"], TRAIN),
        ([*PAIR, "--report_to", "wandb"], TRAIN),
    ],
    "finetune": [(["--model", "tiny", "--dataset", "synthetic"], TRAIN)],
    "eval retrieval": [
        (["--data", "synthetic", "--limit", "3", "--out", "{}/out/r.json"], WORKS),
        (
            ["--data", "{}/set", "--out", "{}/out/r.json"],
            f"{{}}/set: reading a data set needs datasets, which is not installed: {DATA}",
        ),
    ],
    "eval generation": [
        (["--data", "synthetic", "--limit", "2", "--metrics", "source_recall", "--out", "{}/out/g"], WORKS),
        (
            ["--data", "synthetic", "--limit", "2", "--out", "{}/out/g"],
            "soundclip eval generation (metrics bleu and rouge) needs rouge_score and sacrebleu, which are not "
            "installed: pip install 'soundclip-hf[eval]'",
        ),
    ],
    "eval geometry": [
        (["--data", "synthetic", "--limit", "8", "--folds", "2", "--out", "{}/out/g.json"], WORKS),
    ],
    "eval suite": [(["--config", "{}/suite.yaml", "--out", "{}/results"], WORKS)],
    "eval report": [(["{}/results"], WORKS)],
    "reproduce table1": [
        (["--data", "synthetic", "--limit", "3", "--adapters", "{}/adapters", "--out", "{}/out"], WORKS)
    ],
    "reproduce tables": [(["--check"], WORKS)],
    "eval judge": [
        (
            ["{}/answers.jsonl", "--server", "http://127.0.0.1:9/v1", "--judge-model", "m", "--out", "{}/out/judged"],
            f"soundclip eval judge needs httpx, which is not installed: {DATA}",
        )
    ],
    "demo": [(["--port", "0"], DEMO.format("demo"))],
    "space": [(["{}/out/space"], DEMO.format("space"))],
    "eval overlay": [
        (
            ["--out", "{}/out/o.png"],
            "soundclip eval overlay needs matplotlib, which is not installed: pip install 'soundclip-hf[plots]'",
        )
    ],
    "eval plot": [
        (
            ["radar", "{}/judge.json", "--out", "{}/out/r.png"],
            "soundclip eval plot needs matplotlib, which is not installed: pip install 'soundclip-hf[plots]'",
        )
    ],
    "eval agreement": [(["{}/judged.jsonl", "{}/judged.jsonl", "--repeats", "2"], WORKS)],
    "tradeoff": [
        (["--paper", "--task", "dense captioning"], WORKS),
        (
            ["--paper", "--plot", "{}/out/t.png"],
            "soundclip tradeoff --plot needs matplotlib, which is not installed: pip install 'soundclip-hf[plots]'",
        ),
    ],
    "ave2 segment": [
        (["{}/clip.mp4", "--out", "{}/out", "--workers", "1"], WORKS),
        (
            ["{}/clip.mp4", "--out", "{}/out", "--backend", "ffmpeg"],
            'backend "ffmpeg": there is no ffmpeg on PATH; install it (apt install ffmpeg, conda install ffmpeg), or '
            'take "pyav", which needs none',
        ),
    ],
    "ave2 annotate": [
        (
            ["{}/t.jsonl", "--out", "{}/out/a.parquet", "--media", "{}", *SERVER],
            f"soundclip ave2 annotate needs {ASKING}",
        ),
        (
            ["{}/t.jsonl", "--out", "{}/out/a.parquet", "--captions", "{}/t.jsonl"],
            f"soundclip ave2 annotate needs {BOTH}",
        ),
    ],
    "ave2 judge": [(["{}/t.jsonl", "--out", "{}/out/a.parquet", *SERVER], f"soundclip ave2 judge needs {ASKING}")],
    "ave2 subset": [(["{}/t.jsonl", "--out", "{}/out/a.parquet"], f"soundclip ave2 subset needs {BOTH}")],
    "ave2 shard": [(["{}/t.jsonl", "--out", "{}/out"], f"soundclip ave2 shard needs {BOTH}")],
    "ave2 build": [
        (["videos={}/clip.mp4", "out={}/out"], f"this build needs {ASKING}"),
        (["videos={}/clip.mp4", "out={}/out", "--only", "segment"], f"this build needs {BOTH}"),
        (
            ["videos={}/clip.mp4", "out={}/out", "--only", "shard", "run.executor=slurm"],
            f"this build needs datasets, datatrove and pyarrow, which are not installed: {DATA}",
        ),
        (
            ["videos={}/clip.mp4", "out={}/out", "run.executor=ray"],
            "this build needs datasets, datatrove, httpx, pyarrow and ray, which are not installed: "
            "pip install 'soundclip-hf[cluster,data]'",
        ),
    ],
    "ave2 stats": [
        (["{}/t.jsonl"], f"soundclip ave2 stats needs {PYARROW}"),
        (
            ["{}/t.jsonl", "--plot", "{}/out/p.png"],
            "soundclip ave2 stats needs matplotlib and pyarrow, which are not installed: "
            "pip install 'soundclip-hf[data,plots]'",
        ),
    ],
    "ave2 sample": [(["{}/t.jsonl", "--out", "{}/out/s.csv"], f"soundclip ave2 sample needs {PYARROW}")],
    "ave2 agreement": [
        (["{}/t.jsonl", "{}/t.jsonl", "--repeats", "2"], WORKS),
        (["{}/t.jsonl", "{}/t.parquet"], f"{{}}/t.parquet: reading Parquet needs {PYARROW}"),
    ],
    "ave2 verify": [
        (["{}/t.jsonl"], WORKS),
        (["{}/t.parquet"], f"{{}}/t.parquet: reading Parquet needs {PYARROW}"),
        (["{}/set"], f"{{}}/set: reading Parquet needs {PYARROW}"),
    ],
    "ave2 view": [
        (["{}/t.jsonl", "--out", "{}/out/page"], WORKS),
        (["{}/t.parquet", "--out", "{}/out/page"], f"{{}}/t.parquet: reading Parquet needs {PYARROW}"),
    ],
    "ave2 push": [(["me/it", "--from", "{}/set"], f"the card of a data set needs {PYARROW}")],
    "ave2 coverage": [
        (["folder", "{}"], WORKS),
        (["table", "{}/t.parquet", "--media", "{}"], f"{{}}/t.parquet: reading Parquet needs {PYARROW}"),
        (
            ["tvsum", "{}/t.mat", "--media", "{}"],
            f"{{}}/t.mat: reading HDF5 needs h5py, which is not installed: {DATA}",
        ),
    ],
}


def names(command: Any, path: str = "") -> set[str]:
    """All commands below one."""
    below = getattr(command, "commands", None)
    if below is None:
        return {path}
    return {found for name, one in below.items() for found in names(one, f"{path} {name}".strip())}


def test_no_command_is_left_out():
    """A new command needs a line above: what does it do where only the core is installed?"""
    assert names(typer.main.get_command(app)) == set(CASES)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, files, whisper):
    """What the commands are given; what would be Parquet or HDF5 is never opened."""
    made = tmp_path_factory.mktemp("plain")
    (made / "sounds").mkdir()
    for place in (made, made / "sounds"):
        shutil.copy(files / "tone.wav", place)
    shutil.copy(CLIP, made / "clip.mp4")
    shutil.copytree(whisper, made / "whisper")
    (made / "t.jsonl").write_text("".join(json.dumps(row, default=str) + "\n" for row in rows(24)))
    judged = {"answer_id": "a"} | dict.fromkeys(JUDGE_SCALE.columns, 3)
    (made / "judged.jsonl").write_text(json.dumps(judged) + "\n")
    (made / "answers.jsonl").write_text(
        json.dumps({"id": "a", "question": "q", "answer": "x", "reference": "y"}) + "\n"
    )
    for name in ("t.parquet", "t.mat", "set/data/train.parquet"):
        (made / name).parent.mkdir(parents=True, exist_ok=True)
        (made / name).write_bytes(b"")
    shutil.copytree(TINY, made / "adapters" / "whisperclip")
    (made / "suite.yaml").write_text("commands: [soundclip reproduce tables --check]")
    EvalResult("hearing", "m", "d", 2, 0, {"share": 0.5}, {}).save(made / "results" / "r.json")
    manifest = {"rows": 1, "splits": {}, "shards": []}
    (made / "set" / "manifest.json").write_text(json.dumps(manifest))
    return made


@pytest.mark.parametrize(
    ("command", "arguments", "error"),
    [(command, *case) for command, cases in CASES.items() for case in cases],
    ids=lambda value: value if isinstance(value, str) and " needs " not in value else "",
)
def test_a_plain_install(soundclip, folder, tmp_path, monkeypatch, command, arguments, error):
    block(monkeypatch, *BLOCKED)
    monkeypatch.setenv("PATH", "")
    work = tmp_path / "work"
    shutil.copytree(folder, work)
    (work / "out").mkdir()
    if command == "search":
        made = soundclip("index", work, "--out", work / "index")
        assert made.code == 0, made.stderr
    done = soundclip(*command.split(), *[argument.format(work) for argument in arguments])
    assert "Traceback" not in done.stderr
    assert "ModuleNotFoundError" not in done.stderr
    if error is WORKS:
        assert done.code == 0, done.stderr
        assert "not installed" not in done.stderr
        return
    assert done.code == 1
    assert done.error == f"error: {error.format(work)}"
    assert done.stdout == ""
    assert not [*(work / "out").iterdir()]
