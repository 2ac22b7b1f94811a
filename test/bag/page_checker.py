# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Reads a page as a browser would: what is in it, and whether its tags match."""
from html.parser import HTMLParser

HOSTILE = '<script>alert(1)</script> & "quoted" \'too\''
VOID = {'meta', 'img', 'br'}  # the rest of SVG closes itself


class Checker(HTMLParser):
    """Collects tags, text and references; notes tags that do not match."""

    def __init__(self, page):
        super().__init__()
        self.open, self.tags, self.references, self.text = [], [], [], ''
        self.feed(page)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.references += [v for k, v in attributes if k in ('src', 'href', 'xlink:href')]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data + ' '
