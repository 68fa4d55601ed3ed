"""A Space: its card is valid, its requirements are exact, and its program answers."""

import os
import re
import select
import signal
import subprocess
import sys
from importlib.metadata import version

import pytest
from huggingface_hub import SpaceCard
from packaging.requirements import Requirement

from soundclip_hf.demo.space import write_space

pytest.importorskip("gradio")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("spaces") / "a space"
    write_space(made, "tiny")
    return made


def test_the_card(folder, tmp_path):
    data = SpaceCard.load(folder / "README.md").data
    assert (data.sdk, data.sdk_version, data.app_file) == ("gradio", version("gradio"), "app.py")
    assert data.python_version == f"{sys.version_info.major}.{sys.version_info.minor}"
    assert data.license == "apache-2.0"
    assert data.models is None
    assert len(data.get("short_description")) <= 60  # what the Hub takes
    package = "soundclip-hf[demo] @ git+https://example.org/it"
    write_space(tmp_path, "org/soundclip-whisper@v1", title="A: title", license_name="mit", package=package)
    card = SpaceCard.load(tmp_path / "README.md")
    assert card.data.models == ["org/soundclip-whisper"]
    assert (card.data.title, card.data.license) == ("A: title", "mit")
    assert "HF_TOKEN" in card.text
    assert "'org/soundclip-whisper@v1'" in (tmp_path / "app.py").read_text()
    assert (tmp_path / "requirements.txt").read_text().startswith(f"{package}\n")


def test_requirements(folder):
    asked = [Requirement(line) for line in (folder / "requirements.txt").read_text().splitlines()]
    assert str(asked[0]) == f"soundclip-hf[demo]=={version('soundclip-hf')}"
    assert {"torch", "transformers", "av", "matplotlib"} < {one.name for one in asked}
    assert "gradio" not in {one.name for one in asked}  # the card says it, and Spaces install that
    for one in asked:
        assert re.fullmatch(r"==[^+]+", str(one.specifier))
        assert one.specifier.contains(version(one.name).partition("+")[0])


@pytest.mark.parametrize("model", ["gpt2", "a/b/c", "../b", "org/'; import os", "org/"])
def test_names_that_are_no_models_on_the_hub(model, tmp_path):
    with pytest.raises(ValueError, match=r"is no id of a model on the Hub|a folder of this machine"):
        write_space(tmp_path / "space", model)
    assert not (tmp_path / "space").exists()


def test_a_folder_is_no_model(tmp_path):
    with pytest.raises(ValueError, match="publish it with `soundclip push`"):
        write_space(tmp_path / "space", str(tmp_path))


@pytest.mark.parametrize(("told", "host"), [({}, "127.0.0.1"), ({"SPACE_ID": "me/space"}, "0.0.0.0")])
def test_where_its_program_listens(folder, told, host):
    """In a Space it is reached from outside; elsewhere it is not."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("GRADIO_", "SPACE_"))}
    show = "import runpy, sys, soundclip_command as c; c.main = lambda: print(sys.argv); runpy.run_path(sys.argv[1])"
    done = subprocess.run(
        [sys.executable, "-c", show, str(folder / "app.py")], env={**kept, **told}, capture_output=True, text=True
    )
    assert f"'--host', '{host}', '--port', '7860'" in done.stdout, done.stderr


def test_it_says_how_to_try_it(folder):
    assert f"gradio=={version('gradio')}\npython app.py" in (folder / "README.md").read_text()


@pytest.mark.slow
def test_its_program_answers(folder):
    """As a Space starts it, in a folder of another name."""
    from gradio_client import Client, handle_file

    environment = {**os.environ, "GRADIO_SERVER_NAME": "127.0.0.1", "GRADIO_SERVER_PORT": "0"}
    process = subprocess.Popen(
        [sys.executable, str(folder / "app.py")], stdout=subprocess.PIPE, env=environment, text=True, cwd=folder.parent
    )
    try:
        assert process.stdout is not None
        assert select.select([process.stdout], [], [], 300)[0], "it does not start"
        url = process.stdout.readline().strip()
        clip = handle_file(str(folder / "examples" / "clock.mp4"))
        arguments = ("A clip", clip, None, None, "What makes the sound?", 8, "projected", 0, "zero")
        assert Client(url, verbose=False).predict(*arguments, api_name="/ask")[0] == "The clock."
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
