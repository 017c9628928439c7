"""The report: one HTML file that opens anywhere, with everything needed to read the results."""

import base64
import dataclasses
import html
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 56rem; margin: 2rem auto; padding: 0 1rem;
       color: #1a1a1a; background: #fff }
h1 { font-size: 1.6rem } h2 { font-size: 1.2rem; margin-top: 2.2rem }
table { border-collapse: collapse; width: 100%; font-size: .9rem }
th, td { text-align: left; vertical-align: top; padding: .35rem .6rem;
         border-bottom: 1px solid #ddd }
td.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap }
.verdict { font-weight: 600; white-space: nowrap }
.shown { color: #00664b } .contradicted { color: #a63c00 } .not { color: #555 }
figure { margin: 1rem 0 } figure img { width: 100% }
figcaption, .small { font-size: .85rem; color: #444 }
pre { background: #f5f5f5; padding: .8rem; overflow-x: auto; font-size: .8rem }
"""


@dataclasses.dataclass(frozen=True)
class Section:
    """A figure in the report: its title, its bitmap, and what it shows."""

    title: str
    image: Path
    caption: str


def claims_as_text(summary: Mapping[str, Any]) -> str:
    """The table of claims for a terminal."""
    rows = [
        (claim["verdict"], _interval(claim), f"[{claim['figure']}] {claim['statement']}")
        for claim in summary["claims"]
    ]
    lines = [f"{verdict:<13} {interval:>24}  {what}" for verdict, interval, what in rows]
    return "\n".join([f"{'verdict':<13} {'estimate [95 %]':>24}  claim", *lines])


def write(path: Path, summary: Mapping[str, Any], sections: Sequence[Section]) -> None:
    """Write the report as one self-contained file.

    Args:
        path: the HTML file.
        summary: what ``report.json`` holds.
        sections: the figures.
    """
    parts = [
        f"<h1>Biased generalisation on a tree grammar: {_text(summary['scale'])} scale</h1>",
        "<p>Does a diffusion model that still improves its test loss already lean to its own "
        "training samples? Networks trained on disjoint sets, measured along training against the "
        "exact denoiser of the data.</p>",
        f"<p>{_text(summary['purpose'])}. Made again by <code>{_text(summary['command'])}</code>."
        "</p>",
        "<h2>Claims</h2>",
        _claims_table(summary["claims"]),
        *(_figure(section) for section in sections),
        "<h2>What was run</h2>",
        _run_table(summary),
        "<h2>Settings</h2>",
        f"<pre>{_text(json.dumps(summary['settings'], indent=2))}</pre>",
    ]
    body = "\n".join(parts)
    path.write_text(
        f'<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f"<title>hiermodel: {_text(summary['scale'])} report</title><style>{STYLE}</style></head>"
        f"<body>{body}</body></html>\n"
    )


def _claims_table(claims: Sequence[Mapping[str, Any]]) -> str:
    head = "<tr><th>claim</th><th>statistic</th><th>estimate [95 %]</th><th>verdict</th></tr>"
    rows = "".join(
        f"<tr><td>{_text(claim['statement'])} <span class=small>({_text(claim['figure'])})</span>"
        f"</td><td class=small>{_text(claim['statistic'])}"
        f"{'; ' + _text(claim['note']) if claim['note'] else ''}; {len(claim['values'])} units</td>"
        f"<td class=number>{_interval(claim)}</td>"
        f"<td class='verdict {claim['verdict'].split()[0]}'>{claim['verdict']}</td></tr>"
        for claim in claims
    )
    note = (
        "<p class=small>A claim says that its statistic is positive. It is shown if the whole "
        "interval is, contradicted if the whole interval is negative and all minima were located, "
        "and otherwise not shown. "
        "Intervals are Student's, over networks or pairs of networks that differ in initial values "
        "and noise; with several seeds per split they share training sets.</p>"
    )
    return f"<table>{head}{rows}</table>{note}"


def _figure(section: Section) -> str:
    data = base64.b64encode(section.image.read_bytes()).decode()
    return (
        f"<h2>{_text(section.title)}</h2><figure><img alt='{_text(section.title)}' "
        f"src='data:image/png;base64,{data}'><figcaption>{_text(section.caption)}</figcaption>"
        "</figure>"
    )


def _run_table(summary: Mapping[str, Any]) -> str:
    run = summary["settings"]["run"]
    provenance = summary["provenance"]
    seconds = summary["seconds"]
    rows = {
        "networks": f"{run['num_splits']} disjoint splits × {run['num_seeds']} seeds, "
        f"n = {run['split_size']} sequences each",
        "seed": run["seed"],
        "device": f"{provenance['device']} ({provenance['cores']} cores), {provenance['platform']}",
        "versions": ", ".join(f"{k} {v}" for k, v in provenance["packages"].items()),
        "time": ", ".join(f"{stage} {spent:.0f} s" for stage, spent in seconds.items())
        + f"; {sum(seconds.values()):.0f} s in all",
        "data": ", ".join(summary["files"]) + ", beside this file",
        "run": summary["identity"],
    }
    cells = "".join(f"<tr><th>{k}</th><td>{_text(v)}</td></tr>" for k, v in rows.items())
    return f"<table>{cells}</table>"


def _interval(claim: Mapping[str, Any]) -> str:
    return f"{claim['estimate']:.3g} [{claim['low']:.3g}, {claim['high']:.3g}]"


def _text(value: object) -> str:
    return html.escape(str(value))
