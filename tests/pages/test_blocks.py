"""One source for HTML, Markdown and data: the numbers are the same, and text from files cannot break out."""

from __future__ import annotations

from hugectr2onnx.pages.blocks import (
    Code,
    Column,
    Items,
    Paragraph,
    Section,
    TableBlock,
    document_html,
    document_markdown,
)

EVIL = '</script><b>"&|'
TABLE = TableBlock(
    "Latency",
    (Column("file"), Column("batch", "count"), Column("share", "share"), Column("bytes", "bytes")),
    (("a.onnx", 1024, 0.125, 1500), (EVIL, 1, 0.25, None)),
    bar="share",
)


def test_a_cell_has_its_number_and_what_a_reader_sees() -> None:
    html = TABLE.html()
    assert '<td class="number" data-value="1024">1,024</td>' in html
    assert '<td class="number" data-value="0.125">12.5%</td>' in html
    assert '<td class="number" data-value="1500">1.5 kB</td>' in html
    assert '<td class="number">-</td>' in html


def test_the_first_cell_heads_its_row_and_the_table_has_a_caption() -> None:
    assert '<th scope="row">a.onnx</th>' in TABLE.html()
    assert "<caption>Latency</caption>" in TABLE.html()
    assert '<th scope="col" class="number">batch</th>' in TABLE.html()


def test_a_bar_is_as_long_as_its_share_of_the_largest_and_says_its_number() -> None:
    html = TABLE.html()
    assert '<rect width="50.00" height="10"/>' in html
    assert 'aria-label="a.onnx: 12.5%"' in html
    assert '<rect width="100.00" height="10"/>' in html


def test_data_holds_the_numbers_themselves() -> None:
    assert TABLE.data()["rows"][0] == ["a.onnx", 1024, 0.125, 1500]


def test_markdown_holds_the_same_table() -> None:
    lines = TABLE.markdown().splitlines()
    assert lines[0] == "Latency:"
    assert lines[3] == "| --- | ---: | ---: | ---: |"
    assert lines[4] == "| a.onnx | 1,024 | 12.5% | 1.5 kB |"
    assert lines[5].startswith('| </script><b>"&\\| | 1 |')


def test_text_is_escaped() -> None:
    sections = [Section("s", EVIL, (Paragraph(EVIL, "bad"), Code(EVIL, EVIL, folded=True), Items((EVIL,)), TABLE))]
    html = document_html(EVIL, sections, EVIL)
    assert "</script>" not in html
    assert "<b>" not in html


def test_every_link_of_the_header_has_its_section() -> None:
    html = document_html("t", [Section("first", "First"), Section("second", "Second")], "end")
    for name in ("first", "second"):
        assert f'href="#{name}"' in html
        assert f'<section id="{name}" aria-labelledby="{name}-title">' in html


def test_a_document_as_markdown_has_the_same_headings() -> None:
    text = document_markdown("Title", [Section("a", "Alpha", (Paragraph("fine", "verdict good"),))], "end")
    assert text == "# Title\n\n## Alpha\n\n**fine**\n\nend\n"


def test_code_with_fences_gets_longer_ones() -> None:
    assert Code("IR", "```", "text").markdown() == "IR:\n\n````text\n```\n````\n"
