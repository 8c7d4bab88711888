"""telnetlib of str, while the library has it (until Python 3.12)."""

from __future__ import annotations

import warnings
from typing import Any

from adamas.translate.python2.module import stand_in
from adamas.translate.python2.text import on_text, raw, text

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import telnetlib  # type: ignore[import-not-found, unused-ignore]

_READING = ["read_all", "read_eager", "read_lazy", "read_some", "read_very_eager", "read_very_lazy", "read_sb_data"]


class Telnet(telnetlib.Telnet):  # type: ignore[misc, name-defined, unused-ignore]
    """A connection."""

    def read_until(self, match: Any, timeout: Any = None) -> Any:
        return text(super().read_until(raw(match), timeout))

    def write(self, buffer: Any) -> None:
        super().write(raw(buffer))

    def expect(self, list: Any, timeout: Any = None) -> Any:
        index, match, data = super().expect([raw(e) if isinstance(e, str) else e for e in list], timeout)
        return index, match, text(data)


for _name in _READING:
    setattr(Telnet, _name, on_text(getattr(telnetlib.Telnet, _name)))

stand_in(__name__, telnetlib)
