"""`soundclip env`: the versions and devices that a bug report needs."""

import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from .options import DebugOption, JsonOption
from .output import reporting, result

REQUIRED = (
    "torch",
    "torchvision",
    "transformers",
    "tokenizers",
    "safetensors",
    "huggingface_hub",
    "numpy",
    "pillow",
    "timm",
    "av",
    "soxr",
    "triton",
)
OPTIONAL = (
    "accelerate",
    "bitsandbytes",
    "datasets",
    "datatrove",
    "deepspeed",
    "fastapi",
    "flash_attn",
    "gradio",
    "h5py",
    "httpx",
    "kernels",
    "matplotlib",
    "openai",
    "peft",
    "pyarrow",
    "ray",
    "rouge-score",
    "sacrebleu",
    "sentence-transformers",
    "tensorboard",
    "torchcodec",
    "trl",
    "uvicorn",
    "vllm",
)


def env(
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """
    Print versions, devices and the cache folder, as a bug report needs them.

    Exit code: 0, 1 if something failed, 2 if the command line is wrong.
    """
    with reporting(debug):
        found = _gather()
        if as_json:
            result(found)
            return
        for name, value in found.items():
            if isinstance(value, dict):
                print(name)
                for key, entry in value.items():
                    print(f"  {key:<22} {entry or 'not installed'}")
            else:
                text = ", ".join(value) if isinstance(value, list) else value
                print(f"{name:<24} {'none' if text in (None, '') else text}")


def _gather() -> dict[str, Any]:
    import torch
    from huggingface_hub import constants

    gpus = [torch.cuda.get_device_properties(index) for index in range(torch.cuda.device_count())]
    return {
        "soundclip_hf": version("soundclip-hf"),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: _version(name) for name in REQUIRED},
        "optional": {name: _version(name) for name in OPTIONAL},
        "ffmpeg": _ffmpeg(),
        "cuda": torch.version.cuda if torch.cuda.is_available() else None,
        "gpu": [f"{gpu.name} ({gpu.total_memory / 2**30:.0f} GiB)" for gpu in gpus],
        "cpu": _cpu(),
        "cpu_threads": torch.get_num_threads(),
        "hf_endpoint": constants.ENDPOINT if os.environ.get("HF_ENDPOINT") else "the default",
        "hf_cache": constants.HF_HUB_CACHE,
        "offline": bool(constants.HF_HUB_OFFLINE),
        "package": str(Path(__file__).parents[1]),
        "executable": sys.executable,
    }


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _ffmpeg() -> dict[str, str | None]:
    try:
        import av
    except ImportError as error:  # a broken installation is what this command is asked about
        return {"broken": str(error)}
    libraries = {name: ".".join(map(str, number)) for name, number in av.library_versions.items()}
    return {"version": getattr(av, "ffmpeg_version_info", None), **libraries}


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), None)
    return f"{model or platform.processor() or platform.machine()}, {os.cpu_count()} logical cores"


__all__ = ["env"]
