"""`kuro tune`: looks for better weights of a profile, and applies those that are shown to be."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from functools import partial

from msgspec.structs import asdict

from proxy.commands.measuring import show
from proxy.commands.options import config_option, refuse, since_option, within
from proxy.routing.router import BALANCED
from proxy.settings import ROUTING, load

GENTLE = 10
"""Added to the process's niceness: a tenth of what others get of a busy processor."""

_ABOUT = """\
--outcomes takes the rows of `kuro eval --outcomes`: what every model made of each ask. --calls takes a call
log: calls with feedback, some of which chance gave to another model (`explore` in routing.yml). What the
others would have made of a call is estimated from those, by the chances that were written down (doubly
robust); a model that had no chance is taken to have failed. Half is searched (whole groups, where there are
four or more; else by what was asked, or by conversation); the weights that were found are judged on the other
half by a paired bootstrap, of rows, or of conversations; where rows have groups, of whole groups as well, and
both intervals count.

  worth   quality + (success x its weight + latency x its weight - cost x its weight) / weight of quality
          with the graded quality (of calls: the feedback) and what was paid; success and latency as expected

The weights in it are the profile's own as you wrote them, so money and time keep your price. When --write
has changed a profile, they stand in `worth` of routing.yml, and later trials are judged by them, too: when
you want something else of a profile, write it there and here. Weights of cost and latency are varied, from
an eighth to eight times; what you gave no weight gets none.

Exit codes: 0 when the whole interval of the gain is above zero; 1 when it isn't, and nothing is changed; 2
for bad input. Try the same rows with one seed: of forty seeds one finds gains in noise.
"""


def add(parser: argparse.ArgumentParser, environ: Mapping[str, str]) -> None:
    """What the command takes."""
    parser.set_defaults(run=_tune)
    config_option(parser, environ)
    parser.formatter_class, parser.epilog = argparse.RawDescriptionHelpFormatter, _ABOUT
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument(
        "--outcomes", metavar="FILE", help="asks with each model's graded outcome; - is stdin"
    )
    source.add_argument(
        "--calls", metavar="FILE", nargs="?", const="", help="a call log (default: the one that is kept)"
    )
    since_option(parser)
    parser.add_argument("--models", metavar="A=B,...", default="", help="what outcomes call a model")
    parser.add_argument(
        "--profile", default=BALANCED, metavar="NAME", help=f"whose weights (default: {BALANCED})"
    )
    parser.add_argument("--write", action="store_true", help="change routing.yml, if they are better")
    parser.add_argument("--json", action="store_true", help="all measures as JSON")
    parser.add_argument(
        "--least",
        type=partial(within, low=0, high=10**9),
        default=0,
        metavar="N",
        help="try nothing with fewer rows or calls: of many looks at the same ones some find gains in noise",
    )
    parser.add_argument(
        "--sure",
        type=partial(within, low=50, high=99),
        default=95,
        metavar="PERCENT",
        help="what intervals shall cover (default: 95); more where you look often",
    )
    parser.add_argument("--gently", action="store_true", help="at a low priority")
    parser.add_argument(
        "--resamples", type=partial(within, low=0, high=100_000), default=1000, help="default: 1000"
    )
    parser.add_argument(
        "--seed", type=partial(within, low=0, high=2**31), default=1, help="of the halves and the resamples"
    )


def _tune(options: argparse.Namespace) -> int:
    from proxy.commands import trials
    from proxy.evaluate import text
    from proxy.settings.tuned import write

    if options.gently:
        os.nice(GENTLE)
    if options.write and options.config is None:
        return refuse("--write needs --config: the configuration that comes with kuro stays as it is")
    if options.outcomes is None and options.models:
        return refuse("--models goes with --outcomes")
    if options.calls is None and options.since is not None:
        return refuse("--since goes with --calls")
    settings = load(options.config)
    profile, routing = options.profile, settings.routing
    if profile not in routing.profiles:
        return refuse(f"--profile: {profile!r} is none of {', '.join(routing.profiles)}")
    weights = asdict(routing.profiles[profile])
    price = asdict(routing.worth.get(profile, routing.profiles[profile]))
    if not weights["quality"] or not price["quality"]:
        return refuse(f"--profile: {profile!r} gives quality no weight, and outcomes tell of little else")
    make = trials.graded if options.outcomes is not None else trials.drawn
    trial = make(options, settings, weights, price)
    if options.write and trial.better:
        try:
            write(options.config / ROUTING, routing.profiles, profile, trial.new.weights)
        except (OSError, ValueError) as error:
            return refuse(f"{options.config / ROUTING}: {getattr(error, 'strerror', None) or error}")
    show(options, trial, text.trial(trial, written=options.write and trial.better))
    return 0 if trial.better else 1
