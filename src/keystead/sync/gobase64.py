"""Pure: base64 exactly as strict, and as lenient, as Go's ``encoding/base64`` (padded, standard or URL alphabet).

``decodingStrategy: Auto`` depends on what is *not* valid base64, so the two must agree on every input. Go skips
carriage returns and line feeds, demands padding, allows stray bits in the last character, and names the byte where it
gave up.
"""

import base64

_STANDARD = {
    character: value
    for value, character in enumerate(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")
}
_URL = {
    character: value
    for value, character in enumerate(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
}
_PAD = ord("=")
_SKIPPED = b"\r\n"
_QUANTUM = 4
_FIRST_PADDABLE = 2


class Malformed(ValueError):
    """The text is not base64; says at which byte, as Go does."""

    def __init__(self, at: int) -> None:
        super().__init__(f"illegal base64 data at input byte {at}")


def decode_base64(text: bytes, *, url: bool) -> bytes:
    """Pure: the decoded bytes. Raises Malformed."""
    _check(text, _URL if url else _STANDARD)
    bare = bytes(character for character in text if character not in _SKIPPED)
    return base64.b64decode(bare, altchars=b"-_" if url else None)


def _check(text: bytes, alphabet: dict[int, int]) -> None:
    """Walk the text in groups of four, as Go's decoder does, and raise Malformed where it would."""
    held, at = 0, 0
    while at < len(text):
        character = text[at]
        if character in alphabet:
            held = (held + 1) % _QUANTUM
        elif character == _PAD:
            _check_padding(text, at, held)
            return
        elif character not in _SKIPPED:
            raise Malformed(at)
        at += 1
    if held:
        raise Malformed(at - held)


def _check_padding(text: bytes, at: int, held: int) -> None:
    """The first ``=`` stands at *at*, after *held* characters of its group."""
    if held < _FIRST_PADDABLE:
        raise Malformed(at)
    if held == _FIRST_PADDABLE:
        second = _past_breaks(text, at + 1)
        if second == len(text):
            raise Malformed(len(text))
        if text[second] != _PAD:
            raise Malformed(second - 1)
        at = second
    rest = _past_breaks(text, at + 1)
    if rest < len(text):
        raise Malformed(rest)


def _past_breaks(text: bytes, at: int) -> int:
    while at < len(text) and text[at] in _SKIPPED:
        at += 1
    return at
