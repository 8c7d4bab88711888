"""The agent's own store of everything it measured.

`codec` is how samples are written, `head` what is not in the file yet, `store` the file (its tables are described there),
`reader` how it is asked, `history` the parts together.
"""

from adamas.history.history import History

__all__ = ["History"]
