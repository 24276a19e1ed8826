"""The report as one self-contained page: template, style and scripts from report/page, data as JSON inside. Pure.

No request leaves the browser: the page's own policy forbids all, and allows just the style and the script that are in
it, by their hashes. Foreign text is data: autoescaped in the template, and only ever set as text by the scripts.
"""

from __future__ import annotations

import base64
import hashlib
import json
from importlib.resources import files

from jinja2 import Environment, StrictUndefined

from harness.report.payload import Content, payload

SCRIPTS = ("core.js", "plots.js", "ranking.js", "overview.js", "runs.js", "equivalents.js", "method.js", "main.js")


def page(content: Content) -> str:
    """The text of the page."""
    style = _asset("page.css")
    script = "".join(_asset(name) for name in SCRIPTS)
    template = Environment(autoescape=True, undefined=StrictUndefined).from_string(_asset("page.html"))
    return template.render(
        title=content.title,
        style=style,
        script=f"(() => {{\n'use strict';\n{script}}})();",
        style_hash=_hash(style),
        script_hash=_hash(f"(() => {{\n'use strict';\n{script}}})();"),
        data=embedded(payload(content)),
    )


def embedded(document: object) -> str:
    """JSON that can stand in a script element: nothing in it can end the element or be read as markup."""
    text = json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _asset(name: str) -> str:
    return files("harness").joinpath("report", "page", name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    """As a Content-Security-Policy names an inline style or script."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
