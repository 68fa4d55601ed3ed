"""The folder for the Hub of kernels: it is whole, and its code runs where this package is not installed."""

import base64
import hashlib
import json
import subprocess
import sys
import tomllib

import pytest

from soundclip_hf.publishing.kernel_folder import BACKENDS, write_kernel_folder

# As kernels.get_kernel does it: from the file, under a name of its own, twice in one process.
ALONE = """
import importlib.util, sys, torch
class Refuse:
    def find_spec(self, name, *_):
        if name.split(".")[0] in ("soundclip_hf", "transformers", "numpy"):
            raise ImportError(name)
sys.meta_path.insert(0, Refuse())
found = []
for name in ("first_1a2b", "second_3c4d"):
    spec = importlib.util.spec_from_file_location(name, sys.argv[1] + "/__init__.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    # Two patches; the sound is the second one, so that one stays for k=1.
    tokens = torch.tensor([[[9.0, 9.0], [1.0, 0.0], [0.0, 2.0]]])
    out = module.substitute_tokens(tokens, torch.tensor([[0.0, 1.0]]), 1)
    assert out.tokens.tolist() == [[[0.0, 1.0], [0.0, 0.0], [0.0, 2.0]]], out
    assert out.kept.tolist() == [[False, True]] and out.similarity.tolist() == [[0.0, 1.0]]
    compat = importlib.import_module(name + ".soundclip_kernels")
    assert compat.substitute_tokens is module.substitute_tokens
    found.append(module.substitute_tokens)
assert found[0] is not found[1]
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("kernel") / "soundclip-kernels"
    write_kernel_folder(made, "org/soundclip-kernels")
    return made


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_build_runs_without_this_package(folder, backend):
    build = folder / "build" / f"torch-{backend}"
    done = subprocess.run([sys.executable, "-c", ALONE, str(build)], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr


def test_the_metadata_holds_every_file(folder):
    for backend in BACKENDS:
        build = folder / "build" / f"torch-{backend}"
        metadata = json.loads((build / "metadata.json").read_text())
        assert metadata["backend"] == {"type": backend}
        assert metadata["id"].isidentifier()
        files = metadata["digest"]["files"]
        assert set(files) == {path.relative_to(build).as_posix() for path in build.rglob("*.py")}
        for name, digest in files.items():
            assert base64.b64decode(digest) == hashlib.sha256((build / name).read_bytes()).digest()


def test_source_and_settings_are_those_of_kernel_builder(folder):
    settings = tomllib.loads((folder / "build.toml").read_text())
    assert settings["general"]["hub"]["repo-id"] == "org/soundclip-kernels"
    assert "torch-noarch" in settings
    source = folder / "torch-ext" / settings["general"]["name"].replace("-", "_")
    assert (source / "__init__.py").read_bytes() == (folder / "build" / "torch-cpu" / "__init__.py").read_bytes()


def test_the_card_names_the_repository(folder):
    card = (folder / "README.md").read_text()
    assert 'get_kernel("org/soundclip-kernels", version=1' in card
    assert card == (folder / "CARD.md").read_text()


def test_what_cannot_be_written_is_named(folder):
    with pytest.raises(ValueError, match="'kernels': give org/name"):
        write_kernel_folder(folder / "new", "kernels")
    with pytest.raises(OSError, match="soundclip-kernels"):
        write_kernel_folder(folder, "org/kernels")
