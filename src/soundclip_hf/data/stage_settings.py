"""What the settings of a build mean to its stages: prompts, servers, and what of them decides a stage's output."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from typing import Any

from ..files import sha256
from .annotation.caption_tables import read_captions
from .annotation.captioning import AudioCaptioning, Captioning, VideoCaptioning
from .annotation.rubric import MediaRubric, Rubric
from .build.config import BuildConfig
from .clips.segment import VERSION as CUT_VERSION
from .inference.media_parts import Reading
from .inference.server_settings import ServerSettings


def identity(config: BuildConfig, stage: str) -> dict[str, Any]:
    """What of the settings and the code decides a stage's output, as JSON: models, prompts, sizes, versions."""
    if stage == "segment":
        encoding = config.segment.cutting().encoding
        sizes = {"max_side": encoding.max_side, "preset": encoding.preset, "crf": encoding.crf}
        return {"version": CUT_VERSION, "source_dataset": config.source_dataset, **sizes}
    if stage == "annotate":
        told = {step: _told(server, prompt) for step, (server, prompt) in captioners(config).items()}
        own = config.annotate.captions
        return {**told, "captions_sha256": own and _hash(own, *_state(own)), "columns": config.annotate.columns}
    if stage == "judge":
        server = config.judge.server
        return {"mode": config.judge.mode} | (_told(server, rubric(config)) if server else {"model": None})
    if stage == "subset":
        settings = config.subset
        return {"keep": settings.keep, "inclusive": settings.inclusive, "eval_share": settings.eval_share}
    if stage == "shard":
        return {"media": config.shard.media}
    return {"repo": config.push.repo, "options": config.push.options}


def captioners(config: BuildConfig, media: Path | None = None) -> dict[str, tuple[ServerSettings, Captioning]]:
    """Step -> whom to ask and what."""
    settings, found = config.annotate, dict[str, tuple[ServerSettings, Captioning]]()
    if settings.video is not None:
        reading = Reading(settings.frames, settings.max_side, 0)
        found["video_caption"] = (settings.video, VideoCaptioning(media, reading, **settings.video.wording()))
    if settings.audio is not None:
        found["audio_caption"] = (settings.audio, AudioCaptioning(media, Reading(0), **settings.audio.wording()))
    return found


def rubric(config: BuildConfig, media: Path | None = None) -> Rubric:
    settings = config.judge
    words = settings.server.wording() if settings.server else {}
    if settings.mode == "media":
        return MediaRubric(media=media, reading=Reading(settings.frames, settings.max_side), **words)
    return Rubric(**words)


def own_captions(config: BuildConfig) -> dict[str, dict[str, str]]:
    """The user's captions by sample id; read once per process."""
    path = config.annotate.captions
    return {} if path is None else _captions(path, tuple(config.annotate.columns.items()), *_state(path))


def _told(server: ServerSettings, prompt: Any) -> dict[str, Any]:
    asked = {"model": server.model, "seed": server.seed, "max_tokens": server.max_tokens}
    return asked | {"prompt_id": prompt.prompt_id, "prompt_sha256": prompt.sha256}


def _state(path: str) -> tuple[int, int]:
    try:
        state = os.stat(path)
    except OSError as error:
        raise ValueError(f"annotate.captions={path!r}: no such file") from error
    return state.st_size, state.st_mtime_ns


@lru_cache(4)
def _hash(path: str, size: int, changed: int) -> str:
    return sha256(path)


@lru_cache(1)
def _captions(path: str, columns: tuple[tuple[str, str], ...], size: int, changed: int) -> dict[str, dict[str, str]]:
    return read_captions(path, dict(columns))


__all__ = ["captioners", "identity", "own_captions", "rubric"]
