"""One server of the bundled model for all tests of this folder, and clips to ask it about."""

from itertools import islice
from pathlib import Path

import pytest
import torch
from media_files import grey_frames, pcm_wav, write_media
from model_server import ModelServer, file_server
from openai import OpenAI
from PIL import Image

from soundclip_hf import SoundLlava, SoundLlavaProcessor
from soundclip_hf.bundled import TINY
from soundclip_hf.data.synthetic import scene, write_mp4

QUESTION = "What makes the sound?"
# Scenes with one source in the picture each; their kinds differ.
SCENES = 16


@pytest.fixture(scope="session")
def clips(tmp_path_factory) -> list[Path]:
    """Clips with a sound each, `clip-0.mp4` and so on; beside each its picture, `.png`, and its sound, `.wav`."""
    folder = tmp_path_factory.mktemp("site")
    found: list[Path] = []
    scenes = (one for number in range(1_000_000, 1_001_000) if (one := scene(number)).sounding)
    for shown in islice(scenes, SCENES):
        path = folder / f"clip-{len(found)}.mp4"
        write_mp4(path, [shown], fps=2)
        Image.fromarray(shown.picture).save(path.with_suffix(".png"))
        path.with_suffix(".wav").write_bytes(pcm_wav((shown.sound[:, None] * 32767).astype("int16"), 16000))
        found.append(path)
    write_mp4(folder / "two.mp4", [scene(1_000_001), scene(1_000_002)], fps=2)
    write_media(folder / "mute.mp4", video="libx264", frames=grey_frames(25))
    (folder / "broken.mp4").write_bytes(found[0].read_bytes()[:2000])
    (folder / "text.png").write_text("no picture")
    return found


@pytest.fixture(scope="session")
def adapter(tmp_path_factory) -> Path:
    """A sound adapter of the bundled model with another projector, that keeps 3 patches."""
    folder = tmp_path_factory.mktemp("adapter")
    model = SoundLlava.from_pretrained(TINY)
    torch.manual_seed(5)
    for weight in model.model.audio_projection.parameters():
        torch.nn.init.normal_(weight, std=0.5)
    model.config.sound_config.token_budget = 3
    model.config.base_model_name_or_path = str(TINY)
    model.save_pretrained(folder, adapter_only=True)
    SoundLlavaProcessor.from_pretrained(TINY).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def site(clips):
    """The address of a server of the folder of the clips."""
    with file_server(clips[0].parent) as address:
        yield address


@pytest.fixture(scope="session")
def server(clips, adapter):
    running = ModelServer(
        *("--sound-adapter", f"loud={adapter}", "--max-new-tokens", "32", "--max-request-mib", "4"),
        *("--allowed-local-media-path", clips[0].parent),
    )
    yield running
    code = running.interrupt()
    assert code == 0, running.text()
    assert "Traceback" not in running.text()


@pytest.fixture(scope="session")
def client(server) -> OpenAI:
    return OpenAI(base_url=server.url, api_key="none", max_retries=0)


@pytest.fixture(scope="session")
def model() -> SoundLlava:
    return SoundLlava.from_pretrained(TINY, dtype=torch.float32).eval()  # as the server does on a CPU


@pytest.fixture(scope="session")
def processor() -> SoundLlavaProcessor:
    return SoundLlavaProcessor.from_pretrained(TINY)
