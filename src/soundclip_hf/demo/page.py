"""Lays out the page with Gradio. It asks nothing of the network: no fonts, no analytics, no scripts of other hosts."""

import functools
import logging
from collections.abc import Callable, Iterator
from html import escape
from typing import Any

import gradio as gr
from PIL import Image

from ..extras import NotInstalledError
from . import markup
from .desk import ANY_OTHER, CLIP, NOTHING_YET, PAIR, PICTURE_TO_SOUNDS, SOUND_TO_FRAMES, Choices, Desk, Media
from .examples import Example

log = logging.getLogger(__name__)

QUESTION = "What makes the sound?"
# One at a time uses the model; the others wait in line.
_ONE_AT_A_TIME: dict[str, Any] = {"concurrency_limit": 1, "concurrency_id": "model"}
_WAITING = 64
MAX_FILE_SIZE = "200mb"
_MATCHES = 6
_FONTS = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif")
_MONO = ("ui-monospace", "Menlo", "Consolas", "monospace")

_CSS = (
    """
.sc-head h1 { margin: 0 0 2px; font-size: 1.5rem; }
.sc-head p { margin: 0; }
.sc-examples .grid-wrap { max-height: none; }
.sc-examples .caption-label { white-space: normal; }
.gradio-container .html-container { padding: 0; }
#clip .video-container { display: flex; flex-direction: column; }
#clip .video-container > .wrap { flex: 1 1 0; min-height: 0; }
/* A mere "Error" over a result, beside the message that says which; it would stay there for the next clip. */
[data-testid="status-tracker"]:has(.error) { display: none !important; }
/* Gradio would load FFmpeg from another host to trim a clip. */
#clip button[aria-label^="Trim"], #clip button[aria-label^="Reset"] { display: none; }
"""
    + markup.STYLE
)


def make_page(desk: Desk, note: str | None = None) -> gr.Blocks:
    """
    The page.

    Args:
        desk: What it asks.
        note: A warning that stands at the top, such as what the model does not know.
    """
    with gr.Blocks(title="soundclip: sound for LLaVA", analytics_enabled=False) as page:
        gr.Markdown(_heading(desk), elem_classes="sc-head")
        if note:
            gr.HTML(markup.line("", [note]), padding=False)
        with gr.Row(equal_height=False):
            with gr.Column(scale=2, min_width=300):
                media, renewed = _media(desk)
            with gr.Column(scale=3, min_width=320):
                question = gr.Textbox(QUESTION, label="Question", lines=1, max_lines=4, elem_id="question")
                choices = _choices(desk)
                with gr.Tabs():
                    with gr.Tab("Ask"):
                        _ask(desk, media, question, choices, renewed)
                    with gr.Tab("Did it hear?"):
                        _hear(desk, media, question, choices)
                    with gr.Tab("Search"):
                        _search(desk, media)
    page.queue(max_size=_WAITING)
    return page


def launch(
    page: gr.Blocks, *, host: str, port: int, share: bool = False, open_browser: bool = False, folders: list[str]
) -> str:
    """
    Start the server of the page in threads of its own.

    Args:
        port: A free one.
        share: Also make a public link through a server of Gradio.
        folders: Of the examples: files in them may be shown.

    Returns:
        The address.
    """
    font, mono = [*_FONTS], [*_MONO]
    theme = gr.themes.Default(
        primary_hue=gr.themes.colors.blue,
        font=list(map(gr.themes.Font, font)),
        font_mono=list(map(gr.themes.Font, mono)),
    )
    _, local, public = page.launch(
        server_name=host,
        server_port=port,
        share=share,
        inbrowser=open_browser,
        prevent_thread_lock=True,
        show_error=True,
        quiet=True,
        footer_links=[],
        allowed_paths=folders,
        max_file_size=MAX_FILE_SIZE,
        ssr_mode=False,
        theme=theme,
        css=_CSS,
    )
    return public or local


def _heading(desk: Desk) -> str:
    model = desk.answering.name
    return (
        "# Sound for LLaVA\n"
        f"`{model}` · the sound takes the place of CLIP's `[CLS]` token, and the *k* patches that match it are kept."
    )


def _media(desk: Desk) -> tuple[list[Any], list[Any]]:
    """The components of [`Media`], in the order of its fields, and the events by which a visitor gives other media."""
    mode = gr.Radio([CLIP, PAIR], value=CLIP, show_label=False, container=False, elem_id="mode")
    clip = gr.Video(label="Clip", sources=["upload", "webcam"], include_audio=True, height=300, elem_id="clip")
    picture = gr.Image(label="Picture", type="filepath", image_mode=None, height=220, visible=False, elem_id="picture")
    sound = gr.Audio(
        label="Sound",
        sources=["upload", "microphone"],
        type="filepath",
        visible=False,
        editable=False,
        buttons=["download"],
        elem_id="sound",
    )
    _take_as_they_are(picture)

    def show(chosen: str) -> list[Any]:
        return [gr.update(visible=chosen == CLIP), gr.update(visible=chosen == PAIR), gr.update(visible=chosen == PAIR)]

    mode.change(show, mode, [clip, picture, sound], queue=False, api_visibility="private", show_progress="hidden")
    fields = [mode, clip, picture, sound]
    renewed = [mode.input, picture.upload, picture.input, picture.clear]
    renewed += [event for part in (clip, sound) for event in (part.upload, part.stop_recording, part.clear)]
    if desk.examples:
        gallery = gr.Gallery(
            [(_thumbnail(desk, one), one.name) for one in desk.examples],
            label="Examples",
            columns=3,
            height="auto",
            allow_preview=False,
            interactive=False,
            object_fit="cover",
            buttons=[],
            elem_classes="sc-examples",
            elem_id="examples",
        )

        def choose(event: gr.SelectData) -> list[Any]:
            chosen = desk.examples[event.index]
            paths = [None if path is None else str(path) for path in (chosen.clip, chosen.picture, chosen.sound)]
            return [CLIP if chosen.clip else PAIR, *paths]

        gallery.select(choose, None, fields, queue=False, api_visibility="private", show_progress="hidden")
        renewed.append(gallery.select)
    return fields, renewed


def _take_as_they_are(picture: gr.Image) -> None:
    """
    Leave the reading of pictures to `soundclip_hf.media`: Gradio would open and convert them first, and report a broken
    one with the path of its upload.
    """
    picture.preprocess = lambda payload: payload.path if payload else None  # type: ignore[method-assign]


def _choices(desk: Desk) -> list[Any]:
    """The components of [`Choices`], in the order of its fields."""
    defaults = desk.defaults
    with gr.Row():
        top_k = gr.Slider(
            0,
            desk.most_patches,
            value=defaults.top_k,
            step=1,
            label="k: patches to keep",
            scale=3,
            min_width=220,
            elem_id="k",
        )
        alignment = gr.Radio(
            ["projected", "raw"],
            value=defaults.alignment,
            label="Embedding of the sound",
            scale=2,
            min_width=210,
            elem_id="alignment",
        )
    with gr.Accordion("More settings", open=False), gr.Row():
        patches = gr.Radio(
            ["zero", "drop"],
            value=defaults.patches,
            label="Set the other patches to zero, or drop them",
            min_width=210,
        )
        alpha = gr.Slider(
            0,
            1,
            value=defaults.alpha,
            step=0.05,
            label="alpha: share of raw in projected",
            min_width=210,
            interactive=defaults.alignment == "projected",
        )
    alignment.change(
        lambda chosen: gr.update(interactive=chosen == "projected"),
        alignment,
        alpha,
        queue=False,
        api_visibility="private",
        show_progress="hidden",
    )
    return [top_k, alignment, alpha, patches]


def _ask(desk: Desk, media: list[Any], question: gr.Textbox, choices: list[Any], renewed: list[Any]) -> None:
    with gr.Row():
        ask = gr.Button("Ask", variant="primary", elem_id="ask", scale=3)
        stop = gr.Button("Stop", scale=1, min_width=80)
    answer = gr.Textbox(label="Answer", lines=2, interactive=False, elem_id="answer")
    about = gr.HTML(elem_id="about", padding=False)
    with gr.Row():
        frame = gr.Image(label="Frame", interactive=False, buttons=["fullscreen"], min_width=150, elem_id="frame")
        shown = gr.Image(
            label="Kept patches",
            interactive=False,
            buttons=["fullscreen"],
            min_width=150,
            elem_id="overlay",
        )
    legend = gr.HTML(markup.empty(NOTHING_YET), elem_id="legend", padding=False)

    # Clients of the page's API see the names of these arguments.
    @_saying("The question was not answered")
    def answered(
        mode: str,
        clip: str | None,
        picture: str | None,
        sound: str | None,
        question: str,
        top_k: float,
        alignment: str,
        alpha: float,
        patches: str,
    ) -> Any:
        yield from desk.answer(Media(mode, clip, picture, sound), question, Choices(top_k, alignment, alpha, patches))

    def viewed(
        mode: str,
        clip: str | None,
        picture: str | None,
        sound: str | None,
        top_k: float,
        alignment: str,
        alpha: float,
        patches: str,
    ) -> Any:
        # Nobody pressed a button here, so what is wrong stands in the place of the patches.
        try:
            return desk.view(Media(mode, clip, picture, sound), Choices(top_k, alignment, alpha, patches))
        except Exception as error:
            return None, None, markup.line("", [_said(error, "The patches cannot be shown")])

    asking = gr.on(
        [ask.click, question.submit],
        answered,
        [*media, question, *choices],
        [answer, about],
        api_name="ask",
        show_progress_on=answer,
        **_ONE_AT_A_TIME,
    )
    stop.click(None, cancels=[asking], queue=False, api_visibility="private")
    gr.on(
        [part.change for part in (*media, *choices[:3])],
        viewed,
        [*media, *choices],
        [frame, shown, legend],
        api_name="view",
        trigger_mode="always_last",
        show_progress="minimal",
        show_progress_on=shown,
        **_ONE_AT_A_TIME,
    )
    # An answer must not stand beside media that it is not about. Not at a change: components also report one when they
    # have been drawn, which may be after the next answer.
    gr.on(
        renewed,
        None,
        None,
        [answer, about],
        js="() => ['', '']",
        queue=False,
        api_visibility="private",
        show_progress="hidden",
    )


def _hear(desk: Desk, media: list[Any], question: gr.Textbox, choices: list[Any]) -> None:
    gr.Markdown(
        "The question is answered with the true sound, with digital silence, with another sound and with none. If "
        "nothing changes, the model does not hear."
    )
    other = gr.Dropdown(
        [ANY_OTHER, *(one.name for one in desk.examples)], value=ANY_OTHER, label="The other sound", elem_id="whose"
    )
    with gr.Accordion("Or another sound of your own", open=False):
        upload = gr.Audio(
            label="Another sound",
            sources=["upload", "microphone"],
            type="filepath",
            editable=False,
            buttons=[],
            elem_id="other",
        )
    run = gr.Button("Did it hear?", variant="primary", elem_id="hear")
    table = gr.HTML(markup.empty("Press the button to compare the answers."), elem_id="hearing", padding=False)

    @_saying("This cannot be measured")
    def heard(
        mode: str,
        clip: str | None,
        picture: str | None,
        sound: str | None,
        question: str,
        top_k: float,
        alignment: str,
        alpha: float,
        patches: str,
        other: str,
        other_sound: str | None,
    ) -> Any:
        choices = Choices(top_k, alignment, alpha, patches)
        yield desk.hear(Media(mode, clip, picture, sound), question, choices, other, other_sound)

    run.click(heard, [*media, question, *choices, other, upload], table, api_name="hear", **_ONE_AT_A_TIME)


def _search(desk: Desk, media: list[Any]) -> None:
    library = desk.library
    gr.Markdown(
        f"Searches {library.count('image')} frames and {library.count('audio')} sounds with the media on this page."
    )
    with gr.Row():
        way = gr.Radio(
            [SOUND_TO_FRAMES, PICTURE_TO_SOUNDS], value=SOUND_TO_FRAMES, label="Search", min_width=260, elem_id="way"
        )
        count = gr.Slider(1, 24, value=_MATCHES, step=1, label="Matches", min_width=180)
    run = gr.Button("Search", variant="primary", elem_id="search")
    found = gr.HTML(markup.empty("Matches appear here."), elem_id="found", padding=False)

    @_saying("The search failed")
    def searched(mode: str, clip: str | None, picture: str | None, sound: str | None, way: str, count: float) -> Any:
        yield desk.search(Media(mode, clip, picture, sound), way, count)

    run.click(searched, [*media, way, count], found, api_name="search", **_ONE_AT_A_TIME)


def _saying(title: str) -> Callable[[Callable[..., Iterator[Any]]], Callable[..., Iterator[Any]]]:
    """Show what goes wrong in a generator of results as a message with this title, which stays until it is closed."""

    def decorate(work: Callable[..., Iterator[Any]]) -> Callable[..., Iterator[Any]]:
        @functools.wraps(work)
        def saying(*arguments: Any) -> Iterator[Any]:
            try:
                yield from work(*arguments)
            except Exception as error:
                # Gradio takes the message for HTML.
                text = escape(_said(error, title), quote=False)
                raise gr.Error(text, title=title, duration=None, print_exception=False) from error

        return saying

    return decorate


def _said(error: Exception, title: str) -> str:
    """The message of an error. A fault of ours, or memory that ran out, also goes into the log of the server."""
    text = " ".join(str(error).split())
    if isinstance(error, (ValueError, OSError, NotInstalledError)) and text:
        log.debug("%s", title, exc_info=True)
        return text
    log.error("%s", title, exc_info=True)
    return f"{type(error).__name__}: {text}"


def _thumbnail(desk: Desk, example: Example) -> Image.Image:
    frame = desk.frame_of(example)
    # A sound alone has no picture.
    return frame if frame is not None else Image.new("RGB", (256, 256), "#888888")


__all__ = ["MAX_FILE_SIZE", "QUESTION", "launch", "make_page"]
