"""Files of sounds, rows of every form over them, and collators that read them."""

import pytest
from media_files import grey_frames, pcm_wav, tone, write_media
from tiny_processors import picture, sound, tiny_sound_processor

from soundclip_hf.training.finetuning import SoundLlavaCollator

CONTENT = pcm_wav(sound(0.3, seed=9)[:, None], 16_000)


@pytest.fixture(scope="session")
def media(tmp_path_factory):
    """Sounds 0.wav to 3.wav, a picture, and a clip whose sound starts after its picture."""
    folder = tmp_path_factory.mktemp("media")
    for index in range(4):
        (folder / f"{index}.wav").write_bytes(pcm_wav(sound(0.3 + 0.1 * index, seed=index)[:, None], 16_000))
    picture().save(folder / "a.png")
    write_media(
        folder / "a.mkv",
        video="libx264",
        audio="pcm_s16le",
        samples=tone(0.4, 16_000),
        rate=16_000,
        audio_start=0.2,
        frames=grey_frames(15),
    )
    return folder


@pytest.fixture
def forms():
    """Rows of every form over the files of `media`, each with its distinct sounds as numbers."""
    chat = [
        {
            "role": "user",
            "content": [
                {"type": "image", "path": "a.png"},
                {"type": "audio", "path": "0.wav"},
                {"type": "text", "text": "What?"},
            ],
        },
        {"role": "assistant", "content": "A bell."},
    ]
    answer = {"question": "What is it?", "answer": "It is a dog."}
    return [
        ({"messages": chat}, [0]),
        ({**answer, "image": "a.png"}, []),
        ({**answer, "image": ["a.png", "a.png"], "audio": ["1.wav", "0.wav"]}, [1, 0]),
        ({**answer, "video": "a.mkv"}, [2]),
        ({**answer, "audio": {"array": sound(0.4, seed=5), "sampling_rate": 16_000}}, [3]),
        (answer, []),
        ({**answer, "audio": ["2.wav", "3.wav", "1.wav"]}, [4, 5, 1]),
        ({**answer, "video": "a.mkv", "question": "And now?"}, [2]),
        ({**answer, "audio": {"array": sound(0.4, seed=5), "sampling_rate": 16_000}}, [3]),
        ({"prompt": "Is it loud?", "completion": "Yes.", "audio": CONTENT}, [6]),
        ({**answer, "audio": {"array": sound(0.4, seed=5), "sampling_rate": 8_000}}, [7]),
    ]


@pytest.fixture(scope="session")
def processor():
    return tiny_sound_processor("llava")


@pytest.fixture
def collator_of(media):
    """A collator over a processor, with the files of `media`."""
    return lambda processor, **options: SoundLlavaCollator(processor, **{"media_folder": media, **options})
