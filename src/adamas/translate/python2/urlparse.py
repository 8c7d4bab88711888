"""urlparse."""

from __future__ import annotations

import urllib.parse

from adamas.translate.python2.module import stand_in

stand_in(__name__, urllib.parse)
