"""The names that collectors and handlers written for Diamond import, on Python 3 and on top of Adamas.

`import diamond` stands apart: it needs the extra `adamas[diamond]` (configobj), and Adamas itself imports nothing of it,
except in the child processes that host such collectors and handlers.

What is public here is what Diamond 4 had: modules, classes, constructors, configuration objects, metric text. Where Diamond
was wrong the right way is the default, and the module says which configuration key brings the old way back.
"""
