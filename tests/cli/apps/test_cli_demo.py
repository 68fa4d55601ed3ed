"""`soundclip demo` on a wrong command line: one sentence, and no model is loaded for what can be told before."""

import socket

import pytest

pytest.importorskip("gradio")


def test_a_port_in_use(soundclip):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = soundclip("demo", "--port", port)
    assert done.code == 1
    assert done.error == f"error: --port {port}: is in use on 127.0.0.1; choose another, or 0 for a free one"


@pytest.mark.parametrize(
    ("arguments", "code", "error"),
    [
        (["--host", "no.such.host.invalid"], 2, "--host no.such.host.invalid: is no address of this machine"),
        (["--host", "192.0.2.1", "--port", "0"], 1, "--host 192.0.2.1 --port 0: Cannot assign requested address"),
        (["--examples", "{}/none"], 2, "--examples {}/none: no such folder"),
        (["--examples", "{}", "--port", "0"], 1, "{}: holds neither clips"),
        (["--index", "{}", "--port", "0"], 1, "{}: is empty, or no index"),
        (["--top-k", "65", "--port", "0"], 2, "--top-k 65: the pictures of soundclip_hf/bundled/tiny have 64 patches"),
        (["{}/none", "--port", "0"], 1, "MODEL {}/none: no such folder"),
    ],
)
def test_what_cannot_be_opened(soundclip, tmp_path, arguments, code, error):
    done = soundclip("demo", *[argument.format(tmp_path) for argument in arguments])
    assert done.error.startswith(f"error: {error.format(tmp_path)}"), done.error
    assert done.code == code
    assert done.stdout == ""
    assert done.stderr.count("knows synthetic scenes alone") <= 1
