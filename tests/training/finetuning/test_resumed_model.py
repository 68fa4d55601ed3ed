"""A run of a model on the Hub goes on with the commit that it began with, also after somebody pushed another one."""

import torch
from tiny_models import tiny_sound_llava
from tiny_processors import tiny_sound_processor

TUNE = """
import urllib.request
from pathlib import Path
from soundclip_hf import SoundLlava
from soundclip_hf.training.finetuning.arguments import read_arguments
from soundclip_hf.training.finetuning.run import finetune

def tune(out, steps, *more):
    values = {"model": "org/hears", "dataset": "synthetic", "output_dir": out, "preset": "lora", "eval_answers": 0,
              "per_device_train_batch_size": 2, "num_train_epochs": 1, "save_steps": 1, "eval_strategy": "no",
              "disable_tqdm": True, "use_cpu": True, "max_steps": steps}
    finetune(*read_arguments([*(str(word) for name, value in values.items() for word in ("--" + name, value)), *more]))
    bias = SoundLlava.from_pretrained(out).model.audio_projection.fc3.bias
    return [json.loads((Path(out) / "finetuning.json").read_text())["model_commit"], round(float(bias[0]))]

out = sys.argv[1]
found = [tune(out + "/one", 2)]
asked = urllib.request.Request(os.environ["HF_ENDPOINT"] + "/test/push/1", method="POST")
urllib.request.urlopen(asked)
found += [tune(out + "/one", 2), tune(out + "/new", 1), tune(out + "/one", 1, "--overwrite", "true")]
found.append(attempt(tune, out + "/one", 1, "--model_revision", "v1"))
print(json.dumps(found))
"""


def test_the_same_command_after_a_push(hub, ask, tmp_path):
    commits = []
    for version in (1, 2):
        model = tiny_sound_llava("llava")
        with torch.no_grad():
            model.model.audio_projection.fc3.bias.fill_(version)
        model.save_pretrained(tmp_path / str(version))
        tiny_sound_processor("llava").save_pretrained(tmp_path / str(version))
        commits.append(hub.commit("org/hears", tmp_path / str(version), f"v{version}"))
    hub.pushes = {"org/hears": tuple(commits)}
    hub.move(0)
    first, again, new, overwritten, other = ask(TUNE, tmp_path / "out")
    assert first == again == [commits[0], 1]
    assert new == overwritten == [commits[1], 2]
    assert "holds a run with another model_" in other
