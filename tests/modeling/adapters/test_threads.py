"""Calls and swaps in several threads: a call that has begun uses one adapter throughout, whatever happens meanwhile."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from adapter_folders import HEARD, write_adapters
from tiny_inputs import build_inputs
from tiny_processors import sound, tiny_feature_extractor

WAIT = 60  # seconds: only a test that fails waits so long
GREEDY = {"max_new_tokens": 3, "do_sample": False, "suppress_tokens": [0, 2, 3], "pad_token_id": 0}
NAMES = ("default", "second", "raw", "clap")


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return write_adapters(tmp_path_factory.mktemp("threads"), "llava", ("first", *NAMES[1:]))


@pytest.fixture
def model(folders):
    model = folders.load("first")
    for name in NAMES[1:]:
        model.load_sound_adapter(folders.path(name), name)
    return model


def with_features(model):
    """Inputs whose sounds go through the encoder."""
    inputs = build_inputs(model, HEARD)
    extractor = tiny_feature_extractor()
    made = extractor([sound(1.0, seed=seed) for seed in range(2)], sampling_rate=16_000, return_tensors="pt")
    del inputs["sound_embeds"]
    return {**inputs, "input_features": made["input_features"], "input_features_mask": made["input_features_mask"]}


class Gate:
    """Holds every call of a method between `entered` and `release`, or what follows it if it is to be `after`."""

    def __init__(self, monkeypatch, owner, method, after=False):
        self.entered, self.release = threading.Semaphore(0), threading.Event()
        stock = getattr(owner, method)

        def held(*args, **kwargs):
            result = stock(*args, **kwargs) if after else None
            self.entered.release()
            assert self.release.wait(WAIT)
            return result if after else stock(*args, **kwargs)

        monkeypatch.setattr(owner, method, held)


@pytest.mark.parametrize("place", ["after the tokens were counted", "before the encoder", "before the vision tower"])
@pytest.mark.parametrize("other", ["second", "raw", "clap"])
def test_a_swap_in_the_middle_of_a_call_is_for_later_calls(model, place, other, monkeypatch):
    inputs = with_features(model)
    ids = model.generate(**inputs, **GREEDY)
    with torch.no_grad():
        expected = model(**inputs).logits
    if place == "after the tokens were counted":
        gate = Gate(monkeypatch, model.model, "check_placeholders", after=True)
    else:
        gate = Gate(monkeypatch, model.model.audio_tower if "encoder" in place else model.model.vision_tower, "forward")

    @torch.no_grad()
    def call():
        return model(**inputs, return_sound_info=True)

    with ThreadPoolExecutor() as pool:
        running, generating = pool.submit(call), pool.submit(model.generate, **inputs, **GREEDY)
        assert all(gate.entered.acquire(timeout=WAIT) for _ in range(2))
        model.set_sound_adapter(other)  # returns while the calls are held: no lock is held for as long as they compute
        model.delete_sound_adapter("default")
        gate.release.set()
        output = running.result(WAIT)
        generated = generating.result(WAIT)
    assert torch.equal(output.logits, expected)
    assert [info.k for info in output.sound_info] == [5, -1, 5]
    assert torch.equal(generated, ids)
    assert model.config.sound_config.token_budget != 5


def test_swaps_never_mix_adapters(model):
    inputs = build_inputs(model, HEARD)
    expected = {}
    with torch.no_grad():
        for name in NAMES:
            expected[name] = model(**inputs, sound_adapter=name).logits
    stop, done = threading.Event(), []

    def swap():
        while not stop.is_set():
            for name in NAMES:
                model.set_sound_adapter(name)
            done.append(1)

    @torch.no_grad()
    def call(name):
        return [model(**inputs, sound_adapter=name).logits for _ in range(8)]

    with ThreadPoolExecutor() as pool:
        swapping = pool.submit(swap)
        calls = {name: pool.submit(call, name) for name in (*NAMES, None)}
        found = {name: call.result(WAIT) for name, call in calls.items()}
        stop.set()
        swapping.result(WAIT)
    assert len(done) > 1
    for name in NAMES:
        assert all(torch.equal(logits, expected[name]) for logits in found[name]), name
    for logits in found[None]:
        assert any(torch.equal(logits, other) for other in expected.values())


def test_loads_in_several_threads(folders):
    model = folders.load("first")

    def load(name):
        try:
            model.load_sound_adapter(folders.path("clap"), name)
        except ValueError as error:
            return str(error)

    with ThreadPoolExecutor(4) as pool:
        said = list(pool.map(load, ["one", "one", "two", "three"]))
    assert sorted(filter(None, said)) == [message for message in said if message and "'one' is in use" in message]
    assert len([message for message in said if message]) == 1
    names = [info.name for info in model.list_sound_adapters()]
    assert sorted(names) == ["default", "one", "three", "two"]
    assert len({parts.audio_tower for parts in model.model.sound_parts(["one", "two", "three"])}) == 1
