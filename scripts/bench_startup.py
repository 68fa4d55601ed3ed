"""CPU seconds that the command and the package take to start, each in a process of its own.

Two comparisons, contestants taking turns:

- `soundclip --help` and the help of every command, against a bare Python and against `import typer`;
- `import soundclip_hf`, against `import transformers, torch` and against the floor: those two, and transformers' own
  Auto classes and LLaVA, without which our classes cannot be registered.

It first checks that the help is printed, that it imports no torch, and that the import registers the classes. Prints
medians and quartiles and writes JSON.

    python scripts/bench_startup.py --repeats 9 --output startup.json
"""

import argparse
import json
import platform
import resource
import statistics
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

START = "import sys; from soundclip_command import main; sys.argv = ['soundclip', {}]; main()"
BASE, FLOOR, OURS = "import transformers, torch", "… and its Auto classes and LLaVA", "import soundclip_hf"
IMPORTS = {
    BASE: "import transformers, torch",
    FLOOR: "import transformers, torch\n"
    "from transformers import AutoConfig, AutoFeatureExtractor, AutoModel, AutoModelForImageTextToText\n"
    "from transformers import AutoModelForMultimodalLM, AutoProcessor\n"
    "from transformers import LlavaForConditionalGeneration, LlavaNextForConditionalGeneration, LlavaProcessor",
    OURS: "import soundclip_hf",
}


def cpu_seconds(code: str) -> float:
    """User and system time of `python -c code`."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise SystemExit(f"failed:\n{code}\n{done.stderr}")
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def commands() -> list[tuple[str, ...]]:
    """Every command of `soundclip`, as the words that call it."""
    code = (
        "import json, soundclip_command, typer\n"
        "from soundclip_hf.cli import app\n"
        "def walk(command, path):\n"
        "    yield path\n"
        "    for name, child in getattr(command, 'commands', {}).items(): yield from walk(child, [*path, name])\n"
        "print(json.dumps(list(walk(typer.main.get_command(app), []))))"
    )
    return [tuple(path) for path in json.loads(subprocess.check_output([sys.executable, "-c", code], text=True))]


def help_code(command: Sequence[str]) -> str:
    return START.format(", ".join(map(repr, (*command, "--help"))))


def check(paths: Sequence[Sequence[str]]) -> None:
    for path in paths:
        code = f"import atexit, sys; atexit.register(lambda: print('torch' in sys.modules)); {help_code(path)}"
        said = subprocess.check_output([sys.executable, "-c", code], text=True)
        if not said.startswith("Usage: soundclip") or not said.endswith("False\n"):
            raise SystemExit(f"soundclip {' '.join(path)} --help: no help, or it imports torch; nothing is timed")
    code = "import soundclip_hf; from transformers import AutoConfig; AutoConfig.for_model('sound_llava')"
    subprocess.run([sys.executable, "-c", code], check=True)


def measure(contestants: dict[str, str], repeats: int) -> dict[str, dict[str, float]]:
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for code in contestants.values():
        cpu_seconds(code)  # reads the files once, and writes .pyc
    for _ in range(repeats):
        for name, code in contestants.items():
            seconds[name].append(cpu_seconds(code))
    summary = {}
    for name, values in seconds.items():
        low, middle, high = statistics.quantiles(values, n=4)
        summary[name] = {"cpu_seconds": middle, "q1": low, "q3": high}
    return summary


def show(title: str, summary: dict[str, dict[str, float]], base: str) -> None:
    print(f"\n{title}\n{'':40}{'CPU s':>8}  {'IQR':>16}{'ratio':>8}")
    for name, row in summary.items():
        row["ratio"] = row["cpu_seconds"] / summary[base]["cpu_seconds"]
        print(f"{name:40}{row['cpu_seconds']:8.3f}  {row['q1']:7.3f} to {row['q3']:5.3f}{row['ratio']:8.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--output", type=Path)
    args = parser.parse_args()
    paths = commands()
    check(paths)
    helps = {"python": "pass", "import typer": "import typer"}
    helps |= {" ".join(("soundclip", *path, "--help")): help_code(path) for path in paths}
    report: dict[str, Any] = {
        "config": {"repeats": args.repeats},
        "versions": {name: version(name) for name in ("soundclip-hf", "torch", "transformers", "typer")},
        "machine": {"cpu": platform.processor() or platform.machine(), "python": platform.python_version()},
        "help": measure(helps, args.repeats),
        "import": measure(IMPORTS, args.repeats),
    }
    show("Help", report["help"], "import typer")
    show("Import", report["import"], FLOOR)
    if args.output:
        temporary = args.output.with_suffix(".tmp")
        temporary.write_text(json.dumps(report, indent=2))
        temporary.replace(args.output)


if __name__ == "__main__":
    main()
