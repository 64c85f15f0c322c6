"""After the result: late verdicts and crashes. Only bootstrap imports it."""
