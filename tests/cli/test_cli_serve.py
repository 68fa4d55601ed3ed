"""`soundclip serve`: what keeps it from starting is said in one line. Its answers are tested in tests/serving."""

import socket

import pytest

from soundclip_hf.bundled import TINY


def test_a_port_in_use_is_told_before_the_model_is_loaded(soundclip):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        done = soundclip("serve", "/no/such/model", "--port", port)
    assert done.code == 1
    assert done.error.startswith(f"error: --host 127.0.0.1 --port {port}: Address already in use")


@pytest.mark.parametrize(
    ("arguments", "code", "error"),
    [
        (["/no/such/model"], 1, "MODEL /no/such/model: no such folder; give a Hub id or a folder"),
        (["org/no-such-model"], 1, "MODEL org/no-such-model: neither a folder, nor found on the Hub"),
        (["{tmp}"], 1, "MODEL {tmp}: this folder has no config.json"),
        (["--host", "192.0.2.1"], 1, "--host 192.0.2.1 --port 0: Cannot assign requested address"),
        (["--host", "no.such.host.invalid"], 1, "--host no.such.host.invalid --port 0:"),
        (["--sound-adapter", "rain"], 2, "--sound-adapter rain: give NAME=REPO"),
        (["--sound-adapter", "a=b", "--sound-adapter", "a=c"], 2, "--sound-adapter a=c: a is given twice"),
        (["--sound-adapter", "rain=/no/such"], 1, "--sound-adapter rain=/no/such: cannot be loaded"),
        (["--sound-adapter", f"default={TINY}"], 1, f"--sound-adapter default={TINY}: cannot be loaded"),
        (["--allowed-local-media-path", "{tmp}/no"], 2, "--allowed-local-media-path {tmp}/no: no such folder"),
        (["--dtype", "int8"], 2, "--dtype int8: give auto, float32"),
    ],
)
def test_what_keeps_it_from_starting(soundclip, tmp_path, arguments, code, error):
    done = soundclip("serve", "--port", 0, *(word.replace("{tmp}", str(tmp_path)) for word in arguments))
    assert done.code == code
    assert done.error.startswith(f"error: {error}".replace("{tmp}", str(tmp_path)))
