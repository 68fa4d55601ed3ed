"""Optional packages: one error that names all that are missing, and how to install them.

Every import of an optional package comes after `require`, and every command calls it for all its packages at the start.
"""

import importlib.util
import sys

# Module -> the extra of soundclip-hf that installs it.
EXTRA_OF = {
    "datasets": "data",
    "datatrove": "data",
    "fastapi": "serve",
    "gradio": "demo",
    "h5py": "data",
    "httpx": "data",
    "matplotlib": "plots",
    "openai": "serve",
    "peft": "train",
    "pyarrow": "data",
    "ray": "cluster",
    "rouge_score": "eval",
    "sacrebleu": "eval",
    "sentence_transformers": "st",
    "uvicorn": "serve",
}
# Module that is in no extra -> its name for pip, where that differs.
PIP_NAMES = {"azureml.core": "azureml-sdk", "lmms_eval": "lmms-eval", "optimi": "torch-optimi"}


class NotInstalledError(ImportError):
    """Optional packages are missing; the message names them, the feature that needs them, and the install command."""


def require(*modules: str, what: str, extra: str | None = None) -> None:
    """Check that packages are installed, without importing them.

    Args:
        modules: Names as in `import`.
        what: The feature that needs them, the subject of the message: "training", "soundclip ave2 stats".
        extra: The extra that installs them; None looks it up in `EXTRA_OF`, or names the package if it is in no extra.

    Raises:
        NotInstalledError: Some are missing. The message names all of them.
    """
    missing = sorted(module for module in {*modules} if not installed(module))
    if not missing:
        return
    extras = sorted({found for module in missing if (found := extra or EXTRA_OF.get(module))})
    plain = [PIP_NAMES.get(module, module) for module in missing if not (extra or module in EXTRA_OF)]
    words = [f"'soundclip-hf[{','.join(extras)}]'"] if extras else []
    names = missing[0] if len(missing) == 1 else f"{', '.join(missing[:-1])} and {missing[-1]}"
    verb = "is" if len(missing) == 1 else "are"
    raise NotInstalledError(f"{what} needs {names}, which {verb} not installed: pip install {' '.join(words + plain)}")


def installed(module: str) -> bool:
    """Whether a module can be found; a folder that merely has its name is none."""
    if module in sys.modules:
        return sys.modules[module] is not None
    try:
        spec = importlib.util.find_spec(module)
    except ModuleNotFoundError:  # the package of a submodule
        return False
    return spec is not None and spec.origin is not None


__all__ = ["EXTRA_OF", "PIP_NAMES", "NotInstalledError", "installed", "require"]
