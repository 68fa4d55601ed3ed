"""`scripts/train_tiny.py`: what is asked and answered, what a step learns from, and that a stopped run goes on."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

SCRIPTS = Path(__file__).resolve().parents[1] / "scripts"
sys.path.insert(0, str(SCRIPTS))

from tiny import captioner, ears, loop, measure, questions, vision, world  # noqa: E402

from soundclip_hf.data.synthetic.scenes import scene  # noqa: E402


@pytest.fixture(scope="module")
def scenes():
    rows = [world.pictures(number) for number in range(12)]
    return {name: torch.from_numpy(np.stack([row[name] for row in rows])) for name in rows[0]}


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_arrays_tell_what_is_drawn(scenes):
    for number in range(12):
        shown = scene(number)
        assert [world.NAMES[kind] for kind in scenes["kinds"][number] if kind >= 0] == [t.kind for t in shown.things]
        assert scenes["covered"][number, : len(shown.things)].float().sum(1).min() > 0 if shown.things else True
    assert scenes["pictures"].shape == (12, 64, 64, 3)


def test_a_hidden_thing_has_no_colour():
    things = (
        ("tree", "red", "top left", True),
        ("bell", "blue", "top right", False),
        ("dog", "green", "bottom left", True),
    )
    turns = dict(questions.ask(questions.Seen(things), generator()))
    answers = list(turns.values())
    assert answers[0] == "The bell."  # a tree is larger, but cannot sound
    assert answers[1] == answers[2] == questions.HIDDEN
    assert answers[3].startswith("A red tree and a green dog.")
    shown = questions.Seen(tuple((kind, colour, place, True) for kind, colour, place, _ in things))
    assert list(dict(questions.ask(shown, generator())).values())[1:3] == ["It is blue.", "At the top right."]


def test_where_nothing_could_sound_nothing_does():
    turns = questions.ask(questions.Seen((("tree", "red", "top left", True),)), generator())
    assert [answer for _, answer in turns[:3]] == [questions.NOTHING] * 3
    assert len(turns) == questions.TURNS


def test_a_thing_is_seen_where_its_patches_are_kept(scenes):
    row = next(row for row in range(12) if (scenes["kinds"][row] >= 0).sum() >= 2)
    everything = questions.seen_scene(scenes, row, torch.ones(64, dtype=torch.bool))
    assert all(seen for *_, seen in everything.things)
    nothing = questions.seen_scene(scenes, row, torch.zeros(64, dtype=torch.bool))
    assert not any(seen for *_, seen in nothing.things)
    area = scenes["covered"][row].float().sum(1)
    largest = world.NAMES[scenes["kinds"][row, area.argmax()]]
    assert everything.things[0][0] == largest


def test_patches_are_dropped_in_all_the_ways():
    kept = captioner.dropped(400, generator())
    counts = kept.sum(1)
    assert (counts == 64).float().mean() > 0.2
    assert (counts == 0).float().mean() > 0.1
    assert ((counts > 0) & (counts < 64)).float().mean() > 0.3


def test_every_word_of_an_answer_is_one_token():
    tokenizer = captioner.make_tokenizer()
    for text in (" The helicopter.", " It is purple.", " At the bottom left.", f" {questions.NOTHING}"):
        words = text.split()
        assert len(tokenizer(text, add_special_tokens=False).input_ids) <= len(words) + 1
    assert tokenizer.decode(tokenizer("Größe \N{BELL}").input_ids, skip_special_tokens=True) == "Größe \N{BELL}"


def test_turns_of_one_picture_do_not_see_each_other(scenes):
    """The loss of several turns together is the mean of their losses alone, weighted by their tokens."""
    torch.manual_seed(0)
    tower = vision.WordClip().clip
    tokenizer = captioner.make_tokenizer()
    from transformers import CLIPVisionModel

    model = captioner.Captioner(captioner.make_llava(CLIPVisionModel(tower.config.vision_config), tokenizer), tokenizer)
    visual = torch.randn(1, 65, 128)
    turns = [
        ("What makes the sound?", "The bell."),
        ("Where is it?", "At the top left."),
        ("What do you see?", "A red bell."),
    ]
    sizes = [len(model.tokens(f" {answer}")) + 1 for _, answer in turns]
    with torch.no_grad():
        together = model(visual, [turns])
        alone = [model(visual, [[turn]]) for turn in turns]
    expected = sum(size * loss for size, loss in zip(sizes, alone)) / sum(sizes)
    torch.testing.assert_close(together, expected, rtol=1e-5, atol=1e-5)


def test_the_captioner_learns_in_the_layout_in_which_it_is_asked():
    """What training computes for an answer is what the stock model computes for the processor's own prompt."""
    from PIL import Image
    from transformers import CLIPVisionModel

    torch.manual_seed(0)
    tokenizer = captioner.make_tokenizer()
    tower = CLIPVisionModel(vision.clip_config().vision_config).eval()
    model = captioner.Captioner(captioner.make_llava(tower, tokenizer), tokenizer).eval()
    picture = world.picture(scene(3))
    conversation = [
        {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "What do you see?"}]},
        {"role": "assistant", "content": [{"type": "text", "text": "A red bell."}]},
    ]
    processor = captioner.make_processor(tokenizer)
    prompt = processor.apply_chat_template(conversation)
    inputs = processor(images=Image.fromarray(np.asarray(picture)), text=prompt, return_tensors="pt")
    answer = len(tokenizer(" A red bell.", add_special_tokens=False).input_ids) + 1
    labels = inputs["input_ids"].clone()
    labels[:, :-answer] = -100
    with torch.no_grad():
        stock = model.llava(**inputs, labels=labels).loss
        visual = vision.encode(tower, torch.tensor(np.array(picture))[None]).float()
        ours = model(visual, [[("What do you see?", "A red bell.")]])
    torch.testing.assert_close(ours, stock, rtol=2e-3, atol=2e-3)  # visual tokens are cached in half precision


def test_a_stopped_run_ends_with_the_same_weights(tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "_SAVE_EVERY", 0.0)
    data = torch.randn(64, 4, generator=generator())

    def run(folder, stop_at=None):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.2), nn.Linear(4, 1))
        calls = 0

        def loss_of(draws):
            nonlocal calls
            calls += 1
            if calls == stop_at:
                raise KeyboardInterrupt
            rows = loop.draw(draws, 64, 8)
            return (model(data[rows]) - 1).square().mean()

        loop.train("part", folder, model, loss_of, steps=20, learning_rate=1e-2, seed=3)
        return model.state_dict(), calls

    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    whole.mkdir()
    stopped.mkdir()
    expected, _ = run(whole)
    with pytest.raises(KeyboardInterrupt):
        run(stopped, stop_at=12)
    found, calls = run(stopped)
    assert calls < 20
    for name, value in expected.items():
        # Loaded weights lie at other addresses, so their products may round another way.
        torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-6)


def test_ears_hear_windows_of_the_bundled_shape():
    listener = ears.Listener(ears.make_encoder())
    made = world.features(5)
    assert made["features"].shape == (80, 300)
    assert listener(torch.from_numpy(made["features"]).float()[None]).shape == (1, 26)


def test_shares_and_their_intervals():
    found = measure.share(["a", "b", "b", "b"], ["a", "b", "b", "c"])
    assert found["mean"] == 0.75
    # Wilson's interval of 3 in 4, computed by hand.
    assert found["interval_95"] == pytest.approx([0.3006, 0.9544], abs=1e-4)
    f1 = measure.object_f1(["A red bell and a green tree.", "A blue dog."], [{"bell", "dog"}, {"dog"}])
    assert f1 == {"f1": pytest.approx(2 * 2 / 6), "precision": pytest.approx(2 / 3), "recall": pytest.approx(2 / 3)}


def test_swapped_sounds_are_of_another_kind():
    for shown in measure.held_out(measure.asks_for_ears, 20):
        source = shown.things[shown.sounding[0]].kind
        inside, _ = measure.swapped(shown, True)
        outside, sound = measure.swapped(shown, False)
        assert inside != source
        assert inside in measure.able(shown)
        assert outside not in {thing.kind for thing in shown.things} | set(shown.offscreen)
        assert sound.shape == (48000,)


@pytest.mark.slow
def test_the_whole_script_in_small(tmp_path):
    command = [sys.executable, str(SCRIPTS / "train_tiny.py"), "--scale", "0.003", "--work", str(tmp_path / "work")]
    done = subprocess.run([*command, "--out", str(tmp_path / "tiny")], capture_output=True, text=True, timeout=1800)
    assert done.returncode == 0, done.stderr[-3000:]
    provenance = json.loads((tmp_path / "tiny" / "training.json").read_text())
    assert provenance["trained"] is True
    assert provenance["scale"] == 0.003
    config = json.loads((tmp_path / "tiny" / "config.json").read_text())
    assert str(tmp_path) not in json.dumps(config)
    card = (tmp_path / "tiny" / "README.md").read_text()
    assert "What makes the sound?" in card
    assert str(tmp_path) not in card
