"""The report: an offline page with tables, figures and verdicts, and files with the numbers on the page.

`write_report(analysis, verdicts, folder)` writes the page; `export_tables` and `export_figures` write the numbers.
"""

from byrote.report.export import export_figures, export_tables, table_rows
from byrote.report.page import write_report

__all__ = ["export_figures", "export_tables", "table_rows", "write_report"]
