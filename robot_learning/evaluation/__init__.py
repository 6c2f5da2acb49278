"""Rollouts to results: evaluation, reports and videos."""
