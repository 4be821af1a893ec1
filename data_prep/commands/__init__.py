"""The commands of `python -m data_prep`: what they are asked, and the call that does it.

Each has `add_arguments(parser)` and `run(arguments)`, for the parsed arguments.
"""
