"""A small world to build AVE-2 from: long synthetic videos, and a server that describes and judges what it is sent."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
from chat_server import completion, good
from PIL import Image

from soundclip_hf.data.build.config import BuildConfig
from soundclip_hf.data.synthetic.scenes import Scene, scene, write_mp4
from soundclip_hf.settings import read_settings

THUMBNAIL = 32


def long_videos(folder: Path, count: int = 3, scenes: int = 2, first: int = 0) -> dict[str, list[Scene]]:
    """Videos of 3 s per scene, by name; scenes in which nothing sounds are left out, as they would be rejected."""
    folder.mkdir(parents=True, exist_ok=True)
    number, made = first, {}
    for index in range(first, first + count):
        shown: list[Scene] = []
        while len(shown) < scenes:
            if scene(number).sources:
                shown.append(scene(number))
            number += 1
        write_mp4(folder / f"long{index}.mp4", shown, size=64)
        made[f"long{index}"] = shown
    return made


class Answering:
    """A reply for `chat_server`: it knows the scenes, and finds the one that a frame shows."""

    def __init__(self, videos: dict[str, list[Scene]]) -> None:
        self.scenes = [shown for scenes in videos.values() for shown in scenes]
        self.pictures = np.stack([_small(Image.fromarray(shown.draw(64))) for shown in self.scenes])

    def __call__(self, number: int, body: dict[str, Any]) -> Any:
        content = body["messages"][1]["content"]
        if isinstance(content, str):
            return completion(good(audio_visual_label=content.split("<video>")[1].split("</video>")[0][:100]))
        kinds = {part["type"] for part in content}
        if kinds >= {"input_audio", "image_url"}:
            return completion(good([10, 10, 10, 10, 10]))
        if "input_audio" in kinds:
            return completion({"audio_caption": "a sound", "speech_content": "", "environmental_audio": "sound"})
        frames = [part["image_url"]["url"] for part in content if part["type"] == "image_url"]
        image = Image.open(io.BytesIO(base64.b64decode(frames[len(frames) // 2].partition(",")[2])))
        distances = np.abs(self.pictures - _small(image)).mean((1, 2, 3))
        return completion({"video_caption": self.scenes[int(distances.argmin())].row()["video_caption"]})


def settings(folder: Path, out: Path, url: str, **changes: Any) -> BuildConfig:
    """All stages, one video per shard."""
    return read_settings(BuildConfig, values(folder, out, url, **changes))


def values(folder: Path, out: Path, url: str, **changes: Any) -> dict[str, Any]:
    server = {"base_url": url, "model": "judge", "backoff": 0.01, "timeout": 60, "concurrency": 2}
    made: dict[str, Any] = {
        "videos": str(folder),
        "out": str(out),
        "videos_per_shard": 1,
        "source_dataset": "synthetic",
        "segment": {"backend": "pyav", "workers": 1},
        "annotate": {"video": server, "audio": server},
        "judge": {"server": server},
        "subset": {"eval_share": 0.3, "workers": 1},
    }
    return json.loads(json.dumps(made | changes))


def _small(image: Image.Image) -> np.ndarray:
    return np.asarray(image.convert("RGB").resize((THUMBNAIL, THUMBNAIL)), np.float32)
