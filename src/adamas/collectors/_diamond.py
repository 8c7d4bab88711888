"""Where Diamond took a setting of a collector otherwise than it looks: the names that came of it are charted."""

LETTERS = {"NetworkCollector": ("interfaces",)}
"""Class -> settings of which each letter was an entry, where the file has one text without a comma."""

PRESENT = {"MemoryCollector": ("detailed",)}
"""Class -> settings that were on as soon as they stood there, whatever they said."""
