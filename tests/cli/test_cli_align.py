"""`soundclip align`: the adapter, its numbers on stdout, and one line for what is wrong."""

import json
import sys

import pytest
from alignment_parts import write_base, write_pairs, write_whisper

from soundclip_hf import SoundClipModel
from soundclip_hf.files import lock_folder


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


def test_the_best_epoch_and_the_curve(align, parts, tmp_path):
    done = align("--dataset", parts / "pairs", "--num_train_epochs", 3, "--json")
    assert done.code == 0, done.stderr
    (row,) = done.rows
    history = json.loads((tmp_path / "out" / "curve.json").read_text())
    losses = {entry["epoch"]: entry["eval_loss"] for entry in history if "eval_loss" in entry}
    assert row["best_epoch"] == min(losses, key=losses.get)
    assert row["best_epoch_chosen_by"] == "eval_loss"
    assert row["metrics"]["best_epoch"]["epoch_of_the_adapter"] == 3.0
    *_, line, hint, last = done.stderr.splitlines()
    if row["best_epoch"] == 3:
        line = hint
    else:
        assert hint == "to keep the best one, train again with --load_best_model_at_end true --overwrite true"
    assert line.startswith(f"best epoch: {row['best_epoch']:g} of 3, by eval_loss (")
    assert line.endswith("); the adapter is that of epoch 3")
    assert last == f"adapter: {tmp_path / 'out'}"
    assert (tmp_path / "out" / "curve.png").stat().st_size > 1000
    # The lock of the run is not left beside the adapter.
    assert not [path for path in (tmp_path / "out").iterdir() if path.name.startswith(".")]


def test_the_best_epoch_is_kept_as_the_hint_says(align, parts, tmp_path):
    """Chance is the same in every epoch, and of equal ones the first is the best."""
    words = ("--dataset", parts / "pairs", "--num_train_epochs", 3, "--save_strategy", "epoch")
    words += ("--metric_for_best_model", "chance_mean_rank", "--greater_is_better", "false")
    first = align(*words)
    assert "best epoch: 1 of 3" in first.stderr
    assert "to keep the best one, train again with --load_best_model_at_end true --overwrite true" in first.stderr
    kept = align(*words, "--load_best_model_at_end", "true", "--overwrite", "true", "--json")
    assert kept.code == 0, kept.stderr
    assert "the adapter is that of epoch 1" in kept.stderr
    assert "to keep the best one" not in kept.stderr
    assert kept.rows[0]["metrics"]["best_epoch"]["epoch_of_the_adapter"] == 1.0


def test_without_matplotlib_one_note_and_no_picture(align, parts, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    done = align("--dataset", parts / "pairs")
    assert done.code == 0, done.stderr
    assert not (tmp_path / "out" / "curve.png").exists()
    assert (tmp_path / "out" / "curve.json").exists()
    notes = [line for line in done.stderr.splitlines() if "matplotlib" in line]
    assert len(notes) <= 1  # logging may write to the stream of an earlier test


def test_rows_that_cannot_be_read_are_left_out_and_reported(align, tmp_path):
    """One bad gzip, empty sound or picture costs its own pair; also in the next run, which reads the cache."""
    folder = write_pairs(tmp_path / "pairs", 14)
    (folder / "003.wav").write_bytes(b"\x1f\x8b\x08\x00broken")
    (folder / "007.png").write_bytes(b"")
    for words in ((), ("--seed", 2, "--output_dir", tmp_path / "next")):
        done = align("--dataset", folder, *words, "--json")
        assert done.code == 1
        assert done.error == "error: 2 rows of the dataset could not be used and were left out"
        assert done.rows[0]["metrics"]["rows_left_out"] == 2
        SoundClipModel.from_pretrained(done.rows[0]["adapter"])


def test_two_runs_do_not_share_a_folder(align, parts, tmp_path):
    (tmp_path / "out").mkdir()
    with lock_folder(tmp_path / "out"):
        # Told before the models are loaded: this one does not exist.
        done = align("--dataset", parts / "pairs", "--base_model", "/nowhere")
        assert done.code == 1
        assert f"{tmp_path / 'out'}: another process is writing to it" in done.error
    assert align("--dataset", parts / "pairs").code == 0


def test_progress_in_a_log(align, parts, monkeypatch):
    monkeypatch.setattr("soundclip_hf.cli.output.PROGRESS_SECONDS", 0.0)
    done = align("--dataset", parts / "pairs", "--num_train_epochs", 2, "--cache_batch_size", 4)
    assert done.code == 0, done.stderr
    lines = done.stderr.splitlines()
    assert any(line.startswith("embedding train: 4 of 12, ") and line.endswith(" left") for line in lines)
    assert any(line.startswith("training: 1 of 4, ") and line.endswith(" left") for line in lines)


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
