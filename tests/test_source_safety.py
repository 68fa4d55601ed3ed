"""The source runs no code and no program that comes from data: no unsafe unpickling, no eval, no shell."""

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src"
FILES = sorted(SOURCE.rglob("*.py"))

# Calls that run what they are given, or build objects of any class from it.
NEVER = {
    *("eval", "exec", "compile", "__import__", "execfile", "input"),
    *("os.system", "os.popen", "os.execv", "os.execvp", "os.spawnl", "os.spawnv", "os.posix_spawn"),
    *("pickle.load", "pickle.loads", "pickle.Unpickler", "dill.load", "dill.loads", "cloudpickle.load"),
    *("cloudpickle.loads", "joblib.load", "marshal.load", "marshal.loads", "shelve.open", "pandas.read_pickle"),
    *("pd.read_pickle", "yaml.load", "yaml.load_all", "yaml.unsafe_load", "yaml.full_load", "code.interact"),
    *("subprocess.getoutput", "subprocess.getstatusoutput", "tempfile.mktemp", "ssl._create_unverified_context"),
    *("torch.hub.load", "torch.jit.load", "torch.package.PackageImporter", "runpy.run_path", "runpy.run_module"),
}
# Their modules may not be imported at all, so that no other name hides one of these calls.
MODULES = {"pickle", "dill", "cloudpickle", "joblib", "marshal", "shelve", "runpy", "commands", "xmlrpc", "telnetlib"}
_TEMPLATES = "Environment, and not a sandboxed one"
# (file, what) -> why it may.
ALLOWED = {
    ("conversion/files.py", "import pickle"): "the error that torch.load raises under weights_only=True",
    ("analysis/results_page.py", _TEMPLATES): "renders a template of this package, and what it is given is no template",
    ("data/viewer/view.py", _TEMPLATES): "the same, with autoescape",
    ("publishing/kernel_folder.py", _TEMPLATES): "the same",
    ("data/inference/connections.py", "httpx.AsyncClient(verify=…)"): "an SSL context with httpx's own checks",
}
# Calls that need an argument to be safe: name -> (argument, the value that it must have, or may not have).
NEEDED = {"torch.load": ("weights_only", True)}
FORBIDDEN = {"shell": True, "trust_remote_code": True, "allow_pickle": True, "verify": False}


def dotted(node: ast.expr) -> str:
    """`a.b.c` of a name or an attribute; empty for anything else."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        before = dotted(node.value)
        return f"{before}.{node.attr}" if before else ""
    return ""


def findings(tree: ast.AST) -> list[tuple[int, str]]:
    """(line, what) of everything in a module that this page does not allow."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(node.lineno, f"import {a.name}") for a in node.names if a.name.split(".")[0] in MODULES]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            if (node.module or "").split(".")[0] in MODULES:
                found.append((node.lineno, f"import {node.module}"))
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found += [(node.lineno, f"from-import {name}") for name in sorted(names & {*NEVER, *NEEDED})]
        elif isinstance(node, ast.Call):
            name = dotted(node.func)
            given = {word.arg: word.value for word in node.keywords if word.arg}
            if name in NEVER:
                found.append((node.lineno, name))
            if name in NEEDED:
                argument, value = NEEDED[name]
                one = given.get(argument)
                if not (isinstance(one, ast.Constant) and one.value is value):
                    found.append((node.lineno, f"{name} without {argument}={value}"))
            for argument, value in FORBIDDEN.items():
                one = given.get(argument)
                if one is not None and not (isinstance(one, ast.Constant) and one.value is not value):
                    found.append((node.lineno, f"{name}({argument}=…)"))
            if name.endswith("Environment") and "Sandboxed" not in name:
                found.append((node.lineno, f"{name}, and not a sandboxed one"))
    return found


def test_there_are_files_to_check():
    assert len(FILES) > 100
    assert {file for file, _ in ALLOWED} <= {path.relative_to(SOURCE / "soundclip_hf").as_posix() for path in FILES[1:]}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_no_code_comes_from_data(path):
    file = path.relative_to(SOURCE).as_posix().removeprefix("soundclip_hf/")
    found = [
        (line, what)
        for line, what in findings(ast.parse(path.read_text(encoding="utf-8")))
        if (file, what) not in ALLOWED
    ]
    assert not found, f"{path}: {found}"


@pytest.mark.parametrize(
    "text",
    [
        "eval('1')",
        "import pickle",
        "from pickle import loads",
        "from os import system",
        "yaml.load(text)",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "torch.load(path, weights_only=safe)",
        "from torch import load",
        "subprocess.run(words, shell=True)",
        "subprocess.run(words, shell=how)",
        "AutoModel.from_pretrained(name, trust_remote_code=True)",
        "np.load(path, allow_pickle=True)",
        "jinja2.Environment()",
    ],
)
def test_what_is_found(text):
    assert findings(ast.parse(text))


@pytest.mark.parametrize(
    "text",
    [
        "model.eval()",
        "re.compile('a')",
        "yaml.safe_load(text)",
        "torch.load(path, weights_only=True)",
        "subprocess.run(words, shell=False)",
        "json.load(file)",
    ],
)
def test_what_is_left_alone(text):
    assert not findings(ast.parse(text))
