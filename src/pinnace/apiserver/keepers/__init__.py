"""What the server keeps true by itself: addresses, counts of quotas, the age of events, flow objects."""
