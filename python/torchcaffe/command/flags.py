"""The command line, in the spelling of gflags: -name value, --name=value, -flag, -noflag."""

import dataclasses
import difflib

from torchcaffe.errors import CaffeError


@dataclasses.dataclass
class Flag:
    """`default` also tells the type: str, int or bool."""

    name: str
    default: object
    help: str


FLAGS = [
    Flag("solver", "", "the solver's prototxt file (train)"),
    Flag("model", "", "the net's prototxt file (test, time)"),
    Flag("weights", "", "caffemodel files to start from or to score, separated by ','"),
    Flag("snapshot", "", "the solverstate file from which training goes on"),
    Flag("iterations", 50, "batches to run (test, time)"),
    Flag("gpu", "", "the device's number; without it solver_mode, or the CPU for test and time"),
    Flag("phase", "", "TRAIN or TEST; of the net of time (default TRAIN)"),
    Flag("level", 0, "the level of the net's state"),
    Flag("stage", "", "the stages of the net's state, separated by ','"),
    Flag("sigint_effect", "stop", "what Ctrl-C does in training: stop, snapshot or none"),
    Flag("sighup_effect", "snapshot", "what SIGHUP does in training: stop, snapshot or none"),
    Flag("minloglevel", 0, "1 leaves out the log, 2 warnings too (also GLOG_minloglevel)"),
    Flag("logtostderr", True, "for scripts written for glog; the log is always on standard error"),
    Flag("alsologtostderr", True, "as logtostderr"),
    Flag("help", False, "show this text"),
    Flag("version", False, "show the version"),
]


class Values(dict):
    """Flags' values as attributes. `given` names those that the command line has."""

    def __init__(self):
        super().__init__((flag.name, flag.default) for flag in FLAGS)
        self.given = set()

    __getattr__ = dict.__getitem__


def parse(arguments):
    """(Values, [arguments that are no flags]); raises CaffeError for what is no flag or value."""
    known = {flag.name: flag for flag in FLAGS}
    values, rest = Values(), []
    arguments = list(arguments)
    while arguments:
        argument = arguments.pop(0)
        if argument == "--":
            rest += arguments
            break
        if not argument.startswith("-") or argument == "-":
            rest.append(argument)
            continue
        written, equals, value = argument.lstrip("-").partition("=")
        name = written.replace("-", "_")
        negated = name.removeprefix("no")
        if name not in known and negated in known and isinstance(known[negated].default, bool):
            if equals:
                raise CaffeError(f"flag '{written}' takes no value; give -{negated}=false")
            name, equals, value = negated, "=", "false"
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            raise CaffeError(
                f"unknown command line flag '{written}'; "
                + (f"did you mean '{near[0]}'?" if near else "--help shows the flags")
            )
        if not equals:
            if isinstance(known[name].default, bool):
                value = "true"
            elif not arguments:
                raise CaffeError(f"flag '{written}' is missing its value: {known[name].help}")
            else:
                value = arguments.pop(0)
        values[name] = _converted(known[name], value)
        values.given.add(name)
    return values, rest


def _converted(flag, text):
    if isinstance(flag.default, bool):
        if text.lower() in ("true", "t", "yes", "y", "1"):
            return True
        if text.lower() in ("false", "f", "no", "n", "0"):
            return False
        raise CaffeError(f"flag '{flag.name}' is {text!r}; give true or false")
    if isinstance(flag.default, int):
        try:
            value = int(text)
        except ValueError:
            value = None
        if value is None or not -(2**31) <= value < 2**31:
            raise CaffeError(f"flag '{flag.name}' is {text!r}; give a whole number")
        return value
    return text
