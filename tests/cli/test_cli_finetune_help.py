"""The help of `align` and `finetune` lists their settings, from the fields of the dataclasses and their docstrings."""

import dataclasses

import pytest

from soundclip_hf.cli.settings_help import _SETTINGS, settings_rows
from soundclip_hf.training.arguments import AlignmentArguments
from soundclip_hf.training.finetuning.arguments import FinetuningArguments


@pytest.mark.parametrize(("command", "kind"), [("align", AlignmentArguments), ("finetune", FinetuningArguments)])
def test_every_setting_is_listed_with_a_meaning(soundclip, command, kind):
    done = soundclip(command, "--help")
    assert done.code == 0
    rows = settings_rows(*_SETTINGS[command])
    names = [field.name for field in dataclasses.fields(kind)]
    assert [row[0].split()[0] for row in rows] == [f"--{name}" for name in names]
    for (name, meaning), field in zip(rows, dataclasses.fields(kind)):
        assert len(meaning.partition("[default:")[0]) > 5, name
        assert "[`" not in meaning
        assert f"--{field.name} <" in done.stdout
        if isinstance(field.default, (int, float)) and not isinstance(field.default, bool):
            assert meaning.endswith(f"[default: {field.default}]")
    assert "TrainingArguments are taken" in " ".join(done.stdout.split())
