"""The system-call seam: mounts, namespaces, cgroups v1 and v2, child processes, pidfd. The one door to ctypes and subprocess."""
