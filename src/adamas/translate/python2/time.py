"""time, with clock()."""

from __future__ import annotations

import time

from adamas.translate.python2.module import stand_in

clock = time.process_time

stand_in(__name__, time, "clock")
