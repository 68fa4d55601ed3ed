"""The Python of docs/serving.md runs as it is printed, against a server of the bundled model."""

import re
import shutil
from pathlib import Path

from soundclip_hf.bundled import CLIP
from soundclip_hf.serving.chat_requests import MAX_FRAMES, read_request

GUIDE = (Path(__file__).resolve().parents[2] / "docs" / "serving.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", GUIDE, flags=re.DOTALL)


def test_the_blocks_run(server, clips, tmp_path, monkeypatch, capsys):
    shutil.copy(CLIP, tmp_path / "clip.mp4")
    shutil.copy(clips[0].with_suffix(".png"), tmp_path / "street.png")
    shutil.copy(clips[0].with_suffix(".wav"), tmp_path / "siren.wav")
    monkeypatch.chdir(tmp_path)
    shown, printed = {}, []
    for block in BLOCKS:
        exec(block.replace("http://127.0.0.1:8000/v1", server.url), shown)
        printed.append(capsys.readouterr().out.strip())
    clip, _picture, stream, info, many, error = printed
    assert clip == stream == "The clock."
    assert "'mode': 'drop', 'k': 4" in info
    assert many == str(["The clock."] * 16)
    assert "65" in error


def test_the_options_are_those_of_the_server():
    table = GUIDE.split("`extra_body` adds")[1].split("`sound_info` has")[0]
    rows = re.findall(r"^\| `(\w+)` \| .* \| .* \|$", table, re.MULTILINE)
    body = {"messages": ["x"], **dict.fromkeys(rows)}
    read_request(body)
    assert len(rows) == 8
    assert f"1..{MAX_FRAMES} pictures" in GUIDE
