"""``python -m experiments COMMAND …``: studies, single runs, cards and benchmarks."""

from experiments import command
from experiments.command import Command

STUDY = "experiments.study.commands"

COMMANDS = {
    "run": Command(f"{STUDY}:run", "run a study, or one configuration", "run set_size"),
    "status": Command(f"{STUDY}:status", "what it costs, and how far it is", "status set_size"),
    "report": Command(
        "figures.study_report:report", "its answer, figures and tables as a page", "report set_size"
    ),
    "submit": Command(
        "experiments.study.launch:submit_and_say", "run it as jobs of a cluster", "submit set_size"
    ),
    "card": Command("figures.card:write_card", "one page about a run", "card 1b3f"),
    "bench": Command(
        "paper_repro.bench:bench", "time the library, or predict runs", "bench --predict h100"
    ),
}
"""The commands. Reports, cards and scales are of ``figures`` and ``paper_repro``, built on this."""


def main() -> None:
    """Do what the command line says."""
    command.choose("python -m experiments", COMMANDS)


if __name__ == "__main__":
    main()
