"""Makes batches of tensors from conversations, with labels on the assistant's tokens alone."""

import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from ...media import load_pictures, load_sound
from ...modeling.prompts.chat_messages import ChatOptions, rewrite_conversations
from ...modeling.prompts.message_parts import MISSING
from ...modeling.slots.slot import BatchSlots, EncodedSound, VideoSound
from .conversations import RowError, read_conversation
from .labels import IGNORED, Rendered, answer_mask, render
from .questions import SILENCE

logger = logging.getLogger("transformers.soundclip_hf.training")

# The column of a row whose sounds the audio encoder has heard already.
SOUND_EMBEDS = "sound_embeds"


class SoundLlavaCollator:
    r"""
    A `data_collator` for `Trainer`: rows of a dataset to a batch of a SoundLlava.

    Rows are conversations with image, audio, video and text parts, or questions with answers and columns of media (see
    [`read_conversation`]). A batch may mix rows with and without sound, pictures or videos. Labels are on the tokens of
    all assistant turns, and on the end token of the last one; all others are -100.

    A row may bring the embeddings of its sounds in a column `sound_embeds`, `(sounds, d_a)`: the outputs of the audio
    encoder before the projector, in the order of [`sounds_of`]. Its sounds are then not opened, and the model gets the
    embeddings in place of `input_features`.

    ```python
    Trainer(model, TrainingArguments("out", remove_unused_columns=False), train_dataset=rows,
            data_collator=SoundLlavaCollator(processor))
    ```

    Args:
        processor:
            A `SoundLlavaProcessor`, or the processor of `add_sound`.
        max_length (`int`, *optional*):
            Longer rows are cut at their end. Media are never cut. By default nothing is cut.
        packing (`bool`, *optional*, defaults to `False`):
            Put all rows of a batch into one sequence without padding. `position_ids` start at 0 in each row, and
            transformers keeps the rows' attention apart by them, with every attention implementation.
        padding_side (`str`, *optional*, defaults to `"right"`):
            Where shorter rows are filled.
        media_folder (`str`, *optional*):
            Relative paths of media are looked up in this folder first.
        max_bad_rows (`int`, *optional*, defaults to 0):
            Rows whose media cannot be read are logged and left out, as long as there are no more than this in a
            process. The next one is an error.
        **kwargs:
            Arguments of the processor's call, such as `sound_patches` or `sound_top_k`, and of `apply_chat_template`:
            `frame`, `num_frames`, `load_audio_from_video`.
    """

    def __init__(
        self,
        processor: Any,
        *,
        max_length: int | None = None,
        packing: bool = False,
        padding_side: Literal["right", "left"] = "right",
        media_folder: str | Path | None = None,
        max_bad_rows: int = 0,
        **kwargs: Any,
    ) -> None:
        if max_length is not None and max_length < 1:
            raise ValueError(f"max_length={max_length}: must be at least 1, or None")
        if padding_side not in ("right", "left"):
            raise ValueError(f"padding_side={padding_side!r}: must be 'right' or 'left'")
        self.processor = processor
        self.max_length, self.packing, self.padding_side = max_length, packing, padding_side
        self.media_folder = None if media_folder is None else Path(media_folder)
        self.max_bad_rows, self.bad_rows = max_bad_rows, 0
        self.video = {
            "frame": kwargs.pop("frame", "middle"),
            "num_frames": kwargs.pop("num_frames", 1),
            "load_audio": kwargs.pop("load_audio_from_video", True),
        }
        self.kwargs = kwargs

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """
        Args:
            rows: Of a dataset; with a column `row`, an int, messages name it, otherwise the place in the batch.

        Returns:
            `input_ids`, `attention_mask` and `labels`, `(rows, tokens)` int64, and the processor's tensors of pictures
            and sounds. With `packing`, `(1, tokens)`, with `position_ids` in place of `attention_mask` and with
            `use_cache=False`.

        Raises:
            RowError: If a row cannot be read or trained on, or more tokens of media than `max_length`; it names the
                row and says why.
        """
        with warnings.catch_warnings():
            # Silence is something to learn from, too, and would be told of in every epoch.
            warnings.filterwarnings("ignore", message=SILENCE, category=UserWarning)
            kept = []
            for index, row in enumerate(rows):
                name = f"row {row.get('row', index)}"
                try:
                    kept.append(self._read(row, name))
                except (OSError, ValueError) as error:
                    self._leave_out(name, error)
            return self._encode(self._all_alike(kept))

    def sounds_of(self, row: Mapping[str, Any]) -> list[tuple[Any, int | None]]:
        """
        The sounds of a row, in the order that `sound_embeds` has; nothing is opened.

        Returns:
            For each sound its source, which for the sound of a video is a [`VideoSound`], and the rate of a bare array
            in Hz.

        Raises:
            RowError: If the row is no conversation, or a part has no source.
            ValueError: If its sounds and pictures do not fit together.
        """
        messages = read_conversation(row, self.media_folder)
        _, plan = rewrite_conversations([messages], self._options(load=False))
        for source, _ in plan.sounds:
            if (source.source if isinstance(source, VideoSound) else source) is MISSING:
                raise RowError("a part of type 'audio' or 'video' has no source")
        return plan.sounds

    def _options(self, load: bool = True) -> ChatOptions:
        return ChatOptions(
            load=load,
            sampling_rate=self.processor.feature_extractor.sampling_rate,
            source_rate=None,
            audio_token=self.processor.audio_token,
            **self.video,
        )

    def _read(self, row: Mapping[str, Any], name: str) -> "_Conversation":
        rate = self.processor.feature_extractor.sampling_rate
        (messages,), plan = rewrite_conversations([read_conversation(row, self.media_folder)], self._options())
        pictures = []
        for part in _parts(messages, "image"):
            source = next((part.pop(key) for key in ("image", "url", "path") if key in part), None)
            if source is not None:  # the place of a sound without picture has none
                pictures.append(load_pictures(source))
        if (embeddings := row.get(SOUND_EMBEDS)) is None:
            plan.sounds = [
                (load_sound(source, sampling_rate=rate, source_rate=own), rate) for source, own in plan.sounds
            ]
        elif len(embeddings) == len(plan.sounds):
            plan.sounds = [(EncodedSound(torch.as_tensor(one, dtype=torch.float32)), None) for one in embeddings]
        else:
            raise RowError(f"it has {len(plan.sounds)} sound(s), and {len(embeddings)} in its column {SOUND_EMBEDS!r}")
        template = partial(self.processor.apply_chat_template, tokenize=False)
        rendered = render(messages, template, self.processor.tokenizer.eos_token)
        return _Conversation(name, rendered, pictures, plan)

    def _all_alike(self, conversations: list["_Conversation"]) -> list["_Conversation"]:
        """The conversations without those whose sounds have no embeddings, if those of others have them."""
        if not any(conversation.encoded for conversation in conversations):
            return conversations
        kept = []
        for conversation in conversations:
            if conversation.plan.sounds and not conversation.encoded:
                why = f"its sounds have no {SOUND_EMBEDS!r}, and those of other rows of the batch have them"
                self._leave_out(conversation.name, RowError(why))
            else:
                kept.append(conversation)
        return kept

    def _encode(self, conversations: Sequence["_Conversation"]) -> dict[str, Any]:
        if not conversations:
            raise RowError("no row of a batch can be trained on; the warnings above name each row and its fault")
        texts = [conversation.rendered.text for conversation in conversations]
        plan = BatchSlots()
        for conversation in conversations:
            conversation.add_to(plan)
        # A template may write the start token itself.
        start = self.processor.tokenizer.bos_token
        special = {"add_special_tokens": not (start and texts[0].startswith(start))}
        inputs = self.processor(
            images=[conversation.pictures for conversation in conversations if conversation.pictures] or None,
            text=texts,
            sound_plan=plan,
            padding=True,
            return_tensors="pt",
            **special,
            **self.kwargs,
        )
        present = inputs.pop("attention_mask").bool()
        # Those of each token; some processors return more than ids.
        names = [key for key in inputs if key != SOUND_EMBEDS and inputs[key].shape == present.shape]
        per_token = {key: inputs.pop(key) for key in names}
        tokens, bad = [], set()
        for index, conversation in enumerate(conversations):
            own = {key: values[index][present[index]] for key, values in per_token.items()}
            try:
                tokens.append(self._label(own, conversation, special))
            except RowError as error:
                self._leave_out(conversation.name, error)
                bad.add(index)
        if bad:
            return self._encode([entry for index, entry in enumerate(conversations) if index not in bad])
        return {**(self._packed(tokens) if self.packing else self._padded(tokens)), **inputs}

    def _label(
        self, tokens: dict[str, Tensor], conversation: "_Conversation", special: dict[str, bool]
    ) -> dict[str, Tensor]:
        """Add `labels` to a row's tokens, and cut them to `max_length`."""
        ids, media = tokens["input_ids"], tokens["input_ids"] == self.processor.image_token_id
        plain = self.processor.tokenizer(conversation.rendered.text, return_offsets_mapping=True, **special)
        of_text = torch.tensor([token != self.processor.image_token_id for token in plain["input_ids"]])
        if not torch.equal(torch.tensor(plain["input_ids"])[of_text], ids[~media]):
            raise ValueError(
                "the processor's tokens are not those of its tokenizer, so that the answer cannot be found among them"
            )
        learned = torch.zeros(len(ids), dtype=torch.bool)
        learned[~media] = torch.tensor(answer_mask(plain["offset_mapping"], conversation.rendered.answers))[of_text]
        tokens = {**tokens, "labels": ids.where(learned, IGNORED)}
        if self.max_length is None or len(ids) <= self.max_length:
            return tokens
        if media[self.max_length :].any():
            raise RowError(
                f"its {int(media.sum())} tokens of media and {int((~media).sum())} of text do not fit into "
                f"max_length={self.max_length}, and media are never cut: raise max_length, use fewer pictures, or keep "
                "fewer patches (sound_patches='drop' with a lower sound_top_k)"
            )
        tokens = {key: values[: self.max_length] for key, values in tokens.items()}
        if (tokens["labels"] == IGNORED).all():
            raise RowError(
                f"nothing is left of its answers after max_length={self.max_length} of {len(ids)} tokens: raise "
                "max_length, or shorten the question"
            )
        return tokens

    def _padded(self, rows: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
        rows = [{**row, "attention_mask": torch.ones_like(row["input_ids"])} for row in rows]
        length = max(len(row["input_ids"]) for row in rows)
        tokenizer = self.processor.tokenizer
        padding = tokenizer.eos_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id
        fill = {"input_ids": padding or 0, "labels": IGNORED}
        return {key: torch.stack([self._fill(row[key], length, fill.get(key, 0)) for row in rows]) for key in rows[0]}

    def _fill(self, values: Tensor, length: int, value: int) -> Tensor:
        missing = length - len(values)
        return F.pad(values, (missing, 0) if self.padding_side == "left" else (0, missing), value=value)

    def _packed(self, rows: Sequence[dict[str, Tensor]]) -> dict[str, Any]:
        packed = {key: torch.cat([row[key] for row in rows])[None] for key in rows[0]}
        # The first token of a row follows nothing: the last one of the row before must not learn to predict it.
        starts = torch.tensor([0, *(len(row["input_ids"]) for row in rows)]).cumsum(0)[:-1]
        packed["labels"][0, starts] = IGNORED
        packed["position_ids"] = torch.cat([torch.arange(len(row["input_ids"])) for row in rows])[None]
        # With a cache, as language models have one by default, transformers does not look for rows in `position_ids`.
        return {**packed, "use_cache": False}

    def _leave_out(self, name: str, error: Exception) -> None:
        self.bad_rows += 1
        reason = " ".join(str(error).removeprefix("conversation 0: ").split())
        if self.bad_rows > self.max_bad_rows:
            raise RowError(f"{name}: {reason}") from error
        logger.warning("%s is left out: %s: %s", name, type(error).__name__, reason)


@dataclass
class _Conversation:
    """A row whose media are open."""

    name: str
    rendered: Rendered
    pictures: list[Any]
    plan: BatchSlots

    @property
    def encoded(self) -> bool:
        """Whether its sounds are embeddings."""
        return any(isinstance(source, EncodedSound) for source, _ in self.plan.sounds)

    def add_to(self, batch: BatchSlots) -> None:
        rows = batch.add_sounds(self.plan.sounds)
        for slots in self.plan.samples:
            heard = [rows[slot.sound] if slot.has_sound else -1 for slot in slots]
            batch.add_sample(heard, any(slot.has_image for slot in slots))


def _parts(messages: Sequence[dict[str, Any]], kind: str) -> Iterator[dict[str, Any]]:
    for message in messages:
        content = message.get("content")
        for part in content if isinstance(content, list) else ():
            if part["type"] == kind:
                yield part


__all__ = ["SOUND_EMBEDS", "SoundLlavaCollator"]
