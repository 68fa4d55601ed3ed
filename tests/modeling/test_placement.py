"""device_map="auto" over a CPU and a disk: every split that a small `max_memory` gives answers as the whole model."""

from collections import OrderedDict
from importlib.metadata import version

import pytest
import torch
from accelerate import infer_auto_device_map
from accelerate.utils import compute_module_sizes
from packaging.version import Version
from tiny_inputs import MIXED, build_inputs
from tiny_models import VARIANTS, tiny_sound_llava

from soundclip_hf import SoundLlava

GREEDY = {"max_new_tokens": 3, "do_sample": False}


def splits(model):
    """CPU budgets in bytes, one for each different device map."""
    whole = compute_module_sizes(model)[""]
    unsplit = list(model._no_split_modules)
    maps = {}
    for budget in range(whole // 50, whole + whole // 5, whole // 50):
        found = infer_auto_device_map(
            model, {"cpu": budget, "disk": 10 * whole}, no_split_module_classes=unsplit, dtype=model.dtype
        )
        maps.setdefault(str(found), budget)
    if Version(version("accelerate")) < Version("1.15"):  # which refuses to put a whole model on a disk
        maps.pop(str(OrderedDict({"": "disk"})), None)
    return list(maps.values())


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_split_answers_as_the_whole_model(variant, tmp_path):
    model = tiny_sound_llava(variant)
    model.save_pretrained(tmp_path)
    inputs = build_inputs(model, MIXED[:3])
    with torch.no_grad():
        logits = model(**inputs).logits
    ids = model.generate(**inputs, **GREEDY)
    budgets, seen = splits(model), set()
    assert len(budgets) > 10
    for budget in budgets:
        placed = SoundLlava.from_pretrained(
            tmp_path, device_map="auto", max_memory={"cpu": budget}, offload_folder=tmp_path / "offload"
        )
        seen.update(getattr(placed, "hf_device_map", {"": "cpu"}).values())
        with torch.no_grad():
            torch.testing.assert_close(placed(**inputs).logits, logits, rtol=0, atol=1e-5)
        placed.generation_config.eos_token_id = None
        assert torch.equal(placed.generate(**inputs, **GREEDY), ids), budget
    assert {"cpu", "disk"} <= {str(place) for place in seen}
