"""The bundled model behind the page, with the page's own examples."""

from pathlib import Path

import pytest

from soundclip_hf.cli.dual_encoder import load_dual
from soundclip_hf.cli.loading import ModelChoice, load
from soundclip_hf.demo.desk import Desk
from soundclip_hf.demo.examples import write_examples
from soundclip_hf.demo.searching import embed_examples


@pytest.fixture(scope="session")
def example_folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("examples")


@pytest.fixture(scope="session")
def desk(example_folder) -> Desk:
    examples = write_examples(example_folder)
    choice = ModelChoice(None, device="cpu")
    return Desk(load(choice), embed_examples(load_dual(choice), examples, example_folder), examples)
