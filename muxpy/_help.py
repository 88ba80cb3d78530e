"""What `help` shows for the fields of a dataclass. Imports nothing of muxpy."""

from __future__ import annotations

import ast
import inspect
import textwrap
from typing import TypeVar

__all__ = ["document_fields"]

T = TypeVar("T")


def document_fields(cls: type[T]) -> type[T]:
    """Decorator of a dataclass with slots: `help` shows the text that stands below each field in the source.

    Python does not keep these texts (`dataclasses.field(doc=...)` comes with 3.14), but `help` takes the texts of slots
    from `__slots__` if that is a dict.
    """
    setattr(cls, "__slots__", _FieldTexts(cls))  # noqa: B010 - no type knows that it may be set
    return cls


class _FieldTexts(dict[str, str]):
    """The fields' names and texts. The texts are read from the source when somebody asks for them, so that importing
    muxpy does not cost that."""

    def __init__(self, cls: type) -> None:
        super().__init__(dict.fromkeys(getattr(cls, "__slots__"), ""))  # noqa: B009 - as above
        self._cls = cls
        self._found = False

    def __getitem__(self, name: str) -> str:
        if not self._found:
            self._found = True
            self.update(_texts_below_fields(self._cls))
        return super().__getitem__(name)


def _texts_below_fields(cls: type) -> dict[str, str]:
    try:
        source = textwrap.dedent(inspect.getsource(cls))
    except (OSError, TypeError):  # it was installed without its source
        return {}
    [definition] = ast.parse(source).body
    assert isinstance(definition, ast.ClassDef)
    texts = {}
    for field, below in zip(definition.body, definition.body[1:], strict=False):
        match field, below:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                texts[name] = inspect.cleandoc(text)
    return texts
