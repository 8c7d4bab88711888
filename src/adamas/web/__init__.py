"""The local page, its API, /metrics and Graphite's render API, over HTTP. Imported only where [web] is on."""

from adamas.web.server import WebServer

__all__ = ["WebServer"]
