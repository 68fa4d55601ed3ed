"""The command as a user runs it: help, version, environment, streams and signals of a real process."""

import contextlib
import inspect
import json
import os
import signal
import subprocess
import sys
import time
from importlib.metadata import version

import pytest
import typer

from soundclip_hf.bundled import CLIP
from soundclip_hf.cli import app
from soundclip_hf.extras import EXTRA_OF

# As the console script starts.
SOUNDCLIP = [sys.executable, "-c", "from soundclip_command import main; main()"]


ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


def run(*arguments):
    command = [*SOUNDCLIP, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, env=ENVIRONMENT)


def commands(command=None, path=()):
    """Every command and group: its words after `soundclip`, and itself."""
    command = command or typer.main.get_command(app)
    yield list(path), command
    for name, below in getattr(command, "commands", {}).items():
        yield from commands(below, (*path, name))


HEAVY = ("torch", "transformers", "numpy", "av", "PIL", "datasets", "pyarrow", "huggingface_hub", "jinja2", "tqdm")


def test_help_of_every_command_needs_nothing_heavy():
    """One process starts as the console script does and asks every command for help; torch is never imported."""
    every = [words for words, _ in commands()]
    assert len(every) > 20
    code = f"""
import sys
import soundclip_command
from soundclip_hf.cli import app
from soundclip_hf.extras import EXTRA_OF
for words in {every!r}:
    app([*words, "--help"], standalone_mode=False)
app(["--version"], standalone_mode=False)
print("imported:", *sys.modules, sep="|")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    leaves = [command for _, command in commands() if not hasattr(command, "commands")]
    assert done.stdout.count("Exit code: 0, 1 if ") == len(leaves)
    assert done.stdout.count("Show the traceback of an error.") == len(leaves)
    modules = set(done.stdout.splitlines()[-1].split("|"))
    assert "soundclip_hf.cli" in modules
    assert not modules & set(HEAVY)
    assert len(modules) < 500


def test_the_console_script_registers_when_a_model_is_loaded(tmp_path):
    """What the start leaves out must be there when a command needs it: the Auto classes know the encoders."""
    done = run("embed", CLIP, "-o", tmp_path / "vectors.safetensors")
    assert done.returncode == 0, done.stderr
    code = "import soundclip_command, soundclip_hf.modeling; from transformers import AutoConfig; "
    code += "print(AutoConfig.for_model('soundclip').model_type)"
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "soundclip\n"


# Options that mean something of their own in some commands.
OWN_TEXT = {
    "--alignment": "one, or both side by side",
    "--cache": "of answers, or of embeddings",
    "--config": "another example",
    "--data": "what is measured on, or where references are, or of one table of the paper",
    "--dry-run": "of a push, of a list of commands, or of a training",
    "--frames": "embedded, or sent to a server",
    "--license": "of a model or a data set, or of a Space's own files",
    "--limit": "of samples, or of rows on a page",
    "--media": "some commands take more than a folder of clips",
    "--model": "another kind of model",
    "--out": "another file",
    "--overwrite": "another thing is replaced",
    "--patches": "of one answer, or of a grid",
    "--plot": "another picture",
    "--private": "a data set, or a model",
    "--repeats": "of the bootstrap, or of the draws",
    "--revision": "of a model, or the branch to push to",
    "--seed": "another draw",
    "--temperature": "of sampling, or of a bound",
    "--title": "of a card, a page or a picture",
    "--top-k": "patches, or matches",
}


def test_shared_options_are_the_same_everywhere():
    """The same short form and the same help text in every command."""
    shorts: dict[str, set] = {}
    texts: dict[str, set] = {}
    for _, command in commands():
        for option in command.params:
            name = option.opts[-1]
            if name.startswith("--"):
                shorts.setdefault(name, set()).add(tuple(option.opts[:-1]))
                texts.setdefault(name, set()).add(option.help)
    several = {name for name, found in texts.items() if len(found) > 1}
    assert several <= set(OWN_TEXT)
    assert len(shorts["--device"]) == len(shorts["--json"]) == 1


def test_version_and_usage(soundclip):
    assert soundclip("--version").stdout == f"soundclip {version('soundclip-hf')}\n"
    assert soundclip("--help").code == 0
    nothing, unknown = soundclip(), soundclip("listen")
    assert nothing.code == unknown.code == 2
    assert "listen" in unknown.error


def test_help_lists_every_command_once_with_a_whole_sentence(soundclip, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    text = soundclip("--help").stdout
    commands_on = text[text.index("Ask about clips") : text.index("A first walk")]
    listed = [line.split() for line in commands_on.splitlines() if line.startswith("  ") and line.strip()]
    names = [words[0] for words in listed]
    assert sorted(names) == sorted(typer.main.get_command(app).commands)
    assert "..." not in text.partition("COMMAND [ARGS]...")[2]
    assert all(words[-1].endswith(".") for words in listed)


def test_the_examples_of_every_help_are_lines_that_can_be_copied(soundclip, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    found = 0
    for words, command in commands():
        text = inspect.cleandoc((command.callback and command.callback.__doc__) or "")
        examples = [line.strip() for line in text.splitlines() if line.startswith(" ")]
        found += len(examples)
        shown = [line.strip() for line in soundclip(*words, "--help").stdout.splitlines()]
        assert [line for line in examples if line not in shown] == [], words
    assert found > 40


@pytest.mark.parametrize(
    ("typed", "offered"),
    [("soundclip des", "describe"), ("soundclip eval ret", "retrieval"), ("soundclip au", "audit")],
)
def test_the_shell_completes_commands(typed, offered):
    asked = {"_SOUNDCLIP_COMPLETE": "complete_bash", "COMP_WORDS": typed, "COMP_CWORD": str(len(typed.split()) - 1)}
    done = subprocess.run(SOUNDCLIP, capture_output=True, text=True, timeout=60, env={**ENVIRONMENT, **asked})
    assert offered in done.stdout.split(), done.stderr


def test_env(soundclip):
    (row,) = soundclip("env", "--json").rows
    assert row["packages"]["torch"] == version("torch")
    assert row["ffmpeg"]["libavcodec"]
    assert row["offline"] is True
    assert row["hf_cache"]
    assert row["cpu"]
    assert isinstance(row["gpu"], list)
    distributions = {module.replace("_", "-") for module in EXTRA_OF}
    assert set(row["optional"]) >= {"bitsandbytes", *distributions}
    assert row["optional"]["peft"] == version("peft")
    text = soundclip("env").stdout
    assert f"transformers           {version('transformers')}" in text


def test_a_real_process_keeps_its_streams_apart():
    done = run("describe", "--json", "--max-new-tokens", 4)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["answer"]
    assert "synthetic scenes alone" in done.stderr
    assert "\r" not in done.stderr


@pytest.mark.slow
def test_a_terminal_gets_a_progress_bar_and_a_pipe_the_rows(files):
    master, slave = os.openpty()
    sources = [str(files / "a.mp4"), str(files / "corrupt.mp4"), str(files / "b.mp4")]
    command = [*SOUNDCLIP, "describe", *sources, "--json", "--max-new-tokens", "4", "--batch-size", "1"]
    environment = {**ENVIRONMENT, "TERM": "xterm"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=slave, text=True, env=environment)
    os.close(slave)
    shown = b""
    # Linux ends a terminal without writers with an error.
    with contextlib.suppress(OSError):
        while chunk := os.read(master, 65536):
            shown += chunk
    rows = [json.loads(line) for line in process.communicate()[0].splitlines()]
    assert process.returncode == 1
    assert ["error" in row for row in rows] == [False, True, False]
    assert b"describing" in shown
    assert b"error: " in shown
    os.close(master)


@pytest.mark.slow
def test_a_killed_process_leaves_whole_lines(files, tmp_path):
    manifest, out = tmp_path / "clips.jsonl", tmp_path / "answers.jsonl"
    lines = [{"id": str(number), "video": str(files / "a.mp4")} for number in range(60)]
    manifest.write_text("".join(json.dumps(line) + "\n" for line in lines))
    arguments = ["describe", "--manifest", manifest, "--out", out, "--batch-size", 1, "--max-new-tokens", 4, "--json"]
    command = [*SOUNDCLIP, *map(str, arguments)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=ENVIRONMENT)
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline and (not out.exists() or out.read_bytes().count(b"\n") < 3):
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    written = out.read_bytes()
    done = written.count(b"\n")
    assert 3 <= done < 60
    with out.open("ab") as file:
        file.write(b'{"id": "torn')
    again = run(*arguments)
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout) == {"out": str(out), "answered": 60 - done, "skipped": done, "failed": 0}
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [row["id"] for row in rows] == [line["id"] for line in lines]
    assert len({row["answer"] for row in rows}) == 1


def test_ctrl_c_while_the_commands_are_imported_is_one_line():
    code = """
import sys
class Interrupt:
    def find_spec(self, name, path=None, target=None):
        if name == "soundclip_hf.cli.convert":
            raise KeyboardInterrupt
sys.meta_path.insert(0, Interrupt())
from soundclip_hf.cli import main
sys.argv = ["soundclip", "describe"]
main()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "error: interrupted\n")


@pytest.mark.parametrize("answer", ["raise ModuleNotFoundError('Could not import module PreTrainedModel')", "pass"])
def test_ctrl_c_while_a_command_imports_is_one_line(answer):
    """Packages may answer it with an error of their own, or swallow it: transformers does the first."""
    code = f"""
import os, signal, sys
class Interrupt:
    def find_spec(self, name, path=None, target=None):
        if name == "soundclip_hf.cli.loading":
            try:
                os.kill(os.getpid(), signal.SIGINT)
                signal.pause()
            except KeyboardInterrupt:
                {answer}
            raise ImportError("of something else")
sys.meta_path.insert(0, Interrupt())
from soundclip_command import main
sys.argv = ["soundclip", "describe", {str(CLIP)!r}]
main()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "error: interrupted\n")


def test_the_module_starts_as_fast_as_the_script():
    """`python -m soundclip_hf.cli` imports the package first: torch would be imported where no Ctrl-C is reported."""
    code = "import runpy, sys; sys.argv = ['-m', '--version']; sys.orig_argv = ['python', '-m', 'soundclip_hf.cli']\n"
    code += "import soundclip_hf; print('torch' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "False\n"
