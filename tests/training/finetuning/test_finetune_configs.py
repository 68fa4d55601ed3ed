"""The files of configs/finetune and configs/accelerate are read, and name their launch and the memory that it takes."""

import json
import re

import pytest
from accelerate.commands.config.config_args import load_config_from_file
from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from accelerate.utils.launch import prepare_deepspeed_cmd_env, prepare_multi_gpu_env
from media_files import pcm_wav
from tiny_processors import picture, sound, tiny_image_processor, tiny_tokenizer
from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaNextConfig
from typer.testing import CliRunner

from soundclip_hf import SoundLlavaProcessor
from soundclip_hf.cli import app
from soundclip_hf.modeling.audio_encoders.imagebind.configuration_imagebind import ImageBindAudioConfig
from soundclip_hf.modeling.audio_encoders.imagebind.feature_extraction_imagebind import ImageBindFeatureExtractor
from soundclip_hf.modeling.audio_encoders.whisperclip.configuration_whisperclip import WhisperClipConfig
from soundclip_hf.modeling.audio_encoders.whisperclip.feature_extraction_whisperclip import WhisperClipFeatureExtractor
from soundclip_hf.modeling.configuration_soundclip import SoundClipConfig, SoundLlavaConfig
from soundclip_hf.settings import CONFIG_FOLDERS
from soundclip_hf.training.finetuning.arguments import read_arguments

FILES = {
    kind: sorted({file.resolve() for folder in CONFIG_FOLDERS for file in (folder / kind).rglob("*.yaml")})
    for kind in ("finetune", "accelerate")
}
SEVEN_B = {
    "llava-1.5-7b-lora": 1,
    "llava-1.6-7b-lora": 1,
    "llava-1.5-7b-audiocaps": 1,
    "llava-1.5-7b-full": 8,
}
# Of LLaVA-1.6, in pixels.
PINPOINTS = [[336, 672], [672, 336], [672, 672], [1008, 336], [336, 1008]]
WHISPER_MEDIUM = {"d_model": 1024, "encoder_layers": 24, "encoder_attention_heads": 16, "encoder_ffn_dim": 4096}


def test_the_files_are_there():
    assert {file.stem for file in FILES["finetune"]} == {"tiny", *SEVEN_B}
    assert {file.stem for file in FILES["accelerate"]} == {"ddp", "fsdp2", "zero3"}


@pytest.mark.parametrize("file", FILES["finetune"], ids=lambda file: file.stem)
def test_every_config_parses_and_opens_with_its_header(file):
    # transformers refuses bf16 where there is no GPU.
    settings, training = read_arguments(["--use_cpu", "true"], file)
    assert settings.model
    assert training.output_dir == f"out/finetune/{file.stem}"
    lines = file.read_text().splitlines()
    for line, word in zip(lines, ("# What:", "# Needs:", "# Launch:", "# Expect:")):
        assert line.startswith(word), line
    assert re.search(rf"--config finetune/{re.escape(file.stem)}( |$)", lines[2])


@pytest.mark.parametrize("file", FILES["accelerate"], ids=lambda file: file.stem)
def test_accelerate_reads_its_configs(file):
    config = load_config_from_file(str(file))
    assert (config.mixed_precision, config.num_processes) == ("bf16", 8)
    lines = file.read_text().splitlines()
    for line, word in zip(lines, ("# What:", "# Needs:", "# Launch:", "# Expect:")):
        assert line.startswith(word), line
    (named,) = re.findall(r"--config finetune/([^ ]+)", lines[2])
    assert named in SEVEN_B


@pytest.mark.parametrize(
    ("name", "prepare", "told"),
    [
        (
            "fsdp2",
            prepare_multi_gpu_env,
            {
                "ACCELERATE_USE_FSDP": "true",
                "FSDP_VERSION": "2",
                "FSDP_AUTO_WRAP_POLICY": "TRANSFORMER_BASED_WRAP",
                "FSDP_STATE_DICT_TYPE": "FULL_STATE_DICT",
            },
        ),
        (
            "zero3",
            lambda args: prepare_deepspeed_cmd_env(args)[1],
            {
                "ACCELERATE_USE_DEEPSPEED": "true",
                "ACCELERATE_DEEPSPEED_ZERO_STAGE": "3",
                "ACCELERATE_DEEPSPEED_ZERO3_SAVE_16BIT_MODEL": "true",
            },
        ),
    ],
)
def test_processes_are_told_how_to_shard(name, prepare, told):
    (file,) = [file for file in FILES["accelerate"] if file.stem == name]
    args = launch_command_parser().parse_args(["--config_file", str(file), "--main_process_port", "0", "script.py"])
    args, *_ = _validate_launch_command(args)
    args.deepspeed_fields_from_accelerate_config = ""
    environment = prepare(args)
    assert {key: environment[key] for key in told} == told


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Rows of a picture of 1280 x 720 and three seconds of sound. The tokenizer makes a token of each letter."""
    folder = tmp_path_factory.mktemp("data")
    picture(720, 1280).save(folder / "a.png")
    (folder / "a.wav").write_bytes(pcm_wav(sound(3.0)[:, None], 16_000))
    row = {"image": "a.png", "audio": "a.wav", "audio_caption": "a" * 60}
    (folder / "ave2.json").write_text(json.dumps([row] * 100))
    (folder / "audiocaps.json").write_text(json.dumps([{"audio": "a.wav", "caption": "a" * 60}] * 100))
    return folder


def model_folder(folder, variant, encoder):
    """Configuration and processor of the size of LLaVA-1.5-7B or LLaVA-1.6-7B; there are no weights."""
    vision = {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "num_attention_heads": 16}
    parts = {
        "vision_config": CLIPVisionConfig(**vision, image_size=336, patch_size=14, projection_dim=768),
        # 32,000 tokens of Vicuna, and the rows that LLaVA adds.
        "text_config": LlamaConfig(vocab_size=32064, max_position_embeddings=4096),
        "image_token_index": 3,
    }
    if variant == "llava":
        base = LlavaConfig(**parts)
    else:
        base = LlavaNextConfig(**parts, image_grid_pinpoints=PINPOINTS)
    hearing = {
        "whisperclip": (WhisperClipConfig(**WHISPER_MEDIUM), WhisperClipFeatureExtractor()),
        "imagebind": (ImageBindAudioConfig(), ImageBindFeatureExtractor()),
    }
    config, extractor = hearing[encoder]
    SoundLlavaConfig.from_llava_config(base, sound_config=SoundClipConfig(audio_config=config)).save_pretrained(folder)
    images = tiny_image_processor(variant, 336)
    SoundLlavaProcessor(images, tiny_tokenizer(), extractor, patch_size=14, sound_top_k=150).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("name", SEVEN_B)
def test_the_memory_that_a_config_names_is_that_of_the_dry_run(data, tmp_path, name):
    (file,) = [file for file in FILES["finetune"] if file.stem == name]
    text, devices = file.read_text(), SEVEN_B[name]
    settings, _ = read_arguments(["--use_cpu", "true"], file)
    encoder = "imagebind" if "imagebind" in settings.model else "whisperclip"
    model = model_folder(tmp_path / "model", "llava_next" if "1.6" in name else "llava", encoder)
    rows = data / ("audiocaps.json" if "audiocaps" in name else "ave2.json")
    more = ["--eval_split", "train"] if settings.eval_split else []  # the file has one split
    done = CliRunner().invoke(
        app,
        [
            *("finetune", "--config", str(file), "--dry-run", "--devices", str(devices), "--json"),
            *("--model", str(model), "--dataset", str(rows), "--output_dir", str(tmp_path / "out"), *more),
        ],
    )
    assert done.exit_code == 0, done.stderr
    plan = json.loads(done.stdout)
    expect = text.splitlines()[3]
    gib = plan["memory_bytes"]["total"] / 2**30
    batch, tokens = plan["first_batch"]["input_ids"]
    assert f"{gib:.1f} GiB" in expect, gib
    assert f"{batch} rows of {tokens:,} tokens" in expect, tokens
    assert "not measured" in expect
    language_model = next(part for part in plan["parameters"] if part["part"] == "language_model")
    assert language_model["parameters"] == 6_738_939_904  # of Llama-7B, with 64 more tokens
    assert (language_model["trained"] > 0) == ("full" in name)
