"""The offline page of an audit: `write_audit_page(folder)`."""

from byrote.report.audited.page import write_audit_page

__all__ = ["write_audit_page"]
