"""The parts of bench/gpu.py. Each is a list of items that processes of their own work off.

layers.py, trainings.py, speed.py and folds.py have `items(rehearsal)`, the items of the part as
dicts for JSON, and `work(item, place)`, which runs in such a process and yields results.
"""
