"""How fast, how small and how frugal Holdfast is, measured beside its peers in the same run.

`python bench/run.py --help` says what can be chosen; `python -m bench` is the same command.
"""
