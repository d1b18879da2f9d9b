"""Makes golden files that are missing; never touches one that is there, since every later version must read it alike.

    PYTHONPATH=codecs:tests:tests/golden python tests/golden/generate.py

To add a golden file, add it to ``golden_good.py`` or ``golden_bad.py`` under a new name. What stands here for a file
that exists is history: it may be wrong by now, the file and ``expected.json`` are not.
"""

import json
import sys

from golden_bad import bad_files
from golden_files import EXPECTED, FOLDER, MODELS, facts
from golden_good import good_files


def main() -> int:
    expected = json.loads(EXPECTED.read_text()) if EXPECTED.exists() else {"good": {}, "bad": {}}
    made = 0
    for kind, files in (("good", good_files()), ("bad", bad_files())):
        for name, (data, message) in files.items():
            path = FOLDER / kind / f"{name}.ncs"
            if path.exists() or name in expected[kind]:
                print(f"kept {kind}/{path.name}")
                continue
            path.parent.mkdir(exist_ok=True)
            with path.open("xb") as file:  # fails where something has appeared meanwhile
                file.write(data)
            expected[kind][name] = facts(data) if kind == "good" else message
            made += 1
    if MODELS.exists():
        print(f"kept {MODELS.parent.name}")
    else:
        from golden_coded import coded_files  # with torch: seconds

        expected["coded"] = coded_files()
        made += len(expected["coded"])
    EXPECTED.write_text(_lines(expected))
    print(f"{made} made")
    return 0


def _lines(expected: dict[str, dict[str, object]]) -> str:
    """One file a line."""
    kinds = []
    for kind, files in expected.items():
        entries = [f"  {json.dumps(name)}: {json.dumps(what, ensure_ascii=False)}" for name, what in files.items()]
        kinds.append(f" {json.dumps(kind)}: {{\n" + ",\n".join(entries) + "\n }")
    return "{\n" + ",\n".join(kinds) + "\n}\n"


if __name__ == "__main__":
    sys.exit(main())
