# ruff: noqa
"""How each of the two Pythons loads a file as a module; in the words of both."""

import os
import sys


def load(path, cache):
    if sys.version_info[0] == 2:
        import imp

        sys.path.insert(0, os.path.dirname(path))
        return imp.load_source("loaded_collector", path)
    from adamas.translate import load as translated

    return translated(path, os.path.splitext(os.path.basename(path))[0], cache)
