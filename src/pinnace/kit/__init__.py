"""Small things that everything else uses: clock, back-off, work queue, supervised tasks, atomic files. Imports nothing of ours."""
