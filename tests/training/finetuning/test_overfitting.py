"""Two epochs over 32 rows are enough to learn them: what is trained reaches the answers, from files to exact texts."""

import json

import pytest
from media_files import pcm_wav
from PIL import Image

from soundclip_hf.data.synthetic import FIRST_VALIDATION, RATE
from soundclip_hf.training.finetuning.arguments import read_arguments
from soundclip_hf.training.finetuning.rows import SyntheticRows
from soundclip_hf.training.finetuning.run import finetune

ROWS = 32


@pytest.fixture
def dataset(tmp_path):
    """Questions about scenes that the bundled model has not met, as files."""
    rows = SyntheticRows(ROWS, FIRST_VALIDATION)
    told = []
    for index in range(ROWS):
        row = rows[index]
        Image.fromarray(row["image"]).save(tmp_path / f"{index}.png")
        (tmp_path / f"{index}.wav").write_bytes(pcm_wav(row["audio"]["array"][:, None], RATE))
        told.append(
            {"question": row["question"], "answer": row["answer"], "image": f"{index}.png", "audio": f"{index}.wav"}
        )
    (tmp_path / "rows.json").write_text(json.dumps(told))
    return tmp_path / "rows.json"


def test_two_epochs_over_32_rows(dataset, tmp_path):
    values = {
        "model": "tiny",
        "dataset": dataset,
        "eval_split": "train",  # asks what was learned
        "output_dir": tmp_path / "out",
        "preset": "lora+projector",
        "lora_dropout": 0.0,
        "num_train_epochs": 2,
        "per_device_train_batch_size": 1,
        "learning_rate": 2e-3,
        "eval_answers": ROWS,
        "max_new_tokens": 16,
        "per_device_eval_batch_size": 16,
        "eval_strategy": "no",
        "save_strategy": "no",
        "disable_tqdm": True,
        "use_cpu": True,
    }
    words = [str(word) for name, value in values.items() for word in (f"--{name}", value)]
    result = finetune(*read_arguments(words))
    assert (result.n, result.metrics["steps"]) == (ROWS, 2 * ROWS)
    before, after = (result.metrics[when]["projected"]["exact"] for when in ("before", "after"))
    assert before < 0.8
    assert after >= 0.95
