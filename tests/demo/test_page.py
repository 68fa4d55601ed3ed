"""The page as a server: it answers a client, says what is wrong, and keeps visitors apart."""

import socket
from concurrent.futures import ThreadPoolExecutor

import pytest

from soundclip_hf.bundled import CLIP
from soundclip_hf.demo.desk import ANY_OTHER, PAIR, SOUND_TO_FRAMES
from soundclip_hf.demo.desk import CLIP as CLIP_MODE

pytest.importorskip("gradio")
QUESTION = "What makes the sound?"
SETTINGS = (8, "projected", 0.0, "zero")


@pytest.fixture(scope="module")
def url(desk, example_folder):
    from soundclip_hf.demo.page import launch, make_page

    with socket.create_server(("127.0.0.1", 0)) as found:
        port = found.getsockname()[1]
    page = make_page(desk)
    yield launch(page, host="127.0.0.1", port=port, folders=[str(example_folder)])
    page.close(verbose=False)


@pytest.fixture
def client(url):
    from gradio_client import Client

    return Client(url, verbose=False)


def file(path):
    from gradio_client import handle_file

    return handle_file(str(path))


def ask(client, path, question=QUESTION, settings=SETTINGS):
    return client.predict(CLIP_MODE, file(path), None, None, question, *settings, api_name="/ask")


def test_what_the_page_offers(client):
    """And nothing else: helpers of its layout are not for clients."""
    offered = client.view_api(return_format="dict")["named_endpoints"]
    named = {name: [one["parameter_name"] for one in about["parameters"]] for name, about in offered.items()}
    media, choices = ["mode", "clip", "picture", "sound"], ["top_k", "alignment", "alpha", "patches"]
    assert named == {
        "/ask": [*media, "question", *choices],
        "/view": [*media, *choices],
        "/hear": [*media, "question", *choices, "other", "other_sound"],
        "/search": [*media, "way", "count"],
    }


def test_answers(client, example_folder):
    answer, about = ask(client, CLIP)
    assert answer == "The clock."
    assert "8 of 64 patches are kept" in about
    files = file(example_folder / "dubbed piano.png"), file(example_folder / "dubbed piano.wav")
    assert client.predict(PAIR, None, *files, QUESTION, *SETTINGS, api_name="/ask")[0] == "The piano."
    parts = list(client.submit(CLIP_MODE, file(CLIP), None, None, QUESTION, *SETTINGS, api_name="/ask"))
    assert parts[-1][0] == "The clock."
    assert all("The clock.".startswith(answer) for answer, _ in parts)


def test_the_other_panels(client):
    frame, shown, legend = client.predict(CLIP_MODE, file(CLIP), None, None, *SETTINGS, api_name="/view")
    assert frame
    assert shown
    assert "8 of 64 patches are kept" in legend
    given = CLIP_MODE, file(CLIP), None, None
    assert "The cow." in client.predict(*given, QUESTION, *SETTINGS, ANY_OTHER, None, api_name="/hear")
    assert client.predict(*given, SOUND_TO_FRAMES, 2, api_name="/search").count("<li") == 2


def test_errors_are_sentences(client, tmp_path, example_folder):
    from gradio_client.exceptions import AppError

    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no clip")
    for path, question, said in ((broken, QUESTION, "broken.mp4: "), (CLIP, " ", "There is no question")):
        with pytest.raises(AppError) as caught:
            ask(client, path, question)
        assert caught.value.message.startswith(said)
        assert "gradio" not in caught.value.message
    # Gradio itself would try to open a picture, and name its own folder.
    picture = tmp_path / "broken.png"
    picture.write_bytes(b"no picture")
    with pytest.raises(AppError) as caught:
        client.predict(PAIR, None, file(picture), None, QUESTION, *SETTINGS, api_name="/ask")
    assert caught.value.message.startswith("broken.png: ")
    with pytest.raises(AppError, match="no picture and no sound"):
        client.predict(PAIR, None, None, None, QUESTION, *SETTINGS, api_name="/ask")
    with pytest.raises(AppError, match="maximum value 64"):
        ask(client, CLIP, settings=(999, "projected", 0.0, "zero"))


def test_a_fault_of_ours_is_named(client, desk, monkeypatch):
    from gradio_client.exceptions import AppError

    def broken(*_):
        raise ZeroDivisionError("by zero")

    monkeypatch.setattr(desk, "search", broken)
    with pytest.raises(AppError, match="ZeroDivisionError: by zero"):
        client.predict(CLIP_MODE, file(CLIP), None, None, SOUND_TO_FRAMES, 2, api_name="/search")


def test_visitors_at_the_same_time(url, example_folder):
    from gradio_client import Client

    names = ("cow", "bird", "phone", "frog", "dog", "piano")
    clients = [Client(url, verbose=False) for _ in names]
    with ThreadPoolExecutor(len(names)) as pool:
        answers = list(pool.map(lambda client, name: ask(client, example_folder / f"{name}.mp4")[0], clients, names))
    alone = [ask(clients[0], example_folder / f"{name}.mp4")[0] for name in names]
    assert answers == alone
    assert len(set(answers)) >= 5
