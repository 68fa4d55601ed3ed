"""The stage that adds captions of what is seen and heard."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from ....files import sha256
from ...annotation.annotate import Annotator
from ...annotation.caption_tables import read_captions, with_captions
from ...annotation.captioning import AudioCaptioning, Captioning, VideoCaptioning
from ...annotation.dead_letters import earlier_attempts
from ...inference.media_parts import MediaOptions
from ...inference.server_settings import ServerSettings
from ..config import BuildConfig
from .base import Stage, Work, request_identity


class Annotate(Stage):
    """Asks for captions, or takes the user's own."""

    name = "annotate"
    after = "segment"
    asks_a_server = True

    def identity(self, config: BuildConfig) -> dict[str, Any]:
        requests = {step: request_identity(server, prompt) for step, (server, prompt) in captioners(config).items()}
        own = config.annotate.captions
        return {**requests, "captions_sha256": own and _hash(own, *_state(own)), "columns": config.annotate.columns}

    def workers(self, config: BuildConfig) -> int | None:
        return config.annotate.workers

    def servers(self, config: BuildConfig) -> list[ServerSettings]:
        return [server for server in (config.annotate.video, config.annotate.audio) if server is not None]

    def packages(self, config: BuildConfig) -> list[str]:
        return ["httpx"] if self.servers(config) else []

    def rows(self, work: Work) -> Iterator[dict[str, Any]]:
        steps = captioners(work.config, work.folder.clips()).items()
        servers = {step: (settings.server(work.processes), prompt) for step, (settings, prompt) in steps}
        letters = work.folder.dead_letters(self.name, work.shard)
        annotator = Annotator(servers, work.folder.answers(self.name), letters, earlier_attempts(letters))
        for done in annotator.annotate(with_captions(self.before(work), own_captions(work.config))):
            work.counts.update(f"failed: {step}: {failure}" for step, failure in done.failures.items())
            yield done.row
        work.counts["requests"] += annotator.requests


def captioners(config: BuildConfig, media: Path | None = None) -> dict[str, tuple[ServerSettings, Captioning]]:
    """Step -> the server to ask, and with which prompt."""
    settings, found = config.annotate, dict[str, tuple[ServerSettings, Captioning]]()
    if settings.video is not None:
        options = MediaOptions(settings.frames, settings.max_side, 0)
        found["video_caption"] = (settings.video, VideoCaptioning(media, options, **settings.video.prompt_arguments()))
    if settings.audio is not None:
        options = MediaOptions(frames=0)
        found["audio_caption"] = (settings.audio, AudioCaptioning(media, options, **settings.audio.prompt_arguments()))
    return found


def own_captions(config: BuildConfig) -> dict[str, dict[str, str]]:
    """The user's captions by sample id; read once per process."""
    path = config.annotate.captions
    return {} if path is None else _captions(path, tuple(config.annotate.columns.items()), *_state(path))


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


__all__ = ["Annotate"]
