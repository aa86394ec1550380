"""Where ``score`` keeps finished parts of a day until the day is whole, and how they are removed.

Their rows carry user ids, and a run that was killed and not repeated leaves them behind: who forgets a user or removes
what nobody needs has to know the place. Without them ``score`` only starts over.
"""

from etl.lake import Lake, hadoop_path

_FOLDER = "_scoring"


def parts_folder(lake: Lake) -> str:
    return f"{lake.root}/{_FOLDER}"


def remove_parts(lake: Lake, dry_run: bool = False) -> int:
    """Delete the parts of all days; returns how many files these are. A run of ``score`` that needs them fails."""
    path, files = hadoop_path(lake.spark, parts_folder(lake))
    if not files.exists(path):
        return 0
    held = int(files.getContentSummary(path).getFileCount())
    if not dry_run:
        files.delete(path, True)
    return held
