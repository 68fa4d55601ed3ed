"""Writes the files of a Hugging Face Space that runs the page: its card, its program, what it installs, and clips."""

import platform
import re
from collections.abc import Iterable
from importlib.metadata import requires, version
from pathlib import Path

from huggingface_hub import SpaceCard, SpaceCardData
from jinja2.sandbox import SandboxedEnvironment

from ..files import write_text
from .examples import write_examples

README, APP, REQUIREMENTS, EXAMPLES = "README.md", "app.py", "requirements.txt", "examples"
_NAME = re.compile(r"\w[\w.-]*", re.ASCII)
_TEMPLATE = Path(__file__).with_name("space.md.jinja")
_PROGRAM = '''\
"""Opens the page of `soundclip demo`. Written by `soundclip space`."""

import os
import sys
from pathlib import Path

from soundclip_command import main

examples = Path(__file__).parent / "{examples}"
# A Space is reached from outside; on another machine, nobody else can reach the page.
host = os.environ.get("GRADIO_SERVER_NAME", "0.0.0.0" if "SPACE_ID" in os.environ else "127.0.0.1")
port = os.environ.get("GRADIO_SERVER_PORT", "7860")
sys.argv = ["soundclip", "demo", {model!r}, "--examples", str(examples), "--host", host, "--port", port]
main()
'''


def write_space(
    folder: Path,
    model: str,
    *,
    title: str | None = None,
    license_name: str = "apache-2.0",
    package: str | None = None,
) -> list[Path]:
    """
    Write a Space. Files of the same names are replaced; others in the folder stay.

    Args:
        folder: Made where it is not there.
        model: "tiny", the bundled model; or a model on the Hub: `org/name`, or `org/name@revision`.
        title: Of the Space; None makes one of the model's name.
        license_name: Of the Space, as the Hub spells it.
        package: What pip installs as this package; None is the installed version from PyPI.

    Returns:
        The files.

    Raises:
        ValueError: If `model` is neither "tiny" nor the id of a model on the Hub.
    """
    repo = check_model(model)
    name = "the bundled model" if repo is None else repo
    data = SpaceCardData(
        title=title or f"Sound for LLaVA: {name.rpartition('/')[2]}",
        emoji="👂",
        colorFrom="blue",
        colorTo="yellow",
        sdk="gradio",
        sdk_version=version("gradio"),
        python_version=".".join(platform.python_version_tuple()[:2]),
        app_file=APP,
        license=license_name,
        models=None if repo is None else [repo],
        tags=["soundclip", "audio-visual"],
        pinned=False,
        short_description="Ask a LLaVA that hears about clips and sounds",
    )
    text = SandboxedEnvironment(keep_trailing_newline=True).from_string(_TEMPLATE.read_text(encoding="utf-8"))
    versions = {"version": version("soundclip-hf"), "gradio": data.sdk_version}
    body = text.render(title=data.title, repo=repo, model=model, **versions)
    (folder / EXAMPLES).mkdir(parents=True, exist_ok=True)
    write_text(folder / README, str(SpaceCard(f"---\n{data.to_yaml()}\n---\n\n{body}")))
    write_text(folder / APP, _PROGRAM.format(examples=EXAMPLES, model=model))
    write_text(folder / REQUIREMENTS, "".join(f"{line}\n" for line in _requirements(package)))
    examples = write_examples(folder / EXAMPLES)
    media = [path for one in examples for path in (one.clip, one.picture, one.sound) if path is not None]
    return [folder / README, folder / APP, folder / REQUIREMENTS, *media]


def check_model(model: str) -> str | None:
    """
    The id of a model on the Hub without its revision; None for the bundled model.

    Raises:
        ValueError: If it is neither, such as a folder of this machine, which a Space cannot read.
    """
    if model == "tiny":
        return None
    repo = model.partition("@")[0]
    if Path(model).exists():
        raise ValueError(
            f"{model}: a Space cannot read a folder of this machine; publish it with `soundclip push` and give its id"
        )
    if len(parts := repo.split("/")) != 2 or not all(_NAME.fullmatch(part) for part in parts):
        raise ValueError(f"{model}: is no id of a model on the Hub; give org/name, org/name@revision or tiny")
    return repo


def _requirements(package: str | None) -> Iterable[str]:
    """This package, and what it runs on at the versions that are installed here. The Space's card chooses Gradio's."""
    yield package or f"soundclip-hf[demo]=={version('soundclip-hf')}"
    names = [re.split(r"[^A-Za-z0-9._-]", line)[0] for line in requires("soundclip-hf") or () if "extra ==" not in line]
    for name in sorted({*names, "matplotlib"}):
        # Without the local part of a version, such as +cpu, which PyPI does not have.
        yield f"{name}=={version(name).partition('+')[0]}"


__all__ = ["APP", "EXAMPLES", "README", "REQUIREMENTS", "check_model", "write_space"]
