"""The notebooks of examples/ run from an empty folder, offline, and say what they said when they were stored."""

import os
import re
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / "examples").glob("*.ipynb"))
# What each prints on every machine, wherever in it.
SAYS = {
    "quickstart": ["piano    The piano.", "clock    The clock.", "car      The car."],
    "search_video_by_sound": ["piano-16.mp4"],
    "align_a_new_encoder": ["320", "sound to picture: mean rank"],
    "finetune_with_lora": ["84 36", "held-out answers are exact", "peft/adapter_model.safetensors"],
    "explore_ave2": ["offscreen", "leaks           none", "24 with a clip, in page/index.html"],
}


def printed(notebook: nbformat.NotebookNode) -> str:
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    texts = [output.get("text") or output.get("data", {}).get("text/plain", "") for output in outputs]
    return re.sub(r"\x1b\[[0-9;]*m", "", "".join(texts))


def test_every_notebook_is_tested():
    assert {path.stem for path in NOTEBOOKS} == set(SAYS)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_stored_with_its_outputs(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    text = printed(notebook)
    assert all(words in text for words in SAYS[path.stem])
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert not any(output.output_type == "error" for cell in code for output in cell.outputs)
    assert path.stat().st_size < 600_000


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(path, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(
        notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    ).execute()
    text = printed(notebook)
    assert all(words in text for words in SAYS[path.stem])
