"""The files that a comparison leaves. They are written anew after every case, so that a run that is killed, in whatever
way, has left the cases before."""
import json
import os

import report as report_files

UNFINISHED = "not finished: these are the cases so far"


def new_path(folder, stem):
    """STEM.json that does not exist yet; the Markdown goes beside it."""
    number = 1
    while (path := folder / f"{stem}{f'-{number}' if number > 1 else ''}.json").exists():
        number += 1
    return path


def replace(path, text):
    """Never half a file."""
    part = path.with_name(f".{path.name}.part")
    part.write_text(text)
    os.replace(part, path)


class ResultsFile:
    """STEM.json and STEM.md, named when the first case is done."""

    def __init__(self, folder, stem):
        self.folder, self.stem = folder, stem
        self.path = None

    def write(self, report, finished):
        """The Markdown."""
        notes = report["notes"] + ([] if finished else [UNFINISHED])
        text = report_files.markdown(report | {"notes": notes})
        if self.path is None:
            self.folder.mkdir(parents=True, exist_ok=True)
            self.path = new_path(self.folder, self.stem)
        replace(self.path, json.dumps(report | {"notes": notes, "finished": finished}, indent=1) + "\n")
        replace(self.path.with_suffix(".md"), text)
        return text
