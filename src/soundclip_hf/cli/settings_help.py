"""The settings of a run as a section of a command's help, read from the source of their dataclass: no torch."""

import ast
import re
from pathlib import Path
from typing import Any

from typer.core import TyperCommand

_TRAINING = Path(__file__).parents[1] / "training"
# Command -> the module and the class of its settings.
_SETTINGS = {
    "align": (_TRAINING / "arguments.py", "AlignmentArguments"),
    "finetune": (_TRAINING / "finetuning" / "arguments.py", "FinetuningArguments"),
}
_ENTRY = re.compile(r"^    (\w+(?:, \w+)*): ((?:.|\n     )*)", re.MULTILINE)


class SettingsCommand(TyperCommand):
    """A command that takes settings besides its options."""

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        with formatter.section("Settings, each an option or a line of --config"):
            formatter.write_dl(settings_rows(*_SETTINGS[str(self.name)]))
        with formatter.section("Settings of transformers"):
            formatter.write_text(
                "All of TrainingArguments are taken, too, such as --output_dir, --learning_rate, --num_train_epochs, "
                "--per_device_train_batch_size, --seed, --use_cpu, --report_to and --push_to_hub."
            )
        super().format_epilog(ctx, formatter)


def settings_rows(path: Path, name: str) -> list[tuple[str, str]]:
    """
    The fields of a dataclass as rows of help: `--name <type>`, and what its docstring says with the default.

    Args:
        path: The module. Importing it would import torch, and take seconds.
        name: Of the class, whose docstring has a section "Attributes".
    """
    tree = ast.parse(path.read_text(encoding="utf-8"))
    (found,) = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == name]
    text = (ast.get_docstring(found) or "").partition("Attributes:\n")[2]
    meanings = {one: _plain(words) for names, words in _ENTRY.findall(text) for one in names.split(", ")}
    rows = []
    for field in found.body:
        if not isinstance(field, ast.AnnAssign) or not isinstance(field.target, ast.Name):
            continue
        kind = ast.unparse(field.annotation).removesuffix(" | None")
        kind = ", ".join(re.findall(r"'(\w+)'", kind)) or kind
        words = [meanings.get(field.target.id, "")]
        if isinstance(field.value, ast.Constant) and field.value.value is not None:
            default: Any = field.value.value
            words.append(f"[default: {str(default).lower() if isinstance(default, bool) else default}]")
        rows.append((f"--{field.target.id} <{kind}>", "  ".join(filter(None, words))))
    return rows


def _plain(text: str) -> str:
    """Without line ends and the marks of a docstring."""
    return re.sub(r"\[?`+([^`]*)`+\]?", r"\1", " ".join(text.split()))


__all__ = ["SettingsCommand", "settings_rows"]
