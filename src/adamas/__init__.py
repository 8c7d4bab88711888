"""Adamas: a metrics agent for Linux hosts. What a plugin needs is imported from here."""

from adamas.collector import Collector
from adamas.errors import NoData, Rejected, Retry
from adamas.metric import Batch, Counter, Delta, Gauge, Group, Otel, Rate, Raw, Sample, Spelled
from adamas.option import Duration, Secret, Size, option
from adamas.output import Output

__version__ = "0.1.0"

__all__ = [
    "Batch",
    "Collector",
    "Counter",
    "Delta",
    "Duration",
    "Gauge",
    "Group",
    "NoData",
    "Otel",
    "Output",
    "Rate",
    "Raw",
    "Rejected",
    "Retry",
    "Sample",
    "Secret",
    "Size",
    "Spelled",
    "option",
]
