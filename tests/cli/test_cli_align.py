"""`soundclip align`: the adapter, its numbers on stdout, and one line for what is wrong."""

import json

import pytest
from alignment_parts import write_base, write_pairs, write_whisper

from soundclip_hf import SoundClipModel


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("alignment")
    write_base(folder / "base")
    write_whisper(folder / "whisper")
    write_pairs(folder / "pairs", 12)
    return folder


@pytest.fixture
def align(soundclip, parts, tmp_path):
    """With a config of its own, and few steps."""
    config = tmp_path / "run.yaml"
    config.write_text(
        f"base_model: {parts / 'base'}\naudio_encoder: {parts / 'whisper'}\nwindow: short\n"
        f"output_dir: {tmp_path / 'out'}\ncache_embeddings: {tmp_path / 'cache'}\nprojector_hidden_size: 16\n"
        "per_device_train_batch_size: 4\nnum_train_epochs: 1\nvalidation_fraction: 0.3\nuse_cpu: true\n"
        "save_strategy: 'no'\n"
    )
    return lambda *words: soundclip("align", "--config", config, *words)


def test_an_adapter_and_its_numbers(align, parts, tmp_path, soundclip):
    done = align("--dataset", parts / "pairs")
    assert done.code == 0, done.stderr
    assert done.stdout.startswith("retrieval of 4 held-out pairs, mean rank of 4 (chance 2.5):")
    assert "projected sound to picture" in done.stdout
    assert "retrieval was measured on 4 pairs" in done.stderr
    SoundClipModel.from_pretrained(tmp_path / "out")
    done = align("--dataset", parts / "pairs", "--json", "--output_dir", tmp_path / "other", "--seed", 3)
    (row,) = done.rows
    assert row["seed"] == 3
    assert row["adapter"] == str(tmp_path / "other")
    assert row["metrics"]["projected_a2v"]["mean_rank"] >= 1


def test_a_grid_writes_a_table(align, parts, tmp_path):
    words = ("--dataset", parts / "pairs", "--grid", "loss", "--json", "--save_strategy", "no")
    done = align(*words)
    assert done.code == 0, done.stderr
    labels = ["cosine", "mse", "distribution", "info_nce", "info_nce+distribution"]
    assert [row["row"] for row in done.rows] == labels
    assert [row["row"] for row in json.loads((tmp_path / "out" / "loss.json").read_text())] == labels
    table = (tmp_path / "out" / "loss.md").read_text()
    assert table.startswith("Mean rank of 4 (chance 2.5), n = 4")
    assert "| 12.4 / 11.6 |" in table
    before = (tmp_path / "out" / "mse" / "soundclip_adapter.safetensors").stat().st_mtime_ns
    assert align(*words).rows == done.rows  # read, not trained again
    assert (tmp_path / "out" / "mse" / "soundclip_adapter.safetensors").stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ([], 2, "dataset is missing"),
        (["--datset", "x"], 2, "--datset: unknown setting; did you mean dataset?"),
        (["--config", "align/whisprclip"], 2, "did you mean 'align/whisperclip'?"),
        (["--dataset", "/nowhere"], 2, "dataset /nowhere"),
        (["--dataset", "PAIRS", "--report_to", "tensorbord"], 2, "did you mean 'tensorboard'?"),
        (["--dataset", "PAIRS", "--loss", "odd"], 2, "'odd' is not one of info_nce"),
        (["--dataset", "PAIRS", "--grid", "odd"], 2, "grid 'odd': must be one of loss, pooling, size, last_n"),
        (["--dataset", "BROKEN", "--max_bad_rows", "1"], 1, "rows cannot be used"),
    ],
)
def test_one_line_for_what_is_wrong(align, parts, tmp_path, words, code, message):
    if "BROKEN" in words:
        for file in write_pairs(tmp_path / "broken", 6).glob("*.wav"):
            file.write_bytes(b"")
    places = {"PAIRS": str(parts / "pairs"), "BROKEN": str(tmp_path / "broken")}
    done = align(*[places.get(word, word) for word in words])
    assert done.code == code
    assert message in done.error
    assert done.stdout == ""
