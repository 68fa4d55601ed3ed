"""`tp_plan="auto"`: the language model is divided over two processes, which answer as one does, with sound."""

import os
import subprocess
import sys

import pytest
import torch
import torch.distributed
from tiny_inputs import MIXED, build_inputs
from tiny_models import tiny_sound_llava
from transformers.distributed import DistributedConfig

from soundclip_hf import SoundLlava

GREEDY = {"max_new_tokens": 4, "do_sample": False}


@pytest.mark.slow
def test_two_processes_answer_as_one(tmp_path):
    model = tiny_sound_llava("llava")
    model.save_pretrained(tmp_path / "base")
    model.config.base_model_name_or_path = str(tmp_path / "base")
    model.save_pretrained(tmp_path / "adapter", adapter_only=True)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", __file__]
    done = subprocess.run(
        [*command, str(tmp_path / "base"), str(tmp_path / "adapter")],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "PYTHONPATH": os.pathsep.join(sys.path)},
        timeout=500,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    assert done.stdout.count("equal") == 4


def compare(folder):
    """In each process: a whole model, and one whose layers are divided."""
    whole = SoundLlava.from_pretrained(folder)
    model = SoundLlava.from_pretrained(folder, distributed_config=DistributedConfig(tp_plan="auto"))
    for name in ("self_attn.q_proj", "mlp.down_proj"):
        weight = model.model.language_model.layers[0].get_submodule(name).weight
        assert 2 * weight.to_local().numel() == weight.numel(), name
    inputs = build_inputs(whole, MIXED[:3])
    with torch.no_grad():
        torch.testing.assert_close(model(**inputs).logits, whole(**inputs).logits, rtol=0, atol=1e-5)
    for one in (whole, model):
        one.generation_config.eos_token_id = None
    assert torch.equal(model.generate(**inputs, **GREEDY), whole.generate(**inputs, **GREEDY))
    print("equal", folder)


if __name__ == "__main__":
    for folder in sys.argv[1:]:
        compare(folder)
    torch.distributed.destroy_process_group()
