"""The report of an evaluation: gathered numbers, sections, findings, charts and page."""
