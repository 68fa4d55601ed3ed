"""Questions about a scene whose answers need its sound, and what is true of it."""

from .scenes import Scene

SOURCE = ("What makes the sound?", "What do you hear?", "Which thing makes the sound?")
COLOUR = (
    "What colour is the thing that makes the sound?",
    "What color is the thing that makes the sound?",
    "Which colour has the thing that you hear?",
)
PLACE = (
    "Where is the thing that makes the sound?",
    "Where is it that makes the sound?",
    "Where does the sound come from?",
)
NOTHING, HIDDEN = "Nothing makes a sound.", "It cannot be seen."


def source_answer(kind: str) -> str:
    return f"The {kind}."


def colour_answer(colour: str) -> str:
    return f"It is {colour}."


def place_answer(place: str) -> str:
    return f"At the {place}."


def hearing_questions(shown: Scene, heard: Scene | None = None) -> list[tuple[str, str]]:
    """
    What makes the sound, its colour, and its place: the first wording of each question, with the true answer.

    Of several sources the loudest is meant. A source outside the picture has no colour and no place.

    Args:
        shown: The scene of the picture.
        heard: The scene of the sound; by default the same. Nothing in a picture tells which things of it sound, so the
            source is in the picture if a thing of its kind is.
    """
    sources = (heard or shown).sources
    if not sources:
        return [(questions[0], NOTHING) for questions in (SOURCE, COLOUR, PLACE)]
    colour = place = HIDDEN
    # A scene has no two things of one kind.
    for thing in shown.things:
        if thing.kind == sources[0]:
            colour, place = colour_answer(thing.colour), place_answer(thing.place)
    return [(SOURCE[0], source_answer(sources[0])), (COLOUR[0], colour), (PLACE[0], place)]


__all__ = [
    "COLOUR",
    "HIDDEN",
    "NOTHING",
    "PLACE",
    "SOURCE",
    "colour_answer",
    "hearing_questions",
    "place_answer",
    "source_answer",
]
