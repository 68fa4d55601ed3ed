"""What counts as too large, too long or too late, for every reader of media, and how much inaccuracy is normal.

Modules read these as `limits.NAME` at each call, so that a program can set another value.
"""

URL_TIMEOUT_SECONDS = 30.0
MAX_CHANNELS = 64
# Lossy codecs overshoot 1.0 a little; samples in int16 units exceed this even where the sound is very quiet.
MAX_FLOAT_PEAK = 32.0
# A smaller gap between packets comes from rounded timestamps, and is not missing sound.
GAP_SECONDS = 0.02
MAX_GAP_SECONDS = 3600.0
# A file may end this much before the end that it declares.
TRUNCATION_SECONDS = 0.5
# Width times height of a picture; its RGB values take three times as many bytes. PIL itself refuses more than this.
MAX_PICTURE_PIXELS = 178_956_970
