"""TRL's `SFTTrainer` on the rows of a fine-tuning: the example of docs/finetuning.md, as it is printed."""

import json
import re
from pathlib import Path

import pytest
import torch
from media_files import pcm_wav
from tiny_models import tiny_sound_llava
from tiny_processors import picture, sound, tiny_sound_processor

from soundclip_hf import SoundLlava

pytestmark = pytest.mark.slow
pytest.importorskip("trl")

GUIDE = Path(__file__).resolve().parents[3] / "docs" / "finetuning.md"
EXAMPLE = next(
    code for code in re.findall(r"```python\n(.*?)```", GUIDE.read_text(), flags=re.DOTALL) if "SFTTrainer" in code
)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working directory with the model and the rows of the example; every third row has no picture."""
    model = tiny_sound_llava("llava")
    model.save_pretrained(tmp_path / "out/align/whisperclip")
    tiny_sound_processor("llava").save_pretrained(tmp_path / "out/align/whisperclip")
    picture().save(tmp_path / "a.png")
    rows = []
    for index in range(24):
        (tmp_path / f"{index}.wav").write_bytes(pcm_wav(sound(seed=index)[:, None], 16_000))
        image = None if index % 3 == 2 else "a.png"
        rows.append({"question": "What is it?", "answer": "A bell.", "image": image, "audio": f"{index}.wav"})
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_example_trains_what_it_names_and_its_model_loads(folder):
    before = SoundLlava.from_pretrained("out/align/whisperclip").state_dict()
    names = {}
    exec(EXAMPLE, names)
    losses = [entry["loss"] for entry in names["trainer"].state.log_history if "loss" in entry]
    assert len(losses) == 18
    assert sum(losses[-3:]) < sum(losses[:3])
    # TRL computes the loss from its own head: it must be the model's own on the same batch.
    names["model"].eval()
    collator = names["trainer"].data_collator
    batch = collator([names["trainer"].train_dataset[index] for index in range(4)])
    with torch.no_grad():
        theirs = names["trainer"].compute_loss(names["trainer"].model, dict(batch))
    loaded = SoundLlava.from_pretrained("out/trl/model", dtype=torch.float32).eval()
    with torch.no_grad():
        ours = loaded(**batch).loss
    assert float(theirs) == pytest.approx(float(ours), rel=1e-3)
    after = loaded.state_dict()
    (projector,) = [after[key] for key in after if "modules_to_save" in key and key.endswith("fc1.weight")]
    assert not torch.equal(before["model.audio_projection.fc1.weight"], projector)
    moved = [key for key in after if "lora_B" in key and bool(after[key].any())]
    assert len(moved) == 14  # 7 layers in each of 2 blocks
