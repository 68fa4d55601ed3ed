"""What a fine-tuning wrote, in a process that knows nothing of it: loaded, over a 4-bit base, merged, without LoRA."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from rounding import assert_equal_to_rounding
from safetensors.torch import load_file

from soundclip_hf import SoundLlava, SoundLlavaProcessor
from soundclip_hf.bundled import CLIP, TINY
from soundclip_hf.training.finetuning import trainer as trainer_module
from soundclip_hf.training.finetuning.arguments import read_arguments
from soundclip_hf.training.finetuning.presets import part_of
from soundclip_hf.training.finetuning.run import finetune

pytest.importorskip("peft")

SUPPORT = Path(__file__).parents[2] / "support"
ADAPTER, LORA = "soundclip_adapter.safetensors", "peft/adapter_model.safetensors"
# The logits after a question with a picture and a sound.
LOGITS = """
import torch
def logits_of(model, processor, clip):
    parts = [{"type": "video", "path": str(clip)}, {"type": "text", "text": "What makes the sound?"}]
    inputs = processor.apply_chat_template(
        [{"role": "user", "content": parts}], tokenize=True, return_dict=True, return_tensors="pt"
    )
    with torch.no_grad():
        return model.eval()(**inputs.to(model.device, model.dtype)).logits[0].float()
"""
CLEAN = (
    LOGITS
    + """
import json, sys
from pathlib import Path
from peft import PeftModel
from safetensors.torch import save_file
from transformers import BitsAndBytesConfig
from soundclip_hf import SoundLlava, SoundLlavaProcessor
root, clip, four_bit = Path(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3])
found = {}
def keep(name, model, folder):
    found[name] = logits_of(model, SoundLlavaProcessor.from_pretrained(folder), clip).contiguous()
def merged(folder):
    return PeftModel.from_pretrained(SoundLlava.from_pretrained(folder, dtype="float32"), folder, subfolder="peft")

plain = root / "plain"
keep("plain", SoundLlava.from_pretrained(plain, dtype="float32"), plain)
model = merged(plain).merge_and_unload()
keep("merged", model, plain)
model.save_pretrained(root / "merged")
model = merged(plain).unload()
keep("unloaded", model, plain)
model.save_pretrained(root / "unloaded", adapter_only=True)
for name in ("merged", "unloaded"):
    keep(name + " again", SoundLlava.from_pretrained(root / name, dtype="float32"), plain)
if four_bit is not None:
    folder, settings = root / "four", BitsAndBytesConfig(**four_bit)
    model = SoundLlava.from_pretrained(folder, quantization_config=settings, dtype="float32", device_map="cpu")
    keep("four", model, folder)
    model = SoundLlava.from_pretrained(folder, dtype="float32")
    assert not getattr(model, "is_quantized", False)
    keep("four over a plain base", model, folder)
save_file(found, root / "logits.safetensors")
"""
)
FOUR_BIT = {
    "load_in_4bit": True,
    "bnb_4bit_quant_type": "nf4",
    "bnb_4bit_use_double_quant": True,
    "bnb_4bit_compute_dtype": "float32",
}
exec(LOGITS)


def tune(out, *more):
    """Three steps of the bundled model; returns the model as it was trained."""
    values = {
        "model": "tiny",
        "dataset": "synthetic",
        "dtype": "float32",
        "output_dir": out,
        "eval_answers": 0,
        "per_device_train_batch_size": 2,
        "max_steps": 3,
        "learning_rate": 1e-2,
        "eval_strategy": "no",
        "save_strategy": "no",
        "disable_tqdm": True,
        "use_cpu": True,
    }
    seen = []
    stock = trainer_module.FinetuningTrainer.__init__

    def watched(self, model, *args, **kwargs):
        seen.append(model)
        stock(self, model, *args, **kwargs)

    words = [str(word) for name, value in values.items() for word in (f"--{name}", value)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trainer_module.FinetuningTrainer, "__init__", watched)
        finetune(*read_arguments([*words, *more]))
    return seen[0].eval()


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The folder of all runs, the trained models by name, and the logits of the clean process."""
    root = tmp_path_factory.mktemp("finetuned")
    models = {"plain": tune(root / "plain")}
    try:
        import bitsandbytes  # noqa: F401
    except ImportError:
        four_bit = None
    else:
        four_bit = FOUR_BIT
        models["four"] = tune(root / "four", "--quantization", "4bit")
    home = tmp_path_factory.mktemp("home")
    environment = {**os.environ, "HF_HOME": str(home), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", CLEAN, str(root), str(CLIP), json.dumps(four_bit)],
        capture_output=True,
        text=True,
        env=environment,
        timeout=500,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return root, models, load_file(root / "logits.safetensors")


def logits(model, folder):
    return logits_of(model, SoundLlavaProcessor.from_pretrained(folder), CLIP)  # noqa: F821


@pytest.fixture(scope="module")
def base():
    return SoundLlava.from_pretrained("tiny", dtype="float32")


def test_it_loads_in_a_clean_process(made, base):
    root, models, found = made
    expected = logits(models["plain"], root / "plain")
    assert_equal_to_rounding(found["plain"], expected)
    assert (expected - logits(base, TINY)).abs().max() > 0.1  # it was trained


def test_merged_it_is_a_whole_model_without_peft(made):
    root, _, found = made
    for name in ("merged", "merged again"):
        torch.testing.assert_close(found[name], found["plain"], rtol=1e-3, atol=1e-3)
    assert (root / "merged" / "model.safetensors").is_file()
    assert not (root / "merged" / "peft").exists()


def test_unloaded_it_is_the_base_with_the_trained_ears(made, base):
    root, models, found = made
    trained = models["plain"].model.audio_projection.state_dict()
    before = base.model.audio_projection.state_dict()
    assert any(not torch.equal(value, before[key]) for key, value in trained.items())
    ears = SoundLlava.from_pretrained("tiny", dtype="float32")
    ears.model.audio_projection.load_state_dict(trained)
    expected = logits(ears, TINY)
    assert_equal_to_rounding(found["unloaded"], expected)
    assert_equal_to_rounding(found["unloaded again"], expected)
    assert (expected - found["plain"]).abs().max() > 1e-3  # the LoRA had done something
    stored = load_file(root / "unloaded" / ADAPTER)
    for key, value in trained.items():
        assert torch.equal(stored[f"audio_projection.{key}"], value)
    assert not (root / "unloaded" / "peft").exists()


@pytest.fixture
def four(made):
    if "four" not in made[1]:
        pytest.skip("bitsandbytes is not installed")
    return made


def test_qlora_quantises_the_language_model_alone(four):
    model = four[1]["four"]
    linear = {name for name, module in model.named_modules() if isinstance(module, torch.nn.Linear)}
    linear = {name for name in linear if ".lora_" not in name}
    packed = {name for name in linear if type(model.get_submodule(name)).__name__ == "Linear4bit"}
    assert packed == {name for name in linear if ".language_model." in name}
    assert len(packed) == 7 * model.config.text_config.num_hidden_layers
    trained = {key: value for key, value in model.named_parameters() if value.requires_grad}
    assert {part_of(key) for key in trained} == {"lora", "audio_projection"}
    assert {value.dtype for value in trained.values()} == {torch.float32}


def test_qlora_trains_lora_and_projector(four, base):
    root, models, _ = four
    lora = load_file(root / "four" / LORA)
    assert lora
    assert all(value.any() for value in lora.values())  # those of B begin at zero
    before = base.model.audio_projection.state_dict()
    stored = load_file(root / "four" / ADAPTER)
    assert any(not torch.equal(stored[f"audio_projection.{key}"], value) for key, value in before.items())
    for key, value in models["four"].model.multi_modal_projector.state_dict().items():
        assert torch.equal(value, base.model.multi_modal_projector.state_dict()[key])


def test_qlora_loads_over_the_quantised_and_the_plain_base(four):
    root, models, found = four
    assert_equal_to_rounding(found["four"], logits(models["four"], root / "four"))
    assert "quantization_config" not in json.loads((root / "four" / "config.json").read_text())
    one, other = found["four"], found["four over a plain base"]
    assert not torch.equal(one, other)
    assert torch.cosine_similarity(one.flatten(), other.flatten(), dim=0) > 0.95


def test_the_table_counts_the_weights_that_4_bits_stand_for(four):
    from soundclip_hf.training.finetuning.presets import parameter_table

    plain, packed = ({row.part: row for row in parameter_table(four[1][name])} for name in ("plain", "four"))
    assert {name: (row.parameters, row.trained) for name, row in packed.items()} == {
        name: (row.parameters, row.trained) for name, row in plain.items()
    }
    assert packed["language_model"].bytes < plain["language_model"].bytes / 2


def test_the_projector_alone_is_trained_over_4_bits(four, tmp_path):
    model = tune(tmp_path / "out", "--preset", "projector", "--quantization", "4bit")
    before = SoundLlava.from_pretrained("tiny", dtype="float32").model.audio_projection.state_dict()
    assert any(not torch.equal(value, before[key]) for key, value in model.model.audio_projection.state_dict().items())
    assert not model._hf_peft_config_loaded  # it has none
