"""Volumes of pods: one module per kind of source, all behind `manager.Volumes`."""
