"""The text of an answer does not depend on how it was cut into pieces."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from soundclip_hf.serving.answer_text import AnswerText, cut

LETTERS = st.text(alphabet="ab \n", max_size=12)


@pytest.mark.parametrize(
    ("text", "stop", "sent"),
    [
        (" The bell.\n", [], "The bell."),
        ("The bell. It rings.", ["."], "The bell"),
        ("The bell USER: what", ["USER:", "bell"], "The"),
        ("aab", ["ab"], "a"),
        (" \n\nab", ["\n\n"], ""),
        ("  ", [], ""),
        ("", ["a"], ""),
        ("a  b", [], "a  b"),
    ],
)
def test_by_hand(text, stop, sent):
    assert cut(text, stop) == sent


# How long the drawing of texts takes hangs on what else the machine does.
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(LETTERS, max_size=6), st.lists(st.text(alphabet="ab \n", min_size=1, max_size=4), max_size=3))
def test_pieces_say_what_the_whole_says(pieces, stop):
    """Against the plain definition: up to the first stop sequence, without space around it."""
    whole = "".join(pieces)
    end = min((whole.find(one) for one in stop if one in whole), default=len(whole))
    answer = AnswerText(stop)
    sent = [*(answer.feed(piece) for piece in pieces), answer.finish()]
    assert "".join(sent) == cut(whole, stop) == whole[:end].strip()


def test_what_is_sure_is_sent_at_once():
    answer = AnswerText(["USER:"])
    assert [answer.feed(piece) for piece in (" The", " bell", " US", "A. ", "USER: more", " text")] == [
        "The",
        " bell",
        "",
        " USA.",
        "",
        "",
    ]
    assert answer.finish() == ""
