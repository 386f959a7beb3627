"""Which node a pod goes to: snapshot, queue, filters, scores, bind."""
