# ruff: noqa
"""Runs the collectors of one file, under Python 2.7 or translated, and prints what they publish: drive.py FILE PORT [CACHE].

It is in the words of both, so that one script asks the old interpreter and the new one the same.
"""

import imp_or_load
import sys


def main(path, port, cache):
    module = imp_or_load.load(path, cache)
    for name in sorted(vars(module)):
        cls = getattr(module, name)
        if isinstance(cls, type) and name.endswith("Collector") and cls.__module__ == module.__name__:
            collector = cls({"port": port, "host": "127.0.0.1", "folder": sys.argv[4]})
            collector.collect()
            for metric, value in sorted(collector.published):
                sys.stdout.write("%s %s %s\n" % (name, text(metric), shown(value)))
    sys.stdout.flush()


def shown(value):
    if isinstance(value, bool) or value is None:
        return str(value)
    if isinstance(value, float):
        return "float %.6f" % value
    if type(value).__name__ in ("int", "long"):
        return "int %d" % value
    return "str %s" % text(value)


def text(value):
    return value if isinstance(value, str) else value.encode("utf-8")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3])
