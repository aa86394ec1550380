"""Plain text for a terminal: tables that fit, key-value lines, no colours that a log file would keep."""

from collections.abc import Sequence
from io import StringIO
from typing import Any

from etl.contract.printable import one_line


def text_table(rows: Sequence[Sequence[str]]) -> str:
    """A table whose first row is the header; the first column is left-aligned, the others right-aligned."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for index, name in enumerate(rows[0]):
        table.add_column(Text(one_line(name)), justify="left" if index == 0 else "right", no_wrap=True)
    for row in rows[1:]:
        # As Text, which is not searched for markup.
        table.add_row(*(Text(one_line(str(cell))) for cell in row))
    out = StringIO()
    Console(file=out, width=200, color_system=None).print(table)
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines())


def table_of(entries: Sequence[dict[str, Any]], empty: str) -> str:
    """Records as a table, or one line where there are none; a dash where a record lacks a column."""
    columns = dict.fromkeys(column for entry in entries for column in entry)
    entries = [{column: entry.get(column, "-") for column in columns} for entry in entries]
    if not entries:
        return empty
    return _left_table([list(entries[0]), *([_text(value) for value in entry.values()] for entry in entries)])


def lines_of(result: dict[str, Any]) -> str:
    """One ``key  value`` line per entry; nested entries are indented."""
    width = max((len(key) for key in result), default=0)
    lines = []
    for key, value in result.items():
        if isinstance(value, dict) and value:
            lines += [key, *(f"  {line}" for line in lines_of(value).splitlines())]
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            lines += [key, *(f"  {line}" for line in table_of(value, "").splitlines())]
        elif isinstance(value, list) and value:
            lines += [key, *(f"  {_text(line)}" for line in value)]
        else:
            lines.append(f"{key:<{width}}  {_text(value)}")
    return "\n".join(lines)


def _text(value: Any) -> str:
    """Floats to four digits: the rest is in --json."""
    return f"{value:.4g}" if isinstance(value, float) else one_line(str(value))


def _left_table(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[index]) for row in rows) for index in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )
