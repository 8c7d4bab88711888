"""time, with clock()."""

from __future__ import annotations

import time as _time

from adamas.translate.python2.module import stand_in

clock = _time.process_time

stand_in(__name__, _time, "clock")
