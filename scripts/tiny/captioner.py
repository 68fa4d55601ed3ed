"""Stage 2: a LLaVA of the frozen tower, which answers questions about pictures. It never meets a sound."""

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from torch import Tensor, nn
from transformers import (
    CLIPImageProcessor,
    CLIPVisionModel,
    GenerationConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
)

from . import world
from .loop import draw, train
from .questions import TURNS, ask, corpus, seen_scene
from .vision import FEATURE_LAYER, MEAN, STD, batch

VOCABULARY = 640
_BATCH, _RATE = 96, 1.5e-3
SPECIAL = {
    "unk_token": "<unk>",
    "bos_token": "<s>",
    "eos_token": "</s>",
    "pad_token": "<pad>",
    "image_token": "<image>",
}
_PATCHES = world.GRID**2
# How often a picture loses no patch, all of them, random ones; otherwise a box is kept.
_NONE, _ALL, _RANDOM = 0.3, 0.15, 0.2
CHAT_TEMPLATE = Path(__file__).parents[2] / "src/soundclip_hf/modeling/prompts/chat_template.jinja"


def make_tokenizer() -> PreTrainedTokenizerFast:
    """Byte-level BPE: every text has tokens, none is unknown."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    # As in LLaVA's own tokenizer: the space between "ASSISTANT:" and an answer does not lead the decoded answer.
    tokenizer.decoder = decoders.Sequence([decoders.ByteLevel(), decoders.Strip(" ", 1, 0)])
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=list(SPECIAL.values()),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(corpus(), trainer)
    bos = SPECIAL["bos_token"]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{bos} $A", pair=f"{bos} $A {bos} $B", special_tokens=[(bos, tokenizer.token_to_id(bos))]
    )
    named = {name: token for name, token in SPECIAL.items() if name != "image_token"}
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        extra_special_tokens={"image_token": SPECIAL["image_token"]},
        padding_side="left",
        model_max_length=2048,
        clean_up_tokenization_spaces=False,
        **named,
    )


def make_processor(tokenizer: PreTrainedTokenizerFast) -> LlavaProcessor:
    side = world.IMAGE_SIZE
    return LlavaProcessor(
        image_processor=CLIPImageProcessor(
            size={"shortest_edge": side},
            crop_size={"height": side, "width": side},
            image_mean=list(MEAN),
            image_std=list(STD),
        ),
        tokenizer=tokenizer,
        patch_size=world.PATCH_SIZE,
        vision_feature_select_strategy="full",
        num_additional_image_tokens=1,
        chat_template=CHAT_TEMPLATE.read_text(encoding="utf-8"),
    )


def make_llava(tower: CLIPVisionModel, tokenizer: PreTrainedTokenizerFast, width: int = 128) -> Any:
    """The tower with a fresh projector and language model. "full": [CLS] is the first visual token."""
    ids = {name: tokenizer.convert_tokens_to_ids(token) for name, token in SPECIAL.items()}
    text = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=2048,
        bos_token_id=ids["bos_token"],
        eos_token_id=ids["eos_token"],
        pad_token_id=ids["pad_token"],
        tie_word_embeddings=False,
    )
    config = LlavaConfig(
        vision_config=tower.config,
        text_config=text,
        image_token_index=ids["image_token"],
        image_seq_length=_PATCHES + 1,
        vision_feature_layer=FEATURE_LAYER,
        vision_feature_select_strategy="full",
        tie_word_embeddings=False,
    )
    model = LlavaForConditionalGeneration(config)
    model.model.vision_tower = tower
    model.generation_config = GenerationConfig(
        bos_token_id=ids["bos_token"], eos_token_id=ids["eos_token"], pad_token_id=ids["pad_token"]
    )
    return model


def dropped(count: int, generator: torch.Generator) -> Tensor:
    """Which patches of each picture can be seen, `(count, 64)` bool."""
    how = torch.rand(count, 1, generator=generator)
    share = torch.rand(count, 1, generator=generator)
    random = torch.rand(count, _PATCHES, generator=generator) < share
    corner = torch.rand(count, 2, 2, generator=generator).sort(1).values * world.GRID
    low, high = corner[:, 0].floor(), corner[:, 1].ceil()
    place = torch.arange(world.GRID)
    inside = [(place >= low[:, axis, None]) & (place < high[:, axis, None]) for axis in (0, 1)]
    box = (inside[0][:, :, None] & inside[1][:, None, :]).flatten(1)
    some = torch.where(how < _NONE + _ALL + _RANDOM, random, box)
    return (how < _NONE) | ((how >= _NONE + _ALL) & some)


class Captioner(nn.Module):
    """
    Projector and language model on cached visual tokens.

    All questions about a picture share its tokens: each turn sees the picture and itself, at the positions that it
    would have alone.
    """

    def __init__(self, llava: Any, tokenizer: PreTrainedTokenizerFast) -> None:
        super().__init__()
        self.llava = llava
        self.tokenizer = tokenizer
        llava.model.vision_tower.requires_grad_(False)
        self.opening = tokenizer("USER: ").input_ids
        self.known: dict[str, list[int]] = {}

    def tokens(self, text: str) -> list[int]:
        if text not in self.known:
            self.known[text] = self.tokenizer(text, add_special_tokens=False).input_ids
        return self.known[text]

    def forward(self, visual: Tensor, turns: list[list[tuple[str, str]]]) -> Tensor:
        """Cross entropy of the answers, all scenes' turns alike."""
        embed = self.llava.get_input_embeddings()
        prefix = len(self.opening) + visual.shape[1]
        eos = self.tokenizer.eos_token_id
        texts = [
            [(self.tokens(f"\n{question} ASSISTANT:"), [*self.tokens(f" {answer}"), eos]) for question, answer in asked]
            for asked in turns
        ]
        longest = max(sum(len(q) + len(a) for q, a in rows) for rows in texts)
        count = len(texts)
        ids = torch.full((count, longest), eos)
        labels = torch.full((count, longest), -100)
        turn = torch.full((count, longest), -1)
        place = torch.zeros(count, longest, dtype=torch.int64)
        for row, asked in enumerate(texts):
            at = 0
            for number, (question, answer) in enumerate(asked):
                size = len(question) + len(answer)
                ids[row, at : at + size] = torch.tensor(question + answer)
                labels[row, at + len(question) : at + size] = torch.tensor(answer)
                turn[row, at : at + size] = number
                place[row, at : at + size] = prefix + torch.arange(size)
                at += size
        opening = embed(torch.tensor(self.opening)).expand(count, -1, -1)
        hidden = torch.cat([opening, self.llava.model.multi_modal_projector(visual), embed(ids)], 1)
        everyone = torch.full((count, prefix), -2)
        owner = torch.cat([everyone, turn], 1)
        positions = torch.cat([torch.arange(prefix).expand(count, -1), place], 1)
        length = owner.shape[1]
        allowed = (owner[:, :, None] == owner[:, None, :]) | (owner[:, None, :] == -2)
        allowed &= torch.ones(length, length, dtype=torch.bool).tril()
        mask = torch.zeros(count, 1, length, length).masked_fill(~allowed[:, None], torch.finfo(torch.float32).min)
        found = self.llava.model.language_model(
            inputs_embeds=hidden, attention_mask=mask, position_ids=positions, use_cache=False
        ).last_hidden_state[:, prefix - 1 : -1]
        asked_for = labels != -100
        return F.cross_entropy(self.llava.lm_head(found[asked_for]), labels[asked_for])


def fit(
    tower: CLIPVisionModel, scenes: dict[str, Tensor], visual: Tensor, folder: Path, steps: int, seed: int
) -> tuple[Any, LlavaProcessor]:
    """Train on `visual`, the tower's tokens of `scenes`; returns the LLaVA and its processor."""
    tokenizer = make_tokenizer()
    torch.manual_seed(seed)
    model = Captioner(make_llava(tower, tokenizer), tokenizer)

    def loss_of(generator: torch.Generator) -> Tensor:
        rows = draw(generator, len(visual), _BATCH)
        shown = batch(scenes, rows)
        kept = dropped(len(rows), generator)
        tokens = visual[rows].float()
        tokens[:, 1:] *= kept[..., None]
        turns = [ask(seen_scene(shown, row, kept[row]), generator) for row in range(len(rows))]
        assert all(len(asked) == TURNS for asked in turns)
        return model(tokens, turns)

    train("captioner", folder, model, loss_of, steps=steps, learning_rate=_RATE, seed=seed)
    return model.llava.eval(), make_processor(tokenizer)


__all__ = ["fit", "make_tokenizer"]
