"""Fakes, virtual clock, contract suites, scenario harness. Nothing imports it but tests."""
