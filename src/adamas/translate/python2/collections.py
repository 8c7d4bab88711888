"""collections, with the classes that are in collections.abc now."""

from __future__ import annotations

import collections
import collections.abc

from adamas.translate.python2.module import stand_in

for _name in collections.abc.__all__:
    globals()[_name] = getattr(collections.abc, _name)

stand_in(__name__, collections, *collections.abc.__all__)
