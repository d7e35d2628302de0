"""For the site: what follows a docstring's `Example:` is a section of code as griffe knows it."""

import re
import textwrap

import griffe

_EXAMPLE = re.compile(r"^Example:\n\n(?P<code>.*?)(?=^\w+:\n|\Z)", re.DOTALL | re.MULTILINE)


class ExamplesSection(griffe.Extension):
    def on_object(self, *, obj: griffe.Object, **options: object) -> None:
        if obj.docstring:
            obj.docstring.value = _EXAMPLE.sub(_section, obj.docstring.value)


def _section(example: re.Match[str]) -> str:
    return f"Examples:\n{textwrap.indent(example['code'], '    ')}"
