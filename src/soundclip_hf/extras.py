"""Packages that not everybody needs: what is missing, in one error that says how to install it.

Every import of such a package stands behind `require`, and every command asks for all that it needs before it begins.
"""

import importlib.util
import sys

# Module -> the extra of soundclip-hf that brings it.
EXTRA_OF = {
    "datasets": "data",
    "datatrove": "data",
    "h5py": "data",
    "httpx": "data",
    "matplotlib": "plots",
    "pyarrow": "data",
    "ray": "cluster",
}
# Module of no extra -> what pip calls it, where that is another name.
PIP_NAMES = {"azureml.core": "azureml-sdk", "optimi": "torch-optimi"}


class NotInstalledError(ImportError):
    """Optional packages are missing; the message names them, who needs them, and the line that installs them."""


def require(*modules: str, what: str, extra: str | None = None) -> None:
    """Check that packages are installed, without importing them.

    Args:
        modules: Names as in `import`.
        what: Who needs them, the subject of the message: "training", "soundclip ave2 stats".
        extra: The extra that brings them; None takes that of `EXTRA_OF`, or the package itself if it is of no extra.

    Raises:
        NotInstalledError: Some are missing. All of them are named at once.
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
