"""One offline page from tables, figures and verdicts: `write_report(analysis, verdicts, folder)`."""

from byrote.report.page import write_report
from byrote.report.verdicts import verdicts_html

__all__ = ["verdicts_html", "write_report"]
