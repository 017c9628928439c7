"""The report: one HTML file that opens anywhere, with everything needed to read the results.

It is written from ``report.json`` and the files beside it alone, so that adding one figure only has
to change its entry there.
"""

import base64
import html
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

Summary = Mapping[str, Any]

QUESTION = (
    "Does a diffusion model that still improves its test loss already lean to its own training "
    "samples? Networks trained on disjoint sets, measured along training against the exact "
    "denoiser of the data."
)

VERDICTS = (
    "A claim says that its statistic is positive. It is shown if the whole interval is, "
    "contradicted if the whole interval is negative and all minima in it were located, and "
    "otherwise not shown. Intervals are Student's, over the units named."
)


def claims_as_text(claims: Sequence[Summary]) -> str:
    """The table of claims for a terminal."""
    rows = [
        (claim["verdict"], _interval(claim), f"[{claim['figure']}] {claim['statement']}")
        for claim in claims
    ]
    lines = [f"{verdict:<13} {interval:>24}  {what}" for verdict, interval, what in rows]
    return "\n".join([f"{'verdict':<13} {'estimate [95 %]':>24}  claim", *lines])


def write(folder: Path) -> Path:
    """Write ``report.html`` from the ``report.json`` and the files of a folder.

    Beside figures, claims and runs, ``report.json`` may hold a ``title``, a ``question`` and the
    ``answer`` to it; without, the report is the reproduction's, of a ``scale``.

    Returns:
        The HTML file.
    """
    summary = json.loads((folder / "report.json").read_text())
    figures = summary["figures"]
    title = summary.get("title") or (
        f"Biased generalisation on a tree grammar: {summary['scale']} scale"
    )
    answer = summary.get("answer")
    parts = [
        f"<h1>{_text(title)}</h1>",
        f"<p>{_text(summary.get('question', QUESTION))}</p>",
        f"<p><b>{_text(answer)}</b></p>" if answer else "",
        f"<p>{_text(summary['purpose'])} Made again by <code>{_text(summary['command'])}</code>."
        "</p>",
        _navigation(figures),
        "<section id='claims'><h2>Claims</h2>",
        _claims_table(summary["claims"]),
        f"<p class='small'>{VERDICTS}</p></section>",
        *(_figure(folder, name, figures[name], summary) for name in figures),
        _runs(summary),
    ]
    style = Path(__file__).with_name("report.css").read_text()
    path = folder / "report.html"
    body = "\n".join(parts)
    path.write_text(
        "<!doctype html>\n<html lang='en'><head><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width, initial-scale=1'>"
        f"<title>hiermodel: {_text(title)}</title><style>{style}</style></head>"
        f"<body>\n{body}\n</body></html>\n"
    )
    return path


def _navigation(figures: Summary) -> str:
    links = [("claims", "Claims"), *((f"figure-{name}", name) for name in figures)]
    links.append(("runs", "What was run"))
    return (
        "<nav>" + "".join(f"<a href='#{to}'>{_text(label)}</a>" for to, label in links) + "</nav>"
    )


def _claims_table(claims: Iterable[Summary]) -> str:
    head = ("claim", "statistic", "estimate [95 %]", "verdict")
    rows = [
        f"<td>{_text(claim['statement'])} <a class='small' href='#figure-{claim['figure']}'>"
        f"{_text(claim['figure'])}</a></td><td class='small'>{_text(_about(claim))}</td>"
        f"<td class='number'>{_interval(claim)}</td><td><span class='badge "
        f"{claim['verdict'].split()[0]}'>{claim['verdict']}</span></td>"
        for claim in claims
    ]
    return _table(head, rows)


def _about(claim: Summary) -> str:
    note = f"; {claim['note']}" if claim["note"] else ""
    units = f"; {len(claim['values'])} units" if len(claim["values"]) > 1 else ""
    return f"{claim['statistic']}{note}{units}"


def _figure(folder: Path, name: str, figure: Summary, summary: Summary) -> str:
    claims = [claim for claim in summary["claims"] if claim["figure"] == name]
    state = figure["state"]
    badge = "" if state == "finished" else f" <span class='badge partial'>{_text(state)}</span>"
    parts = [
        f"<h2>{_text(figure['title'])}{badge}</h2>",
        f"<p class='small'>{_text(figure['content'])}</p>",
        *(_picture(folder, picture, figure) for picture in figure["pictures"]),
        _details("Claims", _claims_table(claims)) if claims else "",
        *(_numbers(folder, table) for table in figure["tables"]),
        _details("Settings", _settings(figure["settings"])),
        f"<p class='small'>{_downloads(figure)} Made again by "
        f"<code>{_text(figure['command'])}</code>.</p>",
    ]
    return f"<section id='figure-{name}'>{''.join(parts)}</section>"


def _picture(folder: Path, picture: Summary, figure: Summary) -> str:
    data = base64.b64encode((folder / picture["png"]).read_bytes()).decode()
    about = f"{figure['title']}, {picture['about']}" if picture["about"] else figure["title"]
    caption = f"{picture['about']}. {figure['caption']}" if picture["about"] else figure["caption"]
    return (
        f"<figure><img alt='{_text(about)}' src='data:image/png;base64,{data}'>"
        f"<figcaption>{_text(caption)}</figcaption></figure>"
    )


def _numbers(folder: Path, name: str) -> str:
    """A table of numbers, foldable, with its CSV inside this page."""
    text = (folder / name).read_text()
    head, *rows = (line.split(",") for line in text.splitlines())
    data = base64.b64encode(text.encode()).decode()
    cells = ["".join(f"<td class='number'>{_text(cell)}</td>" for cell in row) for row in rows]
    link = f"<a download='{name}' href='data:text/csv;base64,{data}'>{_text(name)}</a>"
    return _details(
        f"Numbers: {name.removesuffix('.csv')}",
        f"<p class='small'>{link}</p><div class='scroll'>{_table(head, cells)}</div>",
    )


def _settings(settings: Summary) -> str:
    head = ("run", "setting", "value")
    rows = [
        f"<td>{_text(size)}</td><td>{_text(name)}</td><td>{_text(value)}</td>"
        for size, values in settings.items()
        for name, value in values.items()
    ]
    return _table(head, rows)


def _downloads(figure: Summary) -> str:
    files = [name for picture in figure["pictures"] for name in (picture["pdf"], picture["png"])]
    files += [*figure["data"], *figure["tables"]]
    links = ", ".join(f"<a href='{name}'>{_text(name)}</a>" for name in files)
    return f"Beside this file: {links}."


def _runs(summary: Summary) -> str:
    blocks = []
    for size, run in summary["runs"].items():
        provenance, seconds = run["provenance"], run["seconds"]
        rows = {
            "networks": run["networks"],
            "device": f"{provenance['device']} ({provenance['cores']} cores), "
            f"{provenance['platform']}",
            "versions": ", ".join(f"{k} {v}" for k, v in provenance["packages"].items()),
            "time": ", ".join(f"{stage} {spent:.0f} s" for stage, spent in seconds.items())
            + f"; {sum(seconds.values()):.0f} s in all",
            "identity": run["identity"],
        }
        cells = [f"<th>{_text(name)}</th><td>{_text(value)}</td>" for name, value in rows.items()]
        settings = json.dumps(run["settings"], indent=2, ensure_ascii=False)
        blocks.append(
            f"<h3>{_text(size)}</h3>{_table((), cells)}"
            f"{_details('All settings', f'<pre>{_text(settings)}</pre>')}"
        )
    return f"<section id='runs'><h2>What was run</h2>{''.join(blocks)}</section>"


def _table(head: Sequence[str], rows: Iterable[str]) -> str:
    """Rows are given as their cells, in HTML."""
    top = "".join(f"<th>{_text(name)}</th>" for name in head)
    body = "".join(f"<tr>{cells}</tr>" for cells in rows)
    return f"<table>{f'<thead><tr>{top}</tr></thead>' if head else ''}<tbody>{body}</tbody></table>"


def _details(title: str, content: str) -> str:
    return f"<details><summary>{_text(title)}</summary>{content}</details>"


def _interval(claim: Summary) -> str:
    return f"{claim['estimate']:.3g} [{claim['low']:.3g}, {claim['high']:.3g}]"


def _text(value: object) -> str:
    return html.escape(str(value))
