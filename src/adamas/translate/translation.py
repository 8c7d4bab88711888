"""From the text of one file to its translation."""

from __future__ import annotations

from adamas.errors import Mistake, TranslationError
from adamas.translate import dialect
from adamas.translate.edits import Edits
from adamas.translate.imports import Imports
from adamas.translate.lexer import decode, even_indentation, tokens
from adamas.translate.meaning import Meaning
from adamas.translate.syntax import Syntax


def translate(source: str | bytes, filename: str, siblings: frozenset[str] = frozenset(), legacy: bool = False) -> str:
    """See `adamas.translate.translate`."""
    text = decode(source, filename)
    if not dialect.is_python2(text, filename, siblings, legacy):
        if not siblings:
            return source if isinstance(source, str) else text
        return Imports(Edits(text, dialect.parse(text, filename), filename), siblings).all_siblings()
    text = even_indentation(text, tokens(text, filename))
    syntax = Syntax(text, filename)
    try:
        file = Edits(syntax.text, dialect.parse(syntax.text, filename), filename, syntax.unpacked)
        result = Meaning(file, "division" in syntax.futures, siblings).translate()
        dialect.parse(result, filename)
    except SyntaxError as error:
        raise TranslationError([Mistake(filename, error.lineno or 0, error.msg)]) from error
    except (ValueError, RecursionError) as error:
        raise TranslationError([Mistake(filename, 0, str(error))]) from error
    return result
