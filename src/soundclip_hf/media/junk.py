"""Tells the tags in a file of sound frames from damage; they stand in the middle where files were joined."""

from __future__ import annotations


class Junk:
    """
    Attributes:
        size: Bytes that were left out because they are neither frames nor tags.
    """

    def __init__(self) -> None:
        self.size = 0
        self.left = 0  # bytes of the tag that has begun

    def without_tags(self, content: bytes) -> bytes | None:
        """What remains of a packet without the tags that it begins with, or that the packet before began; None if it
        begins with something else.
        """
        begun = self.left > 0
        content, self.left = content[self.left :], max(self.left - len(content), 0)
        while (size := _tag_size(content)) > 0:
            begun = True
            content, self.left = content[size:], max(size - len(content), 0)
        return content if begun else None


def _tag_size(content: bytes) -> int:
    """Bytes of the tag that begins here: ID3v2, ID3v1 or APE; 0 if there is none."""
    if content.startswith(b"ID3") and len(content) >= 10 and max(content[6:10]) < 128:
        a, b, c, d = content[6:10]
        return 10 + (a << 21 | b << 14 | c << 7 | d) + (10 if content[5] & 0x10 else 0)
    if content.startswith(b"TAG"):
        return 128
    if content.startswith(b"APETAGEX") and len(content) >= 32:
        # The size counts the items and the footer, not the header; a footer alone is all that is left.
        is_header = content[23] & 0x20
        return 32 + (int.from_bytes(content[12:16], "little") if is_header else 0)
    if content.startswith(b"LYRICSBEGIN") and (end := content.find(b"LYRICS200")) > 0:
        return end + 9
    return 0
