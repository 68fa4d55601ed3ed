"""The parts of the page that Gradio has no component for, as HTML. Every text of a visitor or a file is escaped."""

import base64
import io
from collections.abc import Sequence
from functools import lru_cache
from html import escape

import numpy as np
from PIL import Image

from ..analysis.pictures.overlay import COLOUR_MAP
from ..extras import require
from ..media.wav_files import write_wav
from .hearing import Hearing
from .patches import PatchView
from .searching import PLAYED_RATE, PLAYED_SECONDS, Found

_CONDITIONS = {"silent": "digital silence", "swapped": "another sound", "none": "no sound"}

# The colours are variables of Gradio's themes, so that they follow dark mode.
STYLE = """
.sc-line, .sc-legend, .sc-empty, .sc-score, .sc-name, .sc-table th { color: var(--body-text-color); }
.sc-line { font-size: var(--text-sm); margin: 0; line-height: 1.5; }
.sc-line.sc-said { font-size: var(--text-md); font-weight: 600; margin-bottom: 8px; }
.sc-notes { font-size: var(--text-sm); margin: 0 0 4px; padding: 6px 10px; border-radius: var(--radius-md);
  border: 1px solid #b7791f; color: var(--body-text-color); background: rgba(230, 159, 0, 0.14); }
.sc-empty { opacity: 0.75; padding: 20px 12px; text-align: center;
  border: 1px dashed var(--border-color-primary); border-radius: var(--radius-lg); }
.sc-legend { display: flex; align-items: center; gap: 8px; flex-wrap: wrap; font-size: var(--text-sm); }
.sc-legend i { height: 10px; flex: 1 1 80px; max-width: 180px; border-radius: 3px; }
.prose .sc-table { width: 100%; border-collapse: collapse; font-size: var(--text-md); border: 0; margin: 0 0 8px; }
.prose .sc-table tr { border: 0; }
.prose .sc-table :is(th, td) { text-align: left; padding: 7px 8px 7px 0; border: 0;
  border-bottom: 1px solid var(--border-color-primary); vertical-align: top; color: var(--body-text-color); }
.prose .sc-table th { font-size: var(--text-sm); font-weight: 600; }
.sc-table .sc-name { font-size: var(--text-sm); display: block; opacity: 0.8; }
.sc-bar { display: block; width: 100%; min-width: 56px; height: 8px; border-radius: 4px; margin-top: 4px;
  background: var(--border-color-primary); overflow: hidden; }
.sc-bar i { display: block; height: 100%; background: #0072B2; }
.dark .sc-bar i { background: #56B4E9; }
.sc-cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(150px, 1fr)); gap: 12px; margin: 0;
  padding: 0; list-style: none; }
.sc-card { border: 1px solid var(--border-color-primary); border-radius: var(--radius-lg); padding: 8px; margin: 0;
  background: var(--background-fill-primary); min-width: 0; }
.sc-card img { width: 100%; height: auto; border-radius: var(--radius-sm); display: block; margin: 0 0 6px; }
.sc-card audio { width: 100%; height: 32px; display: block; margin-top: 6px; }
.sc-card .sc-file { font-size: var(--text-sm); overflow-wrap: anywhere; color: var(--body-text-color); }
.sc-card .sc-score { font-size: var(--text-sm); }
"""


def empty(text: str) -> str:
    """What stands where there is nothing to show yet."""
    return f'<div class="sc-empty">{escape(text)}</div>'


def line(text: str, notes: Sequence[str] = ()) -> str:
    """A small line, with notes above it."""
    said = "".join(f'<p class="sc-notes" role="status">{escape(note)}</p>' for note in notes)
    return said + (f'<p class="sc-line">{escape(text)}</p>' if text else "")


def legend(view: PatchView | None, notes: Sequence[str] = ()) -> str:
    """What the colours of the overlay mean, or why there is none."""
    if view is None:
        return line("There is no picture: a sound alone keeps no patches.", notes)
    if view.shown is None:
        return line("There is no sound, so no patches are chosen: the language model sees the whole picture.", notes)
    return (
        line("", notes)
        + f'<div class="sc-legend"><span><b>{view.kept} of {view.patches} patches are kept</b> (outlined)</span>'
        f"<span>cosine with the sound {view.low:.2f}</span>"
        f'<i style="background: linear-gradient(to right, {_colours()})"></i><span>{view.high:.2f}</span></div>'
    )


def hearing_table(hearing: Hearing) -> str:
    """The answers under each sound, and how much of the probability moves."""
    rows = [_row("its own sound", "", hearing.answer, None, None)]
    for condition, name in _CONDITIONS.items():
        found = hearing.others[condition]  # type: ignore[index]
        detail = hearing.swapped_with if condition == "swapped" else ""
        if found is None:
            rows.append(_row(name, "the same as its own sound", hearing.answer, None, None))
        else:
            rows.append(_row(name, detail, found["answer"], found["moved"], found.get("kept_overlap")))
    head = "".join(f"<th>{name}</th>" for name in ("heard", "answer", "probability that moves", "patches in common"))
    return (
        f'<p class="sc-line sc-said">{escape(hearing.sentence)}</p>'
        f'<table class="sc-table"><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table>'
        '<p class="sc-line">Measured along the answer to its own sound, at the token where it is largest. This is one '
        "clip and one question; <code>soundclip audit</code> measures a data set, with intervals.</p>"
    )


def cards(found: Sequence[Found]) -> str:
    """Matches as cards: the frame, the sound, the name and the cosine."""
    return f'<ul class="sc-cards">{"".join(_card(one, place) for place, one in enumerate(found, 1))}</ul>'


def _row(name: str, detail: str, answer: str, moved: float | None, overlap: float | None) -> str:
    small = f'<span class="sc-name">{escape(detail)}</span>' if detail else ""
    share = (
        ""
        if moved is None
        else f'{_percent(moved)}<span class="sc-bar"><i style="width: {100 * moved:.1f}%"></i></span>'
    )
    common = "" if overlap is None else _percent(overlap)
    said = escape(answer) or "<i>(an empty answer)</i>"
    return f"<tr><td>{escape(name)}{small}</td><td>{said}</td><td>{share}</td><td>{common}</td></tr>"


def _card(one: Found, place: int) -> str:
    parts = []
    if one.frame is not None:
        parts.append(f'<img alt="frame of {escape(one.name)}" src="{_jpeg(one.frame)}">')
    parts.append(f'<div class="sc-file">{place}. {escape(one.name)}</div>')
    parts.append(f'<div class="sc-score">cosine {one.score:.3f}</div>')
    if one.sound is not None:
        title = f"the first {PLAYED_SECONDS} s at most"
        controls = f'controls controlslist="nodownload noplaybackrate" preload="metadata" title="{title}"'
        parts.append(f'<audio {controls} src="{_wav(one.sound)}"></audio>')
    if one.missing:
        parts.append(f'<div class="sc-score">{escape(one.missing)}</div>')
    return f'<li class="sc-card">{"".join(parts)}</li>'


@lru_cache(maxsize=1)
def _colours() -> str:
    require("matplotlib", what="the page")
    from matplotlib import colormaps

    chosen = colormaps[COLOUR_MAP](np.linspace(0, 1, 9))[:, :3]
    return ", ".join("rgb({}, {}, {})".format(*(round(255 * part) for part in colour)) for colour in chosen)


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _jpeg(picture: Image.Image) -> str:
    held = io.BytesIO()
    picture.save(held, "JPEG", quality=85)
    return f"data:image/jpeg;base64,{base64.b64encode(held.getvalue()).decode()}"


def _wav(sound: np.ndarray) -> str:
    held = io.BytesIO()
    write_wav(held, sound, PLAYED_RATE)
    return f"data:audio/wav;base64,{base64.b64encode(held.getvalue()).decode()}"


__all__ = ["STYLE", "cards", "empty", "hearing_table", "legend", "line"]
