"""Budget of each slot: from the prepared prompt, the call, or the settings of the processor and of the model."""

import numpy as np
import pytest
import torch

from soundclip_hf.modeling.slots.budget import SlotSettings, settle_slots
from soundclip_hf.modeling.slots.geometry import image_slot, sound_only_slot
from soundclip_hf.modeling.slots.slot import Slot
from soundclip_hf.modeling.slots.tensors import slot_tensors

# An image with a sound and a silent one in the first sample, a sound without image in the second.
SLOTS = [Slot(0, image=0, sound=0), Slot(1, image=1), Slot(2, sound=1)]
SAMPLES = [2, 1]
IMAGES = [image_slot(4, (40, 60), [[28, 56], [56, 56]], 28)] * 2


def settings(mode="drop", k=5, scope="tile", sound_select_strategy="full"):
    return SlotSettings(mode, k, scope, "default", sound_select_strategy)


def settle(top_k=None, chosen=None, **kwargs):
    return settle_slots(
        SLOTS, IMAGES, sound_only_slot(4), chosen or settings(), samples=SAMPLES, sound_top_k=top_k, **kwargs
    )


def budgets(*args, **kwargs):
    return [slot.k for slot in settle(*args, **kwargs)]


@pytest.mark.parametrize(
    ("top_k", "expected"),
    [
        (3, [3, -1, 3]),
        (0, [0, -1, 0]),
        (np.int64(16), [16, -1, 16]),
        (np.array(7), [7, -1, 7]),
        (torch.tensor(7), [7, -1, 7]),
        (torch.tensor([1, 2, 3]), [1, -1, 3]),
        (np.array([1, 2, 3]), [1, -1, 3]),
        ([1, 999, 3], [1, -1, 3]),
        ((np.int32(1), torch.tensor(2), np.array(3)), [1, -1, 3]),
        ([[1, None], [3]], [1, -1, 3]),
        ([[np.int64(1), None], [torch.tensor(3)]], [1, -1, 3]),
        ([torch.tensor([1, 2]), np.array([3])], [1, -1, 3]),
        ([[None, None], 3], [5, -1, 3]),
        (None, [5, -1, 5]),
    ],
)
def test_budgets(top_k, expected):
    assert budgets(top_k) == expected
    assert all(type(k) is int for k in budgets(top_k))


def test_what_a_settled_slot_says():
    image, silent, alone = settle(3)
    # By hand, for 40x60 in 2x2 tiles of 4x4 patches: 8 columns, 5 of 8 rows stay ((8 - 5) // 2 = 1 go on either side,
    # so 6 stay, 3 of each tile): 1 + 3 + 4 * 3 kept rows and 6 newlines.
    assert (image.mode, image.first_view, image.num_tokens) == ("drop", 0, 1 + 3 + 4 * 3 + 6)
    assert (silent.mode, silent.first_view, silent.num_tokens) == ("silent", 5, 16 + 6 * 8 + 6)
    assert (alone.mode, alone.first_view, alone.num_tokens) == ("drop", -1, 1)


def test_the_default_budget_fits_small_towers_and_a_wide_one_fits_sounds_without_image():
    assert budgets(chosen=settings(k=150)) == [16, -1, 16]
    assert budgets(80, settings(scope="image")) == [80, -1, 16]


@pytest.mark.parametrize(
    ("top_k", "message"),
    [
        (-1, "sound_top_k=-1: must be in 0..16, the patches of slot 0"),
        (17, "sound_top_k=17: must be in 0..16"),
        ([1, 2, 17], "sound_top_k=17: must be in 0..16, the patches of slot 2"),
        (1.5, "sound_top_k=1.5: must be an int"),
        (True, "sound_top_k=True: must be an int"),
        (np.bool_(True), "sound_top_k=True: must be an int"),
        (torch.tensor(True), "sound_top_k=True: must be an int"),
        ([1, 2, True], "sound_top_k=True: must be an int"),
        ([[1, torch.tensor(False)], [2]], "sound_top_k=False: must be an int"),
        (torch.tensor([1.0, 2.0, 3.0]), "sound_top_k=1.0: must be an int"),
        ("3", "sound_top_k='3': must be an int"),
        ([1, 2], "sound_top_k has 2 entries for 3 slots"),
        ([[1], [2]], r"sound_top_k has \[1, 1\] values per sample, the samples have \[2, 1\] slots"),
    ],
)
@pytest.mark.parametrize("mode", ["zero", "drop"])
def test_bad_budgets(mode, top_k, message):
    with pytest.raises(ValueError, match=message):
        settle(top_k, settings(mode))


@pytest.mark.parametrize(
    ("mode", "top_k", "written", "read"),
    [
        ("drop", None, [5, -1, 5], [5, -1, 5]),
        ("drop", [0, 9, 16], [0, -1, 16], [0, -1, 16]),
        ("zero", None, [-1, -1, -1], [7, -1, 7]),
        ("zero", [0, 9, 16], [-2, -1, -18], [0, -1, 16]),
        ("zero", [[None, None], [3]], [-1, -1, -5], [7, -1, 3]),
    ],
)
def test_the_budget_travels_from_the_processor_to_the_model(mode, top_k, written, read):
    budget = slot_tensors(settle(top_k, settings(mode, k=-1 if mode == "zero" else 5)))["sound_budget"]
    assert budget.dtype == np.int64
    assert budget.tolist() == written
    # The settings of the model are others, to show that those of the prompt go first.
    model = settings("drop" if mode == "zero" else "zero", k=7)
    settled = settle(chosen=model, sound_budget=torch.from_numpy(budget))
    assert [slot.mode for slot in settled] == [mode, "silent", mode]
    assert [slot.k for slot in settled] == read


@pytest.mark.parametrize("mode", ["zero", "drop"])
def test_a_call_that_contradicts_the_prompt(mode):
    budget = slot_tensors(settle([2, 0, 4], settings(mode)))["sound_budget"]
    assert budgets([2, 9, 4], sound_budget=budget) == [2, -1, 4]
    assert budgets([None, None, 4], sound_budget=budget) == [2, -1, 4]
    with pytest.raises(ValueError, match=rf"expanded for {mode}, k=4 \(slot 2\), the call says sound_top_k=3"):
        budgets([2, 0, 3], sound_budget=budget)
    other = "drop" if mode == "zero" else "zero"
    with pytest.raises(ValueError, match=rf"expanded for {mode} \(slot 0\), the call says sound_patches='{other}'"):
        budgets(sound_patches=other, sound_budget=budget)


def test_prompts_for_zero_mode_that_leave_k_to_the_model():
    for call, expected in ((None, [5, -1, 5]), (3, [3, -1, 3]), ([1, None, None], [1, -1, 5])):
        settled = settle(call, sound_budget=[-1, -1, -1])
        assert [slot.k for slot in settled] == expected
        assert [slot.mode for slot in settled] == ["zero", "silent", "zero"]


def test_a_sound_that_would_not_reach_the_language_model():
    unheard = {"sound_select_strategy": "default"}
    for mode in ("zero", "drop"):
        with pytest.raises(ValueError, match=r"slot 0: .*k=0 drops every patch"):
            settle(0, settings(mode, **unheard))
        with pytest.raises(ValueError, match=r"slot 2: .*there is no image whose patches it could choose"):
            settle(3, settings(mode, **unheard))
