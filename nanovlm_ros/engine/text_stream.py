# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Token ids in, text out: whole code points, stop strings never shown."""
from typing import List, Sequence

INCOMPLETE = '\ufffd'  # what decoding gives for UTF-8 that is not complete yet
LONGEST_CODE_POINT = 4  # bytes, so tokens in the worst case


class TextStream:
    """Detokenises a reply as it grows; the work for a token does not grow with the reply.

    Decoding depends on the tokens around, so each step decodes a short window:
    the tokens that made the last text (from `_start`) and the new ones.
    """

    def __init__(self, tokenizer, stop: Sequence[str] = ()):
        self._tokenizer = tokenizer
        self._stop = tuple(stop)
        self._ids: List[int] = []
        self._start = self._read = 0  # window start; tokens whose text is out
        self._held = ''               # may be the beginning of a stop string
        self._begun = False           # the leading space was dealt with
        self.text = ''                # all that was shown
        self.stopped = False          # a stop string was met

    def push(self, token: int) -> str:
        """Add a token; return the text that can be shown now."""
        self._ids.append(token)
        return self._show(self._decoded(final=False))

    def finish(self) -> str:
        """End the reply; return what was held back and is text after all."""
        if self.stopped:
            return ''
        delta = self._show(self._decoded(final=True))
        rest, self._held = self._held, ''
        return delta if self.stopped else delta + self._out(rest)

    def _decoded(self, final: bool) -> str:
        decode, pending = self._tokenizer.decode, self._ids[self._read:]
        before, text = decode(self._ids[self._start:self._read]), decode(self._ids[self._start:])
        if text.startswith(before) and not text.endswith(INCOMPLETE):
            delta = text[len(before):]
        else:
            # Bytes that are no text spoil their neighbours when decoded together: look for an
            # end that is whole by itself.
            for place in range(len(pending)):
                end = decode(pending[place:])
                if not end.endswith(INCOMPLETE):
                    delta = decode(pending[:place]) + end
                    break
            else:
                if len(pending) < LONGEST_CODE_POINT and not final:
                    return ''
                # The oldest cannot be part of a code point any more; the others may be.
                pending = pending if final else pending[:1]
                delta = decode(pending)
        if delta:  # a window of tokens without text would look like the start of a reply
            self._start = self._read
        self._read += len(pending)
        return delta

    def _show(self, text: str) -> str:
        pending = self._held + text
        found = [at for at in (pending.find(stop) for stop in self._stop) if at >= 0]
        if found:
            self.stopped, self._held = True, ''
            pending = pending[:min(found)]
        else:
            keep = _overlap(pending, self._stop)
            self._held = pending[len(pending) - keep:]
            pending = pending[:len(pending) - keep]
        return self._out(pending)

    def _out(self, text: str) -> str:
        """Templates end before a space, so replies begin with one that is not theirs."""
        if text and not self._begun:
            self._begun, text = True, text.removeprefix(' ')
        self.text += text
        return text


def _overlap(text: str, stops: Sequence[str]) -> int:
    """Length of the longest end of `text` that begins one of `stops`."""
    longest = max((len(stop) for stop in stops), default=1) - 1
    for length in range(min(longest, len(text)), 0, -1):
        if any(stop.startswith(text[-length:]) for stop in stops):
            return length
    return 0
