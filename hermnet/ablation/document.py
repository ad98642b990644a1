"""A report as Markdown with pictures beside it, and as one HTML page that needs no other file."""

from __future__ import annotations

import html
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hermnet.host.atomic import write_atomically

DPI = 90  # of the pictures beside Markdown
_CODE = re.compile(r"`([^`]+)`")
_STYLE = """
body { font: 16px/1.5 system-ui, "Segoe UI", "DejaVu Sans", sans-serif; color: #1c2128;
  max-width: 72rem; margin: 2rem auto; padding: 0 1.5rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2.2rem; }
p.answer { font-size: 1.3rem; line-height: 1.4; border-left: 5px solid #1b6a4b; padding: .6rem 1rem;
  background: #f0f7f3; }
code { background: #eef0f3; padding: .08em .3em; border-radius: 4px; font-size: .92em;
  white-space: nowrap; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .7rem; text-align: right; border-bottom: 1px solid #dde1e6;
  white-space: nowrap; }
th { border-bottom: 2px solid #8b949e; vertical-align: bottom; white-space: pre-line; }
td:first-child, th:first-child { text-align: left; }
tr.mark td { background: #f6f8fa; font-weight: 600; }
svg { max-width: 100%; height: auto; }
li { margin: .2rem 0; } .caption { color: #57606a; font-size: .9rem; }
"""


@dataclass(frozen=True)
class Heading:
    """A title of a section."""

    text: str


@dataclass(frozen=True)
class Text:
    """A paragraph; words in backquotes are code."""

    text: str
    is_answer: bool = False


@dataclass(frozen=True)
class Bullets:
    """A list of sentences."""

    texts: Sequence[str]


@dataclass(frozen=True)
class Table:
    """Rows of text; the first column is a name.

    Attributes:
        columns: heads.
        rows: as many cells each.
        mark: name of the row that stands out.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    mark: str | None = None


@dataclass(frozen=True)
class Picture:
    """A figure of matplotlib.

    Attributes:
        name: of its file.
        figure: the figure.
        caption: what it shows.
    """

    name: str
    figure: Any
    caption: str


Block = Heading | Text | Bullets | Table | Picture


@dataclass(frozen=True)
class Document:
    """A title and what follows."""

    title: str
    blocks: Sequence[Block]

    def write_markdown(self, path: Path) -> list[Path]:
        """Write the page and its pictures, PNG files beside it; returns all files."""
        parts, files = [f"# {self.title}"], [path]
        for block in self.blocks:
            if isinstance(block, Picture):
                picture = path.with_name(f"{block.name}.png")
                buffer = io.BytesIO()
                block.figure.savefig(buffer, dpi=DPI, format="png", facecolor="white")
                write_atomically(picture, buffer.getvalue())
                files.append(picture)
            parts.append(_markdown(block))
        write_atomically(path, "\n\n".join(parts) + "\n")
        return files

    def write_html(self, path: Path) -> None:
        """Write the page, pictures inside."""
        body = "\n".join(_html(block) for block in self.blocks)
        title = html.escape(self.title.replace("`", ""))
        page = (
            '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            f"<title>{title}</title>\n<style>{_STYLE}</style></head><body>\n"
            f"<h1>{_inline(self.title)}</h1>\n{body}\n</body></html>\n"
        )
        write_atomically(path, page)


def _markdown(block: Block) -> str:
    if isinstance(block, Heading):
        return f"## {block.text}"
    if isinstance(block, Text):
        return f"**{block.text}**" if block.is_answer else block.text
    if isinstance(block, Bullets):
        return "\n".join(f"- {text}" for text in block.texts)
    if isinstance(block, Picture):
        return f"![{block.caption}]({block.name}.png)\n\n{block.caption}"
    rule = ["---", *["---:"] * (len(block.columns) - 1)]
    heads = [column.replace("\n", " ") for column in block.columns]
    lines = [heads, rule, *([f"`{row[0]}`", *row[1:]] for row in block.rows)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _html(block: Block) -> str:
    if isinstance(block, Heading):
        return f"<h2>{_inline(block.text)}</h2>"
    if isinstance(block, Text):
        kind = ' class="answer"' if block.is_answer else ""
        return f"<p{kind}>{_inline(block.text)}</p>"
    if isinstance(block, Bullets):
        return f"<ul>{''.join(f'<li>{_inline(text)}</li>' for text in block.texts)}</ul>"
    if isinstance(block, Picture):
        return f'<div>{_svg(block.figure)}</div>\n<p class="caption">{_inline(block.caption)}</p>'
    head = "".join(f"<th>{html.escape(column)}</th>" for column in block.columns)
    rows = "".join(_row(row, row[0] == block.mark) for row in block.rows)
    return f'<div class="wide"><table><tr>{head}</tr>{rows}</table></div>'


def _row(cells: Sequence[str], is_marked: bool) -> str:
    kind = ' class="mark"' if is_marked else ""
    return f"<tr{kind}>{''.join(f'<td>{html.escape(cell)}</td>' for cell in cells)}</tr>"


def _inline(text: str) -> str:
    return _CODE.sub(r"<code>\1</code>", html.escape(text, quote=False))


def _svg(figure: Any) -> str:
    """The figure as an element of HTML."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", facecolor="white", metadata={"Date": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]
