"""Models and pairs on disk, made once, and an alignment of them."""

import pytest
from alignment_parts import write_base, write_pairs, write_whisper

from soundclip_hf.training.alignment import align
from soundclip_hf.training.arguments import read_arguments


@pytest.fixture(scope="session")
def parts(tmp_path_factory):
    """A folder with `base`, `whisper` and `pairs` (24 of them)."""
    folder = tmp_path_factory.mktemp("alignment")
    write_base(folder / "base")
    write_whisper(folder / "whisper")
    write_pairs(folder / "pairs")
    return folder


@pytest.fixture
def options(parts, tmp_path):
    """A command line of three steps per epoch, to which a test adds its own."""

    def build(*more, out="out"):
        values = {
            "base_model": parts / "base",
            "audio_encoder": parts / "whisper",
            "window": "short",
            "dataset": parts / "pairs",
            "output_dir": tmp_path / out,
            "projector_hidden_size": 16,
            "per_device_train_batch_size": 6,
            "validation_fraction": 0.25,
            "learning_rate": 1e-3,
            "num_train_epochs": 2,
            "logging_steps": 1,
            "save_strategy": "no",
            "disable_tqdm": True,
            "use_cpu": True,
        }
        words = [word for name, value in values.items() for word in (f"--{name}", str(value))]
        return [*words, *map(str, more)]

    return build


@pytest.fixture
def run(options):
    """Align, in this process; returns the result."""
    return lambda *more, out="out": align(*read_arguments(options(*more, out=out)))
