"""Packages `kernels/` as a folder for the Hub of kernels, which `kernels.get_kernel` loads without this package."""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
from importlib.metadata import version
from pathlib import Path

from jinja2 import Environment, StrictUndefined

from ..files import replacing_folder

NAME, MODULE, VERSION = "soundclip-kernels", "soundclip_kernels", 1
# One source for both: Triton is imported when a CUDA tensor arrives.
BACKENDS = ("cpu", "cuda")
SOURCE = Path(__file__).parents[1] / "kernels"
TEMPLATE = Path(__file__).parent / "templates" / "kernel_card.md.j2"


def write_kernel_folder(folder: str | Path, repo: str) -> list[Path]:
    """
    Write a kernel repository: the source for `kernel-builder`, a build for each backend, and a card.

    `build.toml` and `torch-ext/` are what `kernel-builder` builds from. The code is Python and Triton alone, so that
    the builds are copies of it, with a `metadata.json` that holds their digests.

    Args:
        folder: Is made; an empty one may be there.
        repo: `org/name` on the Hub, for the card and `build.toml`.

    Returns:
        The files, relative to `folder`.

    Raises:
        ValueError: If `repo` is not `org/name`.
        OSError: If something is in `folder`.
    """
    if repo.count("/") != 1 or not all(repo.split("/")):
        raise ValueError(f"{repo!r}: give org/name")
    target = Path(folder)
    values = {"repo": repo, "name": NAME, "module": MODULE, "number": VERSION, "release": version("soundclip-hf")}
    with replacing_folder(target) as partial:
        (partial / "build.toml").write_text(_build_toml(repo), encoding="utf-8")
        template = TEMPLATE.read_text(encoding="utf-8")
        card = Environment(undefined=StrictUndefined, trim_blocks=True).from_string(template).render(values)
        for name in ("README.md", "CARD.md"):
            (partial / name).write_text(card + "\n", encoding="utf-8")
        _copy_source(partial / "torch-ext" / MODULE)
        for backend in BACKENDS:
            build = partial / "build" / f"torch-{backend}"
            _copy_source(build)
            # Earlier versions of `kernels` look for the module in a folder of its name.
            (build / MODULE).mkdir()
            (build / MODULE / "__init__.py").write_text(_FORWARD, encoding="utf-8")
            (build / "metadata.json").write_text(_metadata(build, backend), encoding="utf-8")
    return sorted(path.relative_to(target) for path in target.rglob("*") if path.is_file())


_FORWARD = '''"""The kernel under the name of its module, for earlier versions of the kernels package."""

from .. import SubstitutionOutput, substitute_tokens

__all__ = ["SubstitutionOutput", "substitute_tokens"]
'''


def _copy_source(folder: Path) -> None:
    folder.mkdir(parents=True)
    for path in sorted(SOURCE.glob("*.py")):
        shutil.copyfile(path, folder / path.name)


def _build_toml(repo: str) -> str:
    backends = ", ".join(f'"{name}"' for name in BACKENDS)
    return f"""[general]
name = "{NAME}"
version = {VERSION}
license = "Apache-2.0"
# Python and Triton: one source for every backend.
backends = [{backends}]

[general.hub]
repo-id = "{repo}"

[torch-noarch]

[kernel]
"""


def _metadata(build: Path, backend: str) -> str:
    files = {}
    for path in sorted(build.rglob("*.py")):
        digest = hashlib.sha256(path.read_bytes()).digest()
        files[path.relative_to(build).as_posix()] = base64.b64encode(digest).decode()
    unique = hashlib.sha256(json.dumps(files).encode()).hexdigest()[:7]
    values = {
        "name": NAME,
        "id": f"_{MODULE}_{backend}_{unique}",
        "version": VERSION,
        "license": "Apache-2.0",
        "python-depends": [],
        "backend": {"type": backend},
        "digest": {"algorithm": "sha256", "files": files},
    }
    return json.dumps(values, indent=2) + "\n"


__all__ = ["BACKENDS", "MODULE", "NAME", "write_kernel_folder"]
