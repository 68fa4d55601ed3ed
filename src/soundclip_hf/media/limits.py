"""What counts as too large, too long or too late, for every reader of media, and how much inaccuracy is normal.

A limit is checked before the memory that it bounds is taken. To change one, set the environment variable
`SOUNDCLIP_<NAME>` (a number) before the program starts, or `soundclip_hf.media.limits.<NAME>` in the program: modules
read these as `limits.NAME` at each call.
"""

import os
import warnings


def _setting(name: str, default: float) -> float:
    """A limit: what the environment says, or the default."""
    given = os.environ.get(f"SOUNDCLIP_{name}", "").strip()
    if not given:
        return default
    try:
        value = float(given)
        if not 0 <= value < float("inf"):
            raise ValueError(given)
    except ValueError:
        warnings.warn(f"SOUNDCLIP_{name}={given!r} is not a number >= 0: {default:g} is used", stacklevel=3)
        return default
    return value if isinstance(default, float) else int(value)


def raised(name: str) -> str:
    """How a limit is raised, for the end of a message."""
    return f"raise SOUNDCLIP_{name} (environment) or soundclip_hf.media.limits.{name}"


# URLs. The time is that of the whole answer, redirects included.
URL_TIMEOUT_SECONDS = _setting("URL_TIMEOUT_SECONDS", 30.0)
MAX_REDIRECTS = 5
# Of the answer to a URL, and of what comes through a pipe.
MAX_FETCHED_BYTES = int(_setting("MAX_FETCHED_BYTES", 2**30))
# Whether URLs may name this machine and its private network. A URL in a chat or in a table can come from anybody; one
# that is typed on the command line may name them without this setting.
ALLOW_PRIVATE_ADDRESSES = bool(_setting("ALLOW_PRIVATE_ADDRESSES", 0))

# Sound. One GiB of float32: 93 minutes at 48 kHz, 4.6 hours at 16 kHz.
MAX_SOUND_SAMPLES = int(_setting("MAX_SOUND_SAMPLES", 2**28))
MAX_CHANNELS = int(_setting("MAX_CHANNELS", 64))
MAX_SAMPLING_RATE = int(_setting("MAX_SAMPLING_RATE", 6_144_000))
# Lossy codecs overshoot 1.0 a little; samples in int16 units exceed this even where the sound is very quiet.
MAX_FLOAT_PEAK = 32.0
# A smaller gap between packets comes from rounded timestamps, and is not missing sound.
GAP_SECONDS = 0.02
# Of the silence that fills the gaps of a sound and the time before it, all together.
MAX_GAP_SECONDS = _setting("MAX_GAP_SECONDS", 3600.0)
# A file may end this much before the end that it declares.
TRUNCATION_SECONDS = 0.5

# Pictures, width times height. RGB values take three times as many bytes. PIL itself refuses more than this.
MAX_PICTURE_PIXELS = int(_setting("MAX_PICTURE_PIXELS", 178_956_970))
# Of a frame of a video: 8192 x 8192. A decoder holds several frames.
MAX_FRAME_PIXELS = int(_setting("MAX_FRAME_PIXELS", 2**26))
# Of all frames that are decoded to reach one that is asked for: 8283 frames of 1920 x 1080.
MAX_DECODED_PIXELS = int(_setting("MAX_DECODED_PIXELS", 2**34))
