"""Views of a run, a plan and findings: one value, several forms."""

from django_runbook.report.build import Report, StepReport, build_report

__all__ = ["Report", "StepReport", "build_report"]
